package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// changes collects what a loop over WatchPresence yields.
type changes struct {
	mu   sync.Mutex
	list []string
	ends error
	done chan struct{}
}

// watching runs a loop in a goroutine of its own.
func watching(ctx context.Context, p *Publisher, users ...int64) *changes {
	c := &changes{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for change, err := range p.WatchPresence(ctx, users...) {
			c.mu.Lock()
			if err != nil {
				c.ends = err
			} else {
				c.list = append(c.list, fmt.Sprintf("%d %t", change.UserID, change.Online))
			}
			c.mu.Unlock()
		}
	}()
	return c
}

// got is what has been yielded so far.
func (c *changes) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.list, ", ")
}

// TestWatch_Changes: all users first, and then who comes and goes, once.
func TestWatch_Changes(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		ctx, cancel := context.WithCancel(t.Context())
		p := s.publisher(1)
		defer p.Close()
		c := watching(ctx, p, 2, 7, 2)
		soon()
		want := "2 false, 7 false"
		check := func(when string) {
			t.Helper()
			soon()
			if got := c.got(); got != want {
				t.Errorf("%s: got %s, want %s", when, got, want)
			}
		}
		check("at first")
		in := s.listen(2)
		want += ", 2 true"
		check("he comes")
		second := s.listen(2)
		check("once more")
		second.close(t)
		check("one is left")
		in.close(t)
		want += ", 2 false"
		check("he goes")
		time.Sleep(time.Hour)
		check("an hour later")
		cancel()
		<-c.done
		if !errors.Is(c.ends, context.Canceled) {
			t.Errorf("ended with %v", c.ends)
		}
	}, pulltest.WithAccessTokenLife(100*time.Hour))
}

// TestWatch_Reconnects: what has changed while there was no connection is told
// after it, and nothing else.
func TestWatch_Reconnects(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		away := false
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if kindOf(r) == "websocket" && s.mine(r) && away {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		})
		p := s.publisher(1)
		c := watching(t.Context(), p, 1, 2)
		soon()
		set := func(to bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			away = to
		}
		var in *inbox
		for range 3 {
			set(true)
			s.portal.Cut()
			in = s.listen(2)
			time.Sleep(3 * time.Minute)
			set(false)
			time.Sleep(3 * time.Minute)
			set(true)
			s.portal.Cut()
			in.close(t)
			time.Sleep(3 * time.Minute)
			set(false)
			time.Sleep(3 * time.Minute)
			s.portal.Cut() // nothing has changed
			time.Sleep(3 * time.Minute)
		}
		want := "1 true, 2 false" + strings.Repeat(", 2 true, 2 false", 3)
		if got := c.got(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		p.Close()
		<-c.done
		if c.ends != nil {
			t.Errorf("ended with %v", c.ends)
		}
	}, pulltest.WithAccessTokenLife(100*time.Hour))
}

// mine reports whether a websocket is the publisher's, which comes first: those
// of others have other tokens. The caller holds s.mu.
func (s *stage) mine(r *http.Request) bool {
	token := r.URL.Query().Get("token")
	if s.first == "" {
		s.first = token
	}
	return token == s.first
}

// TestWatch_Ends: with what it ends.
func TestWatch_Ends(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		for name, tt := range map[string]struct {
			users []int64
			want  string
		}{
			"nobody":   {nil, "publish: WatchPresence: 0 users; want 1 to 1000"},
			"user 0":   {[]int64{1, 0}, "publish: WatchPresence: user 0: want a positive id"},
			"too many": {slices.Repeat([]int64{1, 2}, 3), ""},
		} {
			for _, err := range p.WatchPresence(t.Context(), tt.users...) {
				if tt.want != "" && (err == nil || err.Error() != tt.want) {
					t.Errorf("%s: got %v", name, err)
				}
				break
			}
		}
		c := watching(t.Context(), p, 2)
		soon()
		p.Close()
		<-c.done
		if c.ends != nil {
			t.Errorf("after Close: %v", c.ends)
		}
		for change, err := range p.WatchPresence(t.Context(), 2) {
			t.Errorf("afterwards: %v, %v", change, err)
		}
	})
	for _, version := range []int{3, 4} {
		onStage(t, version, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			n := 0
			for _, err := range p.WatchPresence(t.Context(), 2) {
				if n++; !errors.Is(err, ErrUnavailable) {
					t.Errorf("version %d: %v", version, err)
				}
			}
			if n != 1 {
				t.Errorf("version %d: %d errors", version, n)
			}
		})
	}
}

// TestWatch_NothingBetween: whenever a user comes while a watch begins, it is
// told.
func TestWatch_NothingBetween(t *testing.T) {
	t.Parallel()
	step := 100 * time.Millisecond
	if testing.Short() {
		step = 300 * time.Millisecond // twice the latency
	}
	for offset := time.Duration(0); offset < 4*time.Second; offset += step {
		network := pulltest.NewNetwork()
		onStage(t, 5, func(t *testing.T, s *stage) {
			network.SetLatency(150 * time.Millisecond)
			p := s.publisher(1)
			defer p.Close()
			c := watching(t.Context(), p, 2)
			time.Sleep(offset)
			in := s.listen(2)
			defer in.close(t)
			soon()
			if got := c.got(); got != "2 false, 2 true" && got != "2 true" {
				t.Errorf("he comes after %v: got %s", offset, got)
			}
		}, pulltest.WithNetwork(network))
	}
}

// TestStatusEvents_Bounded: a server that tells more than is taken has all users
// be asked for, and no more is kept.
func TestStatusEvents_Bounded(t *testing.T) {
	t.Parallel()
	q := &statusEvents{wake: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	r := wire.Record{Module: "online", Command: "userStatusChange", Params: []byte(`{"user_id":2,"online":true}`)}
	for n := range 3 * maxEvents {
		q.take(r)
		if full := n >= maxEvents; len(q.events) > maxEvents || len(q.again) > 0 != full {
			t.Fatalf("after %d: %d wait, and all are asked for: %t", n+1, len(q.events), !full)
		}
	}
}

// TestWatch_Refused: it ends where the server does not know what is called, and
// goes on when the server has failed.
func TestWatch_Refused(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		for _, code := range []int{-32601, -32602} {
			s.portal.Misbehave(pulltest.Publishing, pulltest.RPCError(code, "no"))
			c := watching(t.Context(), p, 2)
			time.Sleep(time.Minute)
			select {
			case <-c.done:
			default:
				t.Fatalf("%d: it goes on", code)
			}
			var refused *realtime.RPCError
			if !errors.As(c.ends, &refused) || refused.Code != code || c.got() != "" {
				t.Errorf("%d: it ended with %v after %s", code, c.ends, c.got())
			}
		}
		s.portal.Misbehave(pulltest.Publishing, pulltest.RPCError(-32603, "wait").Times(3))
		c := watching(t.Context(), p, 2)
		time.Sleep(time.Minute)
		if c.got() != "2 false" {
			t.Errorf("got %s, %v", c.got(), c.ends)
		}
		p.Close()
		<-c.done
	})
}
