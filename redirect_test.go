package b24pull

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// movable are portals by host: each answers a result or a redirect.
type movable struct {
	mu   sync.Mutex
	to   map[string]string // Location by host; the others answer
	seen []string
	took time.Duration
}

func (m *movable) client() *http.Client {
	return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		time.Sleep(m.took)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.seen = append(m.seen, r.Method+" "+r.URL.String()+" "+string(body))
		if location, moved := m.to[r.URL.Host]; moved {
			resp := resttest.JSONResponse(r, 302, "")
			resp.Header.Set("Location", location)
			return resp, nil
		}
		return resttest.JSONResponse(r, 200, `{"result":true}`), nil
	})}
}

func TestRedirect_Moved(t *testing.T) {
	const secret = resttest.Mark + "-token"
	for name, location := range map[string]string{
		"the method":         "https://new.example/rest/pull.application.event.add",
		"with a query":       "https://new.example/rest/pull.application.event.add?auth=" + resttest.Mark,
		"the portal":         "https://NEW.example",
		"without the scheme": "//new.example/",
		"the default port":   "https://new.example:443/rest/",
		"a dot at the end":   "https://new.example./rest/",
		"a long way round":   "https://new.example/x/../rest/./a.b",
	} {
		t.Run(name, func(t *testing.T) {
			m := &movable{to: map[string]string{"portal.example": location}}
			var told []string
			c := mustNew(t, OAuth("portal.example", resttest.Static(secret)), WithHTTPClient(m.client()), WithMoved(func(_ context.Context, from, to string) error { told = append(told, from+" "+to); return nil }))
			for range 2 {
				if err := event(context.Background(), c); err != nil {
					t.Fatal(err)
				}
			}
			body := `{"COMMAND":"test","PARAMS":{},"auth":"` + secret + `"}`
			want := []string{"POST https://portal.example/rest/pull.application.event.add " + body,
				"POST https://new.example/rest/pull.application.event.add " + body, "POST https://new.example/rest/pull.application.event.add " + body}
			if !slices.Equal(m.seen, want) {
				t.Errorf("seen\n%s", strings.Join(m.seen, "\n"))
			}
			if !slices.Equal(told, []string{"https://portal.example https://new.example"}) || c.Portal() != "https://new.example" {
				t.Errorf("told %q, the portal is %s", told, c.Portal())
			}
		})
	}
}

func TestRedirect_MovedWebhook(t *testing.T) {
	m := &movable{to: map[string]string{"portal.example": "https://new.example/rest/", "new.example": "https://newer.example/"}}
	c := mustNew(t, Webhook("https://portal.example/rest/1/"+resttest.HookCode+"/"), WithHTTPClient(m.client()))
	if err := event(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if len(m.seen) != 3 || !strings.HasPrefix(m.seen[2], "POST https://newer.example/rest/1/"+resttest.HookCode+"/pull.application.event.add ") {
		t.Errorf("seen %q", m.seen)
	}
}

// TestRedirect_MovedNowhere: what is no move is refused, and neither printed nor called.
func TestRedirect_MovedNowhere(t *testing.T) {
	for name, location := range map[string]string{
		"http":          "http://new.example/?" + resttest.Mark,
		"itself":        "https://portal.example/?" + resttest.Mark,
		"itself, path":  "/rest/other?" + resttest.Mark,
		"itself, http":  "http://portal.example/" + resttest.Mark,
		"itself, port":  "https://portal.example:443/rest/" + resttest.Mark,
		"itself, dot":   "https://Portal.example./rest/" + resttest.Mark,
		"out of REST":   "https://new.example/rest/../oauth/" + resttest.Mark,
		"out, escaped":  "https://new.example/rest/%2e%2e/" + resttest.Mark,
		"out, twice":    "https://new.example//rest/../../rest/../" + resttest.Mark,
		"a login page":  "https://login.example/sso?" + resttest.Mark,
		"a login host":  "https://login.example/?back=" + resttest.Mark,
		"no path":       "https://login.example?back=" + resttest.Mark,
		"a fragment":    "https://login.example/#" + resttest.Mark,
		"ftp":           "ftp://new.example/" + resttest.Mark,
		"a user":        "https://" + resttest.Mark + "@new.example/",
		"no host":       "https:///" + resttest.Mark,
		"opaque":        "https:" + resttest.Mark,
		"no address":    "%zz" + resttest.Mark,
		"nothing":       "",
		"only a query":  "?" + resttest.Mark,
		"no real host":  "https://:443/" + resttest.Mark,
		"control codes": "https://new.example\x01/" + resttest.Mark,
	} {
		t.Run(name, func(t *testing.T) {
			m := &movable{to: map[string]string{"portal.example": location}}
			c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(_ context.Context, _, to string) error { t.Errorf("asked about %s", to); return nil }))
			err := event(context.Background(), c)
			t.Log(err)
			resttest.CheckError(t, err)
			var refused *APIError
			if !errors.As(err, &refused) || refused.Status != 302 || len(m.seen) != 1 || c.Portal() != "https://portal.example" {
				t.Errorf("got %v; %d calls, the portal is %s", err, len(m.seen), c.Portal())
			}
		})
	}
}

