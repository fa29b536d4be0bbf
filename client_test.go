package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func webhookClient(t testing.TB, srv *httptest.Server, opts ...Option) *Client {
	t.Helper()
	return mustNew(t, Webhook(srv.URL+"/rest/1/s3cr3thookcode/"), append([]Option{WithHTTPClient(srv.Client())}, opts...)...)
}

func oauthClient(t testing.TB, srv *httptest.Server, ts oauth2.TokenSource, opts ...Option) *Client {
	t.Helper()
	return mustNew(t, OAuth(srv.URL, ts), append([]Option{WithHTTPClient(srv.Client())}, opts...)...)
}

func mustNew(t testing.TB, auth Auth, opts ...Option) *Client {
	t.Helper()
	c, err := New(auth, append([]Option{once}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// once keeps tests on the wall's clock from pausing.
var once = WithRetry(Retry{Attempts: 1})

// A sent is what a portal was asked.
type sent struct {
	Method, Path, Type, Agent string
	Body                      map[string]any
}

func recorder(t *testing.T, body string, got *sent) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*got = sent{Method: r.Method, Path: r.URL.RequestURI(), Type: r.Header.Get("Content-Type"), Agent: r.UserAgent()}
		if err := json.NewDecoder(r.Body).Decode(&got.Body); err != nil {
			t.Errorf("the request's body: %v", err)
		}
		resttest.Reply(200, body)(w, r)
	}
}

func TestClient_Requests(t *testing.T) {
	config := `{"result":` + resttest.MinimalConfig + `}`
	event := func(e ApplicationEvent) func(*Client) error {
		return func(c *Client) error { return c.AddApplicationEvent(context.Background(), e) }
	}
	appConfig := func(cache bool) func(*Client) error {
		return func(c *Client) error { _, err := c.GetApplicationConfig(context.Background(), cache); return err }
	}
	userConfig := func(c *Client) error { _, err := c.GetConfig(context.Background(), false); return err }
	tests := []struct {
		name   string
		oauth  bool
		call   func(*Client) error
		answer string
		path   string
		body   map[string]any
	}{
		{"application config, cached", true, appConfig(true), config, "/rest/pull.application.config.get",
			map[string]any{"CACHE": "Y", "auth": "s3cr3t-token"}},
		{"application config, anew", true, appConfig(false), config, "/rest/pull.application.config.get",
			map[string]any{"CACHE": "N", "auth": "s3cr3t-token"}},
		{"user config", false, userConfig, config, "/rest/1/s3cr3thookcode/pull.config.get",
			map[string]any{"CACHE": "N"}},
		{"event to everybody", true, event(ApplicationEvent{Command: "order.changed"}), `{"result":true}`, "/rest/pull.application.event.add",
			map[string]any{"COMMAND": "order.changed", "PARAMS": map[string]any{}, "auth": "s3cr3t-token"}},
		{"event to one user", true, event(ApplicationEvent{Command: "a", UserIDs: []int64{7}}), `{"result":true}`, "/rest/pull.application.event.add",
			map[string]any{"COMMAND": "a", "PARAMS": map[string]any{}, "USER_ID": "7", "auth": "s3cr3t-token"}},
		{"event to one user, named twice", true, event(ApplicationEvent{Command: "a", UserIDs: []int64{7, 7}}), `{"result":true}`, "/rest/pull.application.event.add",
			map[string]any{"COMMAND": "a", "PARAMS": map[string]any{}, "USER_ID": "7", "auth": "s3cr3t-token"}},
		{"event to users", true, event(ApplicationEvent{Command: "a|b:c", Module: "my.module", UserIDs: []int64{1, 577},
			Params: struct {
				ID int `json:"id"`
			}{7}}), `{"result":true}`, "/rest/pull.application.event.add",
			map[string]any{"COMMAND": "a|b:c", "MODULE_ID": "my.module", "USER_ID": []any{1.0, 577.0},
				"PARAMS": map[string]any{"id": 7.0}, "auth": "s3cr3t-token"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sent
			srv := resttest.Portal(t, recorder(t, tt.answer, &got))
			c := webhookClient(t, srv)
			if tt.oauth {
				c = oauthClient(t, srv, resttest.Static("s3cr3t-token"))
			}
			if err := tt.call(c); err != nil {
				t.Fatal(err)
			}
			want := sent{Method: "POST", Path: tt.path, Type: "application/json", Agent: DefaultUserAgent, Body: tt.body}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_EventRefusedWithoutACall(t *testing.T) {
	srv := resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("the portal was called") })
	c := oauthClient(t, srv, resttest.Static("s3cr3t-token"))
	tests := []struct {
		name  string
		event ApplicationEvent
		want  error
	}{
		{"no command", ApplicationEvent{}, ErrCommand},
		{"command with a space", ApplicationEvent{Command: "a b"}, ErrCommand},
		{"command with a line break at the end", ApplicationEvent{Command: "a\n"}, ErrCommand},
		{"module in upper case", ApplicationEvent{Command: "a", Module: "Main"}, ErrModuleID},
		{"params are a list", ApplicationEvent{Command: "a", Params: []int{1}}, ErrParams},
		{"no user left", ApplicationEvent{Command: "a", UserIDs: []int64{}}, ErrUserID},
		{"user 0", ApplicationEvent{Command: "a", UserIDs: []int64{3, 0}}, ErrUserID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := c.AddApplicationEvent(context.Background(), tt.event); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	var unsupported *json.UnsupportedTypeError
	if err := c.AddApplicationEvent(context.Background(), ApplicationEvent{Command: "a", Params: func() {}}); !errors.As(err, &unsupported) {
		t.Errorf("params that cannot be marshalled: got %v", err)
	}
}

func TestClient_NewRefuses(t *testing.T) {
	ok := Webhook("https://portal.example/rest/1/s3cr3thookcode/")
	tests := []struct {
		name string
		auth Auth
		opts []Option
		want string
	}{
		{"no auth", nil, nil, "auth is nil"},
		{"nil option", ok, []Option{nil}, "option is nil"},
		{"nil http client", ok, []Option{WithHTTPClient(nil)}, "client is nil"},
		{"zero timeout", ok, []Option{WithTimeout(0)}, "positive"},
		{"user agent with a line break", ok, []Option{WithUserAgent("a\r\nb: c")}, "ASCII"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(tt.auth, tt.opts...)
			if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", c, err, tt.want)
			}
		})
	}
}

func TestClient_NotMadeByNew(t *testing.T) {
	for _, c := range []*Client{nil, {}} {
		if _, err := c.GetConfig(context.Background(), true); err == nil || !strings.Contains(err.Error(), "New") {
			t.Errorf("got %v", err)
		}
	}
}

func TestClient_HTTPClientIsNeverModified(t *testing.T) {
	srv := resttest.Portal(t, resttest.Reply(200, `{"result":`+resttest.MinimalConfig+`}`))
	own := srv.Client()
	own.Timeout = time.Minute
	transport, before := own.Transport, *own
	c := webhookClient(t, srv)
	if _, err := c.GetConfig(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if own.Transport != transport || own.CheckRedirect != nil || own.Jar != before.Jar || own.Timeout != before.Timeout {
		t.Errorf("the client was changed: %+v", own)
	}
	if c.HTTPClient() != own {
		t.Error("HTTPClient is not the client given")
	}
	bare := &http.Client{}
	mustNew(t, Webhook(srv.URL+"/rest/1/s3cr3thookcode/"), WithHTTPClient(bare))
	if bare.Transport != nil {
		t.Errorf("a transport was set: %v", bare.Transport)
	}
}

func TestClient_DefaultHTTPClient(t *testing.T) {
	srv := httptest.NewServer(resttest.Reply(200, `{"result":`+resttest.MinimalConfig+`}`))
	defer srv.Close()
	c := mustNew(t, Webhook(srv.URL+"/rest/1/s3cr3thookcode"), WithUserAgent("mine/1"))
	defer c.HTTPClient().CloseIdleConnections()
	if c.Portal() != srv.URL {
		t.Errorf("Portal is %q, want %q", c.Portal(), srv.URL)
	}
	if _, ok := c.HTTPClient().Transport.(*http.Transport); !ok {
		t.Errorf("transport is %T", c.HTTPClient().Transport)
	}
	if _, err := c.GetConfig(context.Background(), true); err != nil {
		t.Fatal(err)
	}
}

func TestClient_RedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			calls := 0
			srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("Location", "/rest/1/s3cr3thookcode/pull.config.get?moved")
				w.WriteHeader(status)
			})
			_, err := webhookClient(t, srv).GetConfig(context.Background(), true)
			var refused *APIError
			if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), "redirect") {
				t.Errorf("got %v", err)
			}
			if calls != 1 {
				t.Errorf("%d calls, want 1", calls)
			}
		})
	}
}

