package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// eachOf5 runs a test on version 5, with a subscription and without.
func eachOf5(t *testing.T, test func(t *testing.T, s *stage, p func(...Option) *Publisher), opts ...pulltest.Option) {
	for _, sub := range []bool{false, true} {
		t.Run(fmt.Sprintf("subscription %t", sub), func(t *testing.T) {
			onStage(t, 5, func(t *testing.T, s *stage) {
				var with []Option
				if sub {
					mine := s.listen(1)
					defer mine.close(t)
					with = append(with, WithSubscription(mine.sub))
				}
				test(t, s, func(more ...Option) *Publisher { return s.publisher(1, append(with, more...)...) })
			}, opts...)
		})
	}
}

// TestCall_Refused: what the server answers is the error of that call alone.
func TestCall_Refused(t *testing.T) {
	t.Parallel()
	eachOf5(t, func(t *testing.T, s *stage, publisher func(...Option) *Publisher) {
		p := publisher()
		defer p.Close()
		for code, class := range map[int]b24pull.Class{-32601: b24pull.ClassFinal, -32602: b24pull.ClassFinal, -32600: b24pull.ClassFinal, -32603: b24pull.ClassUnavailable} {
			s.portal.Misbehave(pulltest.Publishing, pulltest.RPCError(code, "no"))
			err := p.Publish(t.Context(), to("one", 2))
			var refused *realtime.RPCError
			if !errors.As(err, &refused) || refused.Code != code || b24pull.ClassOf(err) != class {
				t.Errorf("%d: got %v, class %v", code, err, b24pull.ClassOf(err))
			}
			if _, err := p.Online(t.Context(), 2); !errors.As(err, &refused) {
				t.Errorf("%d: got %v", code, err)
			}
			s.portal.Behave(pulltest.Publishing)
			if err := p.Publish(t.Context(), to("two", 2)); err != nil {
				t.Errorf("%d: afterwards: %v", code, err)
			}
		}
	})
}

