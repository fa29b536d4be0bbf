package b24pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// classes are the documented codes, the status they come with, and what a call
// does then.
var classes = []struct {
	code   string
	status int
	class  Class
}{
	{"SERVER_ERROR", 500, ClassFinal}, {"SERVER_ERROR", 200, ClassFinal}, {"WRONG_AUTH_TYPE", 403, ClassFinal}, {"USER_ID_ACCESS_ERROR", 400, ClassFinal},
	{"MODULE_ID_ERROR", 400, ClassFinal}, {"COMMAND_ERROR", 400, ClassFinal}, {"PARAMS_ERROR", 400, ClassFinal}, {"ACCESS_ERROR", 403, ClassFinal},
	{"TEXT_ERROR", 400, ClassFinal}, {"EMPTY_APP_NAME", 400, ClassFinal}, {"INVALID_FORMAT", 400, ClassFinal}, {"expired_token", 401, ClassExpired},
	{"NO_AUTH_FOUND", 401, ClassFinal}, {"insufficient_scope", 403, ClassFinal}, {"INVALID_CREDENTIALS", 403, ClassFinal}, {"ACCESS_DENIED", 403, ClassFinal},
	{"user_access_error", 403, ClassFinal}, {"QUERY_LIMIT_EXCEEDED", 503, ClassThrottled}, {"OPERATION_TIME_LIMIT", 429, ClassPaused},
	{"OVERLOAD_LIMIT", 503, ClassFinal}, {"INTERNAL_SERVER_ERROR", 500, ClassUnavailable}, {"ERROR_UNEXPECTED_ANSWER", 500, ClassUnavailable},
	{"PORTAL_DELETED", 500, ClassFinal}, {"INVALID_REQUEST", 400, ClassFinal}, {"ERROR_BATCH_METHOD_NOT_ALLOWED", 405, ClassFinal}, {"ERROR_METHOD_NOT_FOUND", 404, ClassFinal},
	{"authorization_error", 401, ClassFinal}, {"invalid_client", 401, ClassFinal}, {"invalid_grant", 400, ClassFinal}, {"invalid_scope", 403, ClassFinal}, {"PAYMENT_REQUIRED", 402, ClassFinal},
	{"NEVER_SEEN", 400, ClassFinal}, {"NEVER_SEEN", 502, ClassUnavailable}, {"", 502, ClassUnavailable}, {"", 429, ClassThrottled}, {"", 404, ClassFinal}, {"", 200, ClassFinal},
}

// script answers one call after the other; the last answer stays. It tells when
// calls came.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	came    []time.Duration
	start   time.Time
}

func (s *script) client() *http.Client {
	s.start = time.Now()
	return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		s.came = append(s.came, time.Since(s.start))
		answer := s.answers[min(len(s.came), len(s.answers))-1]
		io.Copy(io.Discard, r.Body)
		return answer(r)
	})}
}

func says(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return resttest.JSONResponse(r, status, body), nil }
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var good = says(200, `{"result":true}`)

// retrying calls the script's portal with repeats.
func (s *script) retrying(t *testing.T, opts ...Option) *Client {
	t.Helper()
	return mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), append([]Option{WithHTTPClient(s.client()), WithRetry(Retry{})}, opts...)...)
}

func event(ctx context.Context, c *Client) error {
	return c.AddApplicationEvent(ctx, ApplicationEvent{Command: "test"})
}

// TestRetry_Classes plays every documented code, once, to a read and to a call with
// an effect.
func TestRetry_Classes(t *testing.T) {
	tested := map[string]bool{}
	for _, tt := range classes {
		tested[strings.ToLower(tt.code)] = true
		t.Run(fmt.Sprintf("%s %d", tt.code, tt.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := "<html>"
				if tt.code != "" {
					body = fmt.Sprintf(`{"error":%q,"time":{"finish":1000.5,"operating_reset_at":1100}}`, tt.code)
				}
				read := &script{answers: []func(*http.Request) (*http.Response, error){says(tt.status, body), good}}
				_, err := read.retrying(t).Call(t.Context(), "some.get", nil, nil, Idempotent())
				effect := &script{answers: read.answers}
				effectErr := event(t.Context(), effect.retrying(t))
				again := tt.class == ClassThrottled || tt.class == ClassPaused
				if got := err == nil; got != (again || tt.class == ClassUnavailable) {
					t.Errorf("a read: %v", err)
				}
				if got := effectErr == nil; got != again {
					t.Errorf("an event: %v", effectErr)
				}
				if effectErr != nil && ClassOf(effectErr) != tt.class {
					t.Errorf("class %v, want %v", ClassOf(effectErr), tt.class)
				}
				if tt.class == ClassPaused && read.came[1] != 100500*time.Millisecond {
					t.Errorf("again after %v", read.came[1])
				}
			})
		})
	}
	for code := range codes {
		if !tested[code] {
			t.Errorf("%s is not tested", code)
		}
	}
}