func TestClient_AnswerLimit(t *testing.T) {
	srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"result":"`)
		chunk := strings.Repeat("x", 1<<20)
		for range 9 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	_, err := webhookClient(t, srv).GetConfig(context.Background(), true)
	var refused *APIError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestClient_ContextErrors(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	t.Run("timeout of the client", func(t *testing.T) {
		_, err := webhookClient(t, resttest.Portal(t, hang), WithTimeout(20*time.Millisecond)).GetConfig(context.Background(), true)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), " within 20ms: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("deadline of the caller", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_, err := webhookClient(t, resttest.Portal(t, hang)).GetConfig(ctx, true)
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "within") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled while waiting for the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
		if _, err := webhookClient(t, srv).GetConfig(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled while reading the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"result":`)
			w.(http.Flusher).Flush()
			cancel()
			hang(w, r)
		})
		if _, err := webhookClient(t, srv).GetConfig(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled with half an answer there", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		half := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			cancel()
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"result":`)), Request: r}, nil
		})
		c := mustNew(t, Webhook("https://portal.example/rest/1/s3cr3thookcode/"), WithHTTPClient(&http.Client{Transport: half}))
		if _, err := c.GetConfig(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv := resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("the portal was called") })
		for _, c := range []*Client{webhookClient(t, srv), oauthClient(t, srv, resttest.Static("s3cr3t-token"))} {
			if _, err := c.GetConfig(ctx, true); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestClient_NothingIsLogged(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stderr := os.Stderr
	os.Stderr = out
	log.SetOutput(out)
	defer func() { os.Stderr = stderr; log.SetOutput(stderr) }()

	srv := httptest.NewServer(resttest.Reply(500, "no JSON"))
	c := mustNew(t, Webhook(srv.URL+"/rest/1/s3cr3thookcode/"))
	c.rest.SetDebug(true) // has resty log every call
	for range 2 {         // the second finds the portal gone
		if _, err := c.GetConfig(context.Background(), true); err == nil {
			t.Error("no error")
		}
		srv.Close()
	}
	c.HTTPClient().CloseIdleConnections()
	if logged, err := os.ReadFile(out.Name()); err != nil || len(logged) > 0 {
		t.Errorf("logged %q, %v", logged, err)
	}
}

func TestClient_ConcurrentCalls(t *testing.T) {
	srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body["auth"] != resttest.Mark+"second" {
			resttest.Reply(401, `{"error":"expired_token"}`)(w, r)
			return
		}
		resttest.Reply(200, `{"result":`+resttest.MinimalConfig+`}`)(w, r)
	})
	source := &refresher{tokens: []string{"first", "second"}}
	c := oauthClient(t, srv, source)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := c.GetApplicationConfig(context.Background(), true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if source.refreshed != 1 {
		t.Errorf("refreshed %d times, want 1", source.refreshed)
	}
}