// TestCall_Unanswered: nobody knows what became of a call whose connection was
// cut, or that was not answered in time; it is repeated where that is wanted.
func TestCall_Unanswered(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pulltest.Fault{"cut": pulltest.LoseAnswer, "late": pulltest.Stall} {
		t.Run(name, func(t *testing.T) {
			eachOf5(t, func(t *testing.T, s *stage, publisher func(...Option) *Publisher) {
				in := s.listen(2)
				defer in.close(t)
				p := publisher()
				defer p.Close()
				s.portal.Misbehave(pulltest.Publishing, fault.Times(1))
				err := p.Publish(t.Context(), to("one", 2))
				var unanswered *realtime.UnansweredError
				if !errors.As(err, &unanswered) || !unanswered.Sent || b24pull.ClassOf(err) != b24pull.ClassUnavailable {
					t.Errorf("got %v", err)
				}
				time.Sleep(10 * time.Second) // the connection that was cut is gone, and there is another one
				s.portal.Misbehave(pulltest.Publishing, fault.Times(1))
				again := publisher(WithRepeat())
				defer again.Close()
				if err := again.Publish(t.Context(), to("two", 2)); err != nil {
					t.Errorf("with repeats: %v", err)
				}
				time.Sleep(time.Minute)
				want := map[string]string{"cut": "one two two", "late": "two"}[name]
				if got := strings.Join(in.commands(), " "); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
}

// TestCall_OwnConnection: it is opened when it is needed, for all calls
// together, and closed when it is not, or by Close.
func TestCall_OwnConnection(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		publish := func() {
			var calls sync.WaitGroup
			for range 50 {
				calls.Go(func() {
					if err := p.Publish(t.Context(), to("one", 2)); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
		}
		connections := func(want, opened int) {
			t.Helper()
			soon()
			if n := s.portal.Stats().Connections; n != want || s.asked("websocket") != opened {
				t.Errorf("%d connections, %d websockets opened; want %d and %d", n, s.asked("websocket"), want, opened)
			}
		}
		connections(0, 0)
		publish()
		connections(1, 1)
		for range 10 {
			time.Sleep(20 * time.Second)
			publish()
		}
		connections(1, 1)
		time.Sleep(3 * idleLife)
		connections(0, 1)
		publish()
		connections(1, 2)
		s.portal.Cut()
		connections(0, 2)
		publish()
		p.Close()
		connections(0, 3)
		if err := p.Publish(t.Context(), to("one", 2)); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// TestCall_NoConnection: where no websocket comes about the calls end, unsent,
// and with a jwt that is refused another config is asked for.
func TestCall_NoConnection(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		status := http.StatusBadGateway
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) != "websocket" {
				return false
			}
			http.Error(w, "no", status)
			return true
		})
		began := time.Now()
		err := p.Publish(t.Context(), to("one", 2))
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Status != 502 || b24pull.ClassOf(err) != b24pull.ClassNotSent || time.Since(began) > time.Minute {
			t.Errorf("got %v after %v, class %v", err, time.Since(began), b24pull.ClassOf(err))
		}
		configs := s.asked("application.config.get")
		status = http.StatusBadRequest
		if err := p.Publish(t.Context(), to("one", 2)); err == nil {
			t.Error("published")
		}
		if n := s.asked("application.config.get") - configs; n == 0 || n > 4 {
			t.Errorf("%d configs more", n)
		}
		s.instead(nil)
		if err := p.Publish(t.Context(), to("one", 2)); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestCall_ClosedSubscription: calls over a subscription that has ended fail.
func TestCall_ClosedSubscription(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		mine := s.listen(1)
		p := s.publisher(1, WithSubscription(mine.sub))
		defer p.Close()
		mine.close(t)
		if err := p.Publish(t.Context(), to("one", 2)); !errors.Is(err, realtime.ErrClosed) || b24pull.ClassOf(err) != b24pull.ClassFinal {
			t.Errorf("got %v", err)
		}
	})
}

// TestCall_Polls: a subscription that is connected by long polling cannot carry
// calls; a connection of the publisher's own does.
func TestCall_Polls(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		mine := s.listen(1, realtime.WithTransport(realtime.TransportLongPolling))
		defer mine.close(t)
		p := s.publisher(1, WithSubscription(mine.sub))
		defer p.Close()
		if err := p.Publish(t.Context(), to("one", 1)); err != nil {
			t.Errorf("got %v", err)
		}
		soon()
		if got := mine.commands(); len(got) != 1 || s.asked("websocket") != 1 {
			t.Errorf("got %v over %d websockets", got, s.asked("websocket"))
		}
	})
}

// TestCall_Parts: a message for many becomes calls that the server takes.
func TestCall_Parts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		users, channels, body, calls int
	}{
		{1, 0, 10, 1}, {100, 0, 10, 1}, {101, 0, 10, 2}, {60, 60, 10, 2}, {0, 250, 10, 3}, {20, 80, 1<<20 - 5000, 2}, {1, 1, 1<<20 - 400, 1}, {1, 1, 1<<20 - 325, 2},
	} {
		var to receivers
		for i := range tt.users {
			to.users = append(to.users, int64(i)+1)
		}
		for i := range tt.channels {
			to.channels = append(to.channels, fmt.Sprintf("%032x.%040x", i, i))
		}
		m := checked{message: body{"m", "c", []byte(`{"a":"` + strings.Repeat("x", tt.body) + `"}`)}, expiry: 60}
		parts, err := to.calls(m)
		if err != nil || len(parts) != tt.calls {
			t.Errorf("%+v: %d calls, %v", tt, len(parts), err)
		}
		users, channels := 0, 0
		for _, part := range parts {
			users, channels = users+len(part.Users), channels+len(part.Channels)
			if len(part.Users)+len(part.Channels) > maxReceivers || len(part.Users)+len(part.Channels) == 0 {
				t.Errorf("%+v: %d receivers in a call", tt, len(part.Users)+len(part.Channels))
			}
		}
		if users != tt.users || channels != tt.channels {
			t.Errorf("%+v: %d users, %d channels", tt, users, channels)
		}
	}
	long := checked{message: body{Params: []byte(`{"a":"` + strings.Repeat("x", 1<<20-100) + `"}`)}}
	if _, err := (receivers{users: []int64{1}}).calls(long); err == nil {
		t.Error("a call over 1 MiB is made")
	}
}

// TestCall_PortalChannels: an application that publishes to the portal's own
// channels names them.
func TestCall_PortalChannels(t *testing.T) {
	t.Parallel()
	eachOf5(t, func(t *testing.T, s *stage, publisher func(...Option) *Publisher) {
		webhook, err := b24pull.New(b24pull.Webhook(s.portal.Webhook()), b24pull.WithHTTPClient(s.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		page := s.listenTo(realtime.PortalConfig(webhook))
		defer page.close(t)
		p := publisher(WithPortalChannels())
		defer p.Close()
		if err := p.Publish(t.Context(), to("to the page", 1)); err != nil {
			t.Fatal(err)
		}
		soon()
		if got := page.commands(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}

// TestCall_SenderIsKnown: the subscription learns from the publisher whose the
// public ids are.
func TestCall_SenderIsKnown(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		mine := s.listen(1)
		defer mine.close(t)
		p := s.publisher(1, WithSubscription(mine.sub))
		defer p.Close()
		if err := p.Publish(t.Context(), to("hello", 2)); err != nil {
			t.Fatal(err)
		}
		other := s.publisher(2)
		defer other.Close()
		if err := other.Publish(t.Context(), to("and hello", 1)); err != nil {
			t.Fatal(err)
		}
		soon()
		if got := mine.messages(); len(got) != 1 || got[0].Sender.UserID != 2 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestReadSeen: 0 seconds is online. What PHP makes of nothing is not 0.
func TestReadSeen(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"2":0}`: "true", `{"2":"0"}`: "true", `{"2":60}`: "false 1m0s", `{"2":"60"}`: "false 1m0s",
		`{"2":null}`: "", `{"2":""}`: "", `{"2":false}`: "", `{"2":-1}`: "", `[]`: "", `{"7":0}`: "",
		`{"2":"x"}`: "error", `true`: "error", `"x"`: "error",
	} {
		synctest.Test(t, func(t *testing.T) {
			seen := make(map[int64]Presence)
			err := readSeen(json.RawMessage(answer), []int64{2}, seen)
			got := ""
			switch p, ok := seen[2]; {
			case err != nil:
				got = "error"
			case ok && p.LastSeen.IsZero():
				got = fmt.Sprint(p.Online)
			case ok:
				got = fmt.Sprint(p.Online, " ", time.Since(p.LastSeen))
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", answer, got, want)
			}
		})
	}
}
