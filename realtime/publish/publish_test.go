package publish

import (
	"context"
	"errors"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

func TestPublish_ToUsers(t *testing.T) {
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

// TestPublish_Cancelled: what is cancelled before it begins has not been sent.
func TestPublish_Cancelled(t *testing.T) {
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
			if !errors.Is(err, context.Canceled) || b24pull.ClassOf(err) != b24pull.ClassNotSent {
				t.Errorf("version %d: %v, class %v", version, err, b24pull.ClassOf(err))
			}
		})
	}
}
