package realtime

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// posts notes the requests to the address for publishing, and lets answer take
// them.
type posts struct {
	answer func(w http.ResponseWriter, r *http.Request) bool // nil: pulltest does

	mu     sync.Mutex
	bodies []string
	urls   []string
}

func (p *posts) option() pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || strings.Contains(r.URL.Path, ".") {
				next.ServeHTTP(w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.HasPrefix(string(body), "mack:") {
				p.mu.Lock()
				p.bodies = append(p.bodies, string(body))
				p.urls = append(p.urls, r.URL.String())
				p.mu.Unlock()
			}
			if p.answer == nil || !p.answer(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	})
}

// confirmed are the lines of all requests, and how many there were.
func (p *posts) confirmed() (lines []string, requests int) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, body := range p.bodies {
		lines = append(lines, strings.Split(body, "\n")...)
	}
	return lines, len(p.bodies)
}

// TestConfirming_OfPolls: what polls of version 5 bring is confirmed by POST, as
// over a websocket, in few requests.
func TestConfirming_OfPolls(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var p posts
		l.start([]pulltest.Option{pulltest.WithVersion(5), p.option()}, WithTransport(TransportLongPolling))
		time.Sleep(time.Minute)
		mid := l.emit("one")
		time.Sleep(10 * time.Second)
		lines, requests := p.confirmed()
		if len(lines) == 0 || lines[0] != "mack:"+mid || requests > len(lines) {
			t.Errorf("%d requests: %q", requests, lines)
		}
		l.tickFor(10*time.Second, shorter(5*time.Millisecond, 20*time.Millisecond))
		time.Sleep(5 * time.Minute)
		l.wantTicksAnd(1)
		lines, requests = p.confirmed()
		slices.Sort(lines)
		different := len(slices.Compact(lines))
		if n := l.portal.Stats().Acknowledged; n != l.ticks+1 || different != n || requests > 20 {
			t.Errorf("%d messages, %d confirmed, %d of them different, in %d requests", l.ticks+1, n, different, requests)
		}
		for _, u := range p.urls {
			if !strings.Contains(u, "/rest/?token=") || !strings.Contains(u, "jsonRpc=true") || strings.Contains(u, "mid=") {
				t.Error("it is posted to another address, or without saying by whom")
			}
		}
	})
}

// wantTicksAnd is wantTicks where so many other messages have come.
func (l *life) wantTicksAnd(others int) {
	l.t.Helper()
	l.wantTicks()
	if n := len(l.commands()); n != l.ticks+others {
		l.t.Errorf("%d messages, want %d", n, l.ticks+others)
	}
}

// TestConfirming_OfReplays: what a replay by poll finds beside a websocket is
// confirmed as well; what came over the websocket was confirmed there.
func TestConfirming_OfReplays(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var p posts
		l.start([]pulltest.Option{pulltest.WithVersion(5), p.option()})
		time.Sleep(time.Minute)
		l.emit("live")
		time.Sleep(time.Minute)
		l.portal.CutWebSockets()
		missed := l.emit("missed")
		time.Sleep(10 * time.Minute)
		l.want("live", "missed")
		if lines, _ := p.confirmed(); !slices.Equal(lines, []string{"mack:" + missed}) || l.portal.Stats().Acknowledged != 2 {
			t.Errorf("confirmed %q", lines)
		}
	})
}

// TestConfirming_FailuresHarmNothing: whatever becomes of them, messages come.
func TestConfirming_FailuresHarmNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"an error": func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		},
		"a page": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
			return true
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/elsewhere?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
			return true
		},
		"no answer": func(w http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		},
		"an answer without end": func(w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					break
				}
				w.(http.Flusher).Flush()
				time.Sleep(100 * time.Millisecond)
			}
			return true
		},
		"no connection": func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) },
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				p := posts{answer: answer}
				var log told
				l.start([]pulltest.Option{pulltest.WithVersion(5), p.option()}, WithTransport(TransportLongPolling), WithLogger(newTestLogger(&log)))
				time.Sleep(time.Minute)
				began := time.Now()
				l.emit("one")
				for len(l.commands()) == 0 {
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				l.tickFor(5*time.Minute, shorter(1*time.Second, 3*time.Second))
				l.wantTicksAnd(1)
				if _, requests := p.confirmed(); requests < 5 || requests > 60 {
					t.Errorf("%d requests", requests)
				}
				if n := len(l.changes(StateWaiting)); n > 0 || l.sub.State() != StateLive {
					t.Errorf("%d times waiting, in the end %v", n, l.sub.State())
				}
				if text := log.all(); !strings.Contains(text, "could not be confirmed") || strings.Contains(text, pulltest.SecretMark) {
					t.Error("the log does not tell of it, or tells a secret")
				}
			})
		})
	}
}

// TestConfirming_Address: where they are posted to, if anywhere.
func TestConfirming_Address(t *testing.T) {
	config := func(version int, poll, publish, publishSecure string) *b24pull.Config {
		return &b24pull.Config{Server: b24pull.Server{Version: version, LongPollingSecure: poll, Publish: publish, PublishSecure: publishSecure},
			Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "aa:bb.cc"}}, ClientID: "id"}
	}
	plain := config(5, "", "http://rt.example/rest/", "")
	plain.Server.LongPolling = "http://rt.example/sub/"
	const query = "CHANNEL_ID=aa%3Abb.cc&clientId=id&jsonRpc=true&revision=19"
	tests := map[string]struct {
		config *b24pull.Config
		want   string
	}{
		"version 5":                {config(5, "https://rt.example/sub/", "http://rt.example/rest/", "https://rt.example/rest/"), "https://rt.example/rest/?" + query},
		"an address with a query":  {config(5, "https://rt.example/sub/", "", "https://rt.example/rest/?a=b"), "https://rt.example/rest/?a=b&" + query},
		"version 4":                {config(4, "https://rt.example/sub/", "", "https://rt.example/rest/"), ""},
		"no address":               {config(5, "https://rt.example/sub/", "", ""), ""},
		"one that is none":         {config(5, "https://rt.example/sub/", "", "::"), ""},
		"not secure, unlike polls": {config(5, "https://rt.example/sub/", "http://rt.example/rest/", ""), ""},
		"not secure, as polls":     {plain, "http://rt.example/rest/?" + query},
	}
	for name, tt := range tests {
		e, err := newEndpoint(tt.config, false)
		if err != nil || e.confirm.URL != tt.want {
			t.Errorf("%s: %q, %v", name, e.confirm.URL, err)
		}
	}
}

// all is all of it.
func (o *told) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestConfirming_RealSockets: as TestConfirming_OfPolls.
func TestConfirming_RealSockets(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithVersion(5))
	t.Cleanup(portal.Close)
	t.Cleanup(portal.HTTPClient().CloseIdleConnections)
	c := begin(t, portal, TransportLongPolling)
	c.mayBeLate = true
	for range 10 {
		c.emit(20)
		time.Sleep(20 * time.Millisecond)
		portal.CutPolls()
	}
	c.arrived("in the end")
	eventually(t, "all is confirmed", func() bool { return portal.Stats().Acknowledged >= c.sent })
	if n := portal.Stats().Acknowledged; n != c.sent {
		t.Errorf("%d confirmed of %d", n, c.sent)
	}
}
