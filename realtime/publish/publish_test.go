package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func TestPublish_ToUsers(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		in := s.listen(2)
		defer in.close(t)
		p := s.publisher(1)
		defer p.Close()
		if err := p.Publish(t.Context(), to("one", 2), to("two", 2, 1), to("three", 1)); err != nil {
			t.Fatal(err)
		}
		soon()
		got := in.messages()
		if len(got) != 2 || got[0].Command != "one" || got[1].Command != "two" {
			t.Fatalf("got %v", got)
		}
		if m := got[0]; m.Sender.Type != realtime.SenderClient || m.Module != "application" || string(m.Params) != `{"n":1}` {
			t.Errorf("got %v from %v", m, m.Sender)
		}
		if s.asked("publish") != 1 || s.asked("channel.public.list") != 1 {
			t.Errorf("requests: %v", s.requests)
		}
		online, err := p.Online(t.Context(), 1, 2, 77)
		if err != nil || online[1].Online || !online[2].Online || len(online) != 3 {
			t.Errorf("online: %v, %v", online, err)
		}
	})
}

// TestBound: the context of a call to a publisher that is closed has ended
// before anything is done with it.
func TestBound(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		p.Close()
		ctx, cancel := p.bound(t.Context())
		defer cancel()
		if !errors.Is(context.Cause(ctx), ErrClosed) {
			t.Errorf("got %v", context.Cause(ctx))
		}
	})
}

// TestPublish_Closed: a publisher that is closed says so, on every version and
// whatever it has done before, and that trying again does not help.
func TestPublish_Closed(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		for _, over := range []string{"alone", "over a subscription"} {
			t.Run(fmt.Sprint("version ", version, " ", over), func(t *testing.T) {
				onStage(t, version, func(t *testing.T, s *stage) {
					var opts []Option
					if over != "alone" {
						in := s.listen(1)
						defer in.close(t)
						opts = append(opts, WithSubscription(in.sub))
					}
					p := s.publisher(1, opts...)
					_ = p.Publish(t.Context(), to("one", 2))
					p.Close()
					err := p.Publish(t.Context(), to("two", 2))
					if !errors.Is(err, ErrClosed) || b24pull.ClassOf(err) != b24pull.ClassFinal {
						t.Errorf("Publish: %v, class %v", err, b24pull.ClassOf(err))
					}
					if _, err := p.Online(t.Context(), 2); !errors.Is(err, ErrClosed) || b24pull.ClassOf(err) != b24pull.ClassFinal {
						t.Errorf("Online: %v, class %v", err, b24pull.ClassOf(err))
					}
					for change, err := range p.WatchPresence(t.Context(), 2) {
						t.Errorf("WatchPresence: %v, %v", change, err)
					}
				})
			})
		}
	}
}

// TestPublish_PortalDown: a deadline that passes while the portal is asked says
// what has not come, and that nothing was published.
func TestPublish_PortalDown(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		onStage(t, version, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			s.portal.Misbehave(pulltest.REST, pulltest.Refuse(503))
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := p.Publish(ctx, to("one", 2))
			if !errors.Is(err, context.DeadlineExceeded) || b24pull.ClassOf(err) != b24pull.ClassNotSent || !strings.Contains(fmt.Sprint(err), "the config had not come") {
				t.Errorf("version %d: %v, class %v", version, err, b24pull.ClassOf(err))
			}
		})
	}
}

// TestPublish_Cancelled: what is cancelled before it begins has not been sent.
func TestPublish_Cancelled(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		onStage(t, version, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			if err := p.Publish(t.Context(), to("one", 2)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := p.Publish(ctx, to("two", 2))
			if !errors.Is(err, context.Canceled) || b24pull.ClassOf(err) != b24pull.ClassFinal {
				t.Errorf("version %d: %v, class %v", version, err, b24pull.ClassOf(err))
			}
		})
	}
}

// A slow directory takes its time also when it is told to end.
type slow struct{ ended atomic.Bool }

func (d *slow) ListPublicChannels(ctx context.Context, _ []int64, _ b24pull.ChannelOwner) (map[int64]b24pull.PublicChannel, error) {
	<-ctx.Done()
	time.Sleep(time.Second)
	d.ended.Store(true)
	return nil, ctx.Err()
}

// TestClose_Waits: when Close returns nothing is under way any more, also where
// it is called in a loop over WatchPresence.
func TestClose_Waits(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := new(slow)
		p := s.publisher(1, WithDirectory(d))
		failed := make(chan error)
		go func() { failed <- p.Publish(t.Context(), to("one", 2)) }()
		soon()
		p.Close()
		if !d.ended.Load() {
			t.Error("the directory is still being asked")
		}
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	onStage(t, 5, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		n := 0
		for _, err := range p.WatchPresence(t.Context(), 1, 2) {
			n++
			p.Close()
			if err != nil || s.portal.Stats().Connections > 1 {
				t.Errorf("%v, %d connections", err, s.portal.Stats().Connections)
			}
		}
		soon()
		if left := s.portal.Stats().Connections; left != 0 || n == 0 {
			t.Errorf("%d connections are left, %d changes", left, n)
		}
	})
}

// TestClose_BetweenTries: Close does not wait for the next try to connect.
func TestClose_BetweenTries(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) == "websocket" {
				http.Error(w, "", http.StatusBadGateway)
			}
			return kindOf(r) == "websocket"
		})
		p := s.publisher(1)
		failed := make(chan error)
		go func() { failed <- p.Publish(t.Context(), to("one", 2)) }()
		time.Sleep(firstPause / 2)
		began := time.Now()
		p.Close()
		if err := <-failed; !errors.Is(err, ErrClosed) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