// TestRedirect_MovedNowhereIDN: a portal's name in ASCII is no other place.
func TestRedirect_MovedNowhereIDN(t *testing.T) {
	m := &movable{to: map[string]string{"портал.рф": "https://xn--80awhdgm.xn--p1ai/rest/"}}
	c := mustNew(t, OAuth("портал.рф", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(_ context.Context, _, to string) error { t.Errorf("asked about %s", to); return nil }))
	var refused *APIError
	if err := event(t.Context(), c); !errors.As(err, &refused) || len(m.seen) != 1 {
		t.Errorf("got %v after %d calls", err, len(m.seen))
	}
}

// TestRedirect_MovedRoundAndRound: redirects that lead on and on end, and are not
// remembered.
func TestRedirect_MovedRoundAndRound(t *testing.T) {
	m := &movable{to: map[string]string{"portal.example": "https://a.example/", "a.example": "https://b.example/", "b.example": "https://portal.example/"}}
	c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()))
	err := event(context.Background(), c)
	if err == nil || !strings.Contains(err.Error(), "one redirect after another, the last one to https://a.example (") || len(m.seen) != maxMoves+1 {
		t.Errorf("got %v after %d calls", err, len(m.seen))
	}
	if c.Portal() != "https://portal.example" {
		t.Errorf("the portal is %s", c.Portal())
	}
}

// TestRedirect_MovedToNoPortal: a place that does not answer as a portal is not
// remembered.
func TestRedirect_MovedToNoPortal(t *testing.T) {
	for _, body := range []string{"<html>", `{"error":"expired_token"}`} {
		s := &script{answers: []func(*http.Request) (*http.Response, error){
			func(r *http.Request) (*http.Response, error) {
				resp := resttest.JSONResponse(r, 302, "")
				resp.Header.Set("Location", "https://new.example/")
				return resp, nil
			}, says(404, body)}}
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(s.client()))
		err := event(context.Background(), c)
		want := "https://portal.example"
		if errors.Is(err, ErrExpiredToken) {
			want = "https://new.example"
		}
		if err == nil || c.Portal() != want {
			t.Errorf("%v, the portal is %s", err, c.Portal())
		}
	}
}

// TestRedirect_MovedOnce: many calls find the portal gone at once, and one tells.
func TestRedirect_MovedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &movable{to: map[string]string{"portal.example": "https://new.example/"}, took: time.Second}
		told := make(chan string, 20)
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(_ context.Context, _, to string) error { told <- to; return nil }))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := event(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(told) != 1 || len(m.seen) != 40 {
			t.Errorf("told %d times in %d calls", len(told), len(m.seen))
		}
	})
}