// TestRetry_DocumentedClasses compares the table of the documentation.
func TestRetry_DocumentedClasses(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if fields := strings.Fields(strings.TrimPrefix(line, "//\t")); len(fields) >= 2 && codes[strings.ToLower(fields[0])] != nil {
			written[strings.ToLower(fields[0])] = strings.Join(fields[1:], " ")
		}
	}
	for code, sentinel := range codes {
		if sentinel.class != ClassFinal && written[code] != sentinel.class.String() {
			t.Errorf("%s: %q in the table, is %v", sentinel.code, written[code], sentinel.class)
		}
		if sentinel.class == ClassFinal && written[code] != "" {
			t.Errorf("%s stands in the table and is final", sentinel.code)
		}
	}
	for class, want := range map[Class]string{ClassFinal: "final", ClassUnavailable: "unavailable", -1: "Class(-1)", 9: "Class(9)"} {
		if class.String() != want {
			t.Errorf("%d is %v", int(class), class)
		}
	}
}

func TestRetry_NetworkErrors(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	read := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("reset")}
	tests := []struct {
		name        string
		err         error
		class       Class
		event, told bool // whether an event is repeated; and with Effects
	}{
		{"dial", dial, ClassNotSent, true, true},
		{"wrapped dial", fmt.Errorf("proxy: %w", dial), ClassNotSent, true, true},
		{"read", read, ClassUnavailable, false, true},
		{"EOF", io.ErrUnexpectedEOF, ClassUnavailable, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				once := func(opts ...Option) (int, error) {
					s := &script{answers: []func(*http.Request) (*http.Response, error){fails(tt.err), good}}
					err := event(t.Context(), s.retrying(t, opts...))
					return len(s.came), err
				}
				calls, err := once()
				if (err == nil) != tt.event || err != nil && (calls != 1 || ClassOf(err) != tt.class) {
					t.Errorf("an event: %v, %d calls", err, calls)
				}
				if calls, err := once(WithRetry(Retry{Effects: true})); (err == nil) != tt.told || calls != 2 {
					t.Errorf("with Effects: %v, %d calls", err, calls)
				}
				s := &script{answers: []func(*http.Request) (*http.Response, error){fails(tt.err), good}}
				if _, err := s.retrying(t).ExtendWatch(t.Context(), "a"); len(s.came) != 2 {
					t.Errorf("a read: %v, %d calls", err, len(s.came))
				}
			})
		})
	}
}

// TestRetry_Pauses: the pauses double up to Max, and are no more than a fifth longer.
func TestRetry_Pauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(503, `{"error":"QUERY_LIMIT_EXCEEDED"}`)}}
		c := s.retrying(t, WithRetry(Retry{Attempts: 6, Max: 5 * time.Second}), WithLimiter(nil))
		if err := event(t.Context(), c); !errors.Is(err, ErrQueryLimit) {
			t.Errorf("got %v", err)
		}
		want := []time.Duration{1, 2, 4, 5, 5}
		if len(s.came) != len(want)+1 {
			t.Fatalf("%d calls", len(s.came))
		}
		for i, w := range want {
			w *= time.Second
			if got := s.came[i+1] - s.came[i]; got < w || got > w+w/5 {
				t.Errorf("pause %d is %v", i, got)
			}
		}
		fallback := &script{answers: s.answers}
		event(t.Context(), fallback.retrying(t))
		if len(fallback.came) != 4 {
			t.Errorf("%d attempts, want 4", len(fallback.came))
		}
	})
}

// TestRetry_NoWaitOutlastsTheContext: neither a pause, nor that of a method, nor the
// limiter's.
func TestRetry_NoWaitOutlastsTheContext(t *testing.T) {
	reset := func(at string) func(*http.Request) (*http.Response, error) {
		return says(429, `{"error":"OPERATION_TIME_LIMIT","time":{"date_finish":"2026-01-01T00:00:00+00:00","operating_reset_at":`+at+`}}`)
	}
	tests := []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		limit  *Limiter
		is     error
	}{
		{"a pause", says(503, `{"error":"QUERY_LIMIT_EXCEEDED"}`), nil, ErrQueryLimit},
		{"a method's", reset("1767225660"), nil, ErrOperationTimeLimit},
		{"the limiter's", good, NewLimiter(1, 0.5), context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limiter := tt.limit
				if limiter != nil {
					limiter = NewLimiter(1, 0.5)
				}
				s := &script{answers: []func(*http.Request) (*http.Response, error){tt.answer}}
				c := s.retrying(t, WithLimiter(limiter))
				if limiter != nil {
					if err := event(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start, calls := time.Now(), len(s.came)
				if err := event(ctx, c); !errors.Is(err, tt.is) || time.Since(start) != 0 || calls > 1 {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(500*time.Millisecond, cancel)
				if err := event(ctx, c); !errors.Is(err, context.Canceled) || time.Since(start) != 500*time.Millisecond {
					t.Errorf("cancelled: got %v after %v", err, time.Since(start))
				}
			})
		})
	}
	t.Run("no time to wait for", func(t *testing.T) {
		for _, answer := range []func(*http.Request) (*http.Response, error){reset("0"), reset("9000000000"), says(429, `{"error":"OPERATION_TIME_LIMIT"}`)} {
			s := &script{answers: []func(*http.Request) (*http.Response, error){answer}}
			if err := event(context.Background(), s.retrying(t)); !errors.Is(err, ErrOperationTimeLimit) || len(s.came) != 1 {
				t.Errorf("got %v after %d calls", err, len(s.came))
			}
		}
	})
}

