package publish

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestRenewing_Together: when the publisher's channel has been replaced, all
// calls that are under way go on with the next one, for which the portal is
// asked once.
func TestRenewing_Together(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		if err := p.Publish(t.Context(), to("before", 2)); err != nil {
			t.Fatal(err)
		}
		const together = 20
		var left atomic.Int64
		left.Store(together)
		refuse := refuseWith(&left, 400, "4012: Public Channel Id is Required.")
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) == "publish" {
				time.Sleep(time.Second)
			}
			return refuse(w, r)
		})
		var calls sync.WaitGroup
		for i := range together {
			calls.Go(func() {
				if err := p.Publish(t.Context(), to(fmt.Sprint(i), 2)); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		calls.Wait()
		if n := s.asked("application.config.get"); n != 2 {
			t.Errorf("%d configs, want 2", n)
		}
	})
}

// TestRenewing_Fails: what was refused for a channel that cannot be asked for
// anew has not been published, and may be when the portal answers again.
func TestRenewing_Fails(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		if err := p.Publish(t.Context(), to("before", 2)); err != nil {
			t.Fatal(err)
		}
		var left atomic.Int64
		left.Store(1)
		s.instead(refuseWith(&left, 400, "4012: Public Channel Id is Required."))
		s.portal.Misbehave(pulltest.REST, pulltest.Refuse(http.StatusBadGateway))
		err := p.Publish(t.Context(), to("one", 2))
		var refused *RefusedError
		if !errors.As(err, &refused) || b24pull.ClassOf(err) != b24pull.ClassNotSent {
			t.Errorf("%v, class %v", err, b24pull.ClassOf(err))
		}
		s.portal.Behave(pulltest.REST)
		if err := p.Publish(t.Context(), to("two", 2)); err != nil {
			t.Error(err)
		}
	})
}

// TestRenewing_NoEnd: a config that does not say when it ends is used for as
// long as the push server takes it.
func TestRenewing_NoEnd(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		cfg := configOf(t, s.portal)
		cfg.Expires, cfg.Channels.Private.End = time.Time{}, time.Time{}
		p, err := New(realtime.FromConfig(cfg), WithDirectory(directoryOf(t, s)), WithHTTPClient(s.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for range 4 {
			if err := p.Publish(t.Context(), to("one", 2)); err != nil {
				t.Error(err)
			}
			time.Sleep(unknownLife)
		}
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) == "publish" {
				http.Error(w, "4012: no", http.StatusBadRequest)
			}
			return kindOf(r) == "publish"
		})
		if err := p.Publish(t.Context(), to("one", 2)); !errors.Is(err, realtime.ErrConfigExpired) {
			t.Errorf("refused: %v", err)
		}
	}, pulltest.WithChannelLife(30*time.Hour))
}