// TestRetry_TimeoutIsOfOneAttempt: what bounds the whole are the attempts.
func TestRetry_TimeoutIsOfOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		s := &script{answers: []func(*http.Request) (*http.Response, error){hang, hang, good}}
		c := s.retrying(t, WithTimeout(10*time.Second))
		_, err := c.Call(t.Context(), "some.get", nil, nil, Idempotent())
		if took := time.Since(s.start); err != nil || took < 23*time.Second || took > 24*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		s = &script{answers: s.answers}
		if err := event(t.Context(), s.retrying(t)); !errors.Is(err, context.DeadlineExceeded) || ClassOf(err) != ClassUnavailable || len(s.came) != 1 {
			t.Errorf("an event: %v", err)
		}
	})
}

// TestRetry_Limiter: what two clients send through one bucket.
func TestRetry_Limiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){good}}
		shared := NewLimiter(DefaultLimitBurst, DefaultLimitRate)
		clients := []*Client{s.retrying(t, WithLimiter(shared)), s.retrying(t, WithLimiter(shared))}
		for i := range 60 {
			if err := event(t.Context(), clients[i%2]); err != nil {
				t.Fatal(err)
			}
		}
		for i, at := range s.came {
			if want := time.Duration(max(0, i-49)) * 500 * time.Millisecond; at != want {
				t.Errorf("call %d came at %v, want %v", i, at, want)
			}
		}
		own := &script{answers: s.answers}
		c := own.retrying(t)
		for range 52 {
			if err := event(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(own.came[49:], []time.Duration{0, 500 * time.Millisecond, time.Second}) {
			t.Errorf("a client's own: %v", own.came[49:])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){good}}
		c := s.retrying(t, WithLimiter(NewLimiter(1, 1)))
		for range 3 { // the second and third give up, and take nobody's turn
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			event(ctx, c)
			cancel()
		}
		if err := event(t.Context(), c); err != nil || !slices.Equal(s.came, []time.Duration{0, time.Second}) {
			t.Errorf("%v, calls at %v", err, s.came)
		}
	})
	for _, bad := range []func(){func() { NewLimiter(0, 1) }, func() { NewLimiter(1, 0) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			bad()
		}()
	}
}

// TestRetry_LimiterLearns: others call the portal too, its bucket is full before
// ours.
func TestRetry_LimiterLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(503, `{"error":"QUERY_LIMIT_EXCEEDED"}`), good}}
		c := s.retrying(t, WithRetry(Retry{Attempts: 1}))
		for range 3 {
			event(t.Context(), c)
		}
		if !slices.Equal(s.came, []time.Duration{0, 500 * time.Millisecond, time.Second}) {
			t.Errorf("calls at %v", s.came)
		}
	})
}

// TestRetry_RepeatedCallWaitsItsTurn: the one after a refresh, too.
func TestRetry_RepeatedCallWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(401, `{"error":"expired_token"}`), good}}
		source := &refresher{tokens: []string{resttest.Mark + "1", resttest.Mark + "2"}}
		c := mustNew(t, OAuth("portal.example", source), WithHTTPClient(s.client()), WithLimiter(NewLimiter(1, 1)))
		if err := event(t.Context(), c); err != nil || !slices.Equal(s.came, []time.Duration{0, time.Second}) {
			t.Errorf("%v, calls at %v", err, s.came)
		}
		source.tokens = []string{resttest.Mark + "1", resttest.Mark + "2"}
		s.came, s.answers = nil, []func(*http.Request) (*http.Response, error){says(401, `{"error":"expired_token"}`), good}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := event(ctx, c); !errors.Is(err, context.DeadlineExceeded) || len(s.came) != 1 {
			t.Errorf("%v, calls at %v", err, s.came)
		}
	})
}

func TestRetry_BadRetry(t *testing.T) {
	_, err := New(Webhook("https://portal.example/rest/1/s3cr3thookcode/"), WithRetry(Retry{Min: time.Minute, Max: time.Second}))
	if err == nil || err.Error() != "b24pull: WithRetry: Min, 1m0s, is more than Max, 1s" {
		t.Errorf("got %v", err)
	}
	for _, r := range []Retry{{Min: time.Hour}, {Max: time.Millisecond}, {Min: time.Second, Max: time.Second}} {
		if full, err := r.withDefaults(); err != nil || full.Min > full.Max {
			t.Errorf("%+v: %+v, %v", r, full, err)
		}
	}
	for _, r := range []Retry{{Attempts: -1}, {Min: -1}, {Max: -1}} {
		if _, err := New(Webhook("https://portal.example/rest/1/s3cr3thookcode/"), WithRetry(r)); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}
