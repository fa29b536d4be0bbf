package fleet

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// panickingStore panics where its cursor is removed.
type panickingStore struct{ keepingStore }

func (s *panickingStore) Save(ctx context.Context, c realtime.Cursor) error {
	if err := s.keepingStore.Save(ctx, c); err != nil {
		panic(err)
	}
	return nil
}

// TestPanics_BetweenRuns: what panics between the runs of a key ends neither
// the process nor the key.
func TestPanics_BetweenRuns(t *testing.T) {
	for name, opt := range map[string]Option{
		"WithRestart": WithRestart(func(string, error, int) Restart { panic("exploded") }),
		"WithCursors": WithCursors(func(string) realtime.CursorStore { panic("exploded") }),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n)
				p := w.portals[0]
				w.heard.do = func(string, realtime.Message) error { return errors.New("the database is away") }
				f := w.fleet(opt)
				w.add(f, p)
				time.Sleep(time.Second)
				emit(p, 1, 1)
				w.eventually("failed", func() bool { return w.events.of(p.MemberID(), KindFailed) > 0 })
				e := w.events.last(p.MemberID(), KindFailed)
				var panicked *PanicError
				if e.Delay < 5*time.Second || e.Delay > 6*time.Second || errors.As(e.Err, &panicked) != (name == "WithCursors") {
					t.Errorf("told %+v", e)
				}
				w.must(f.Shutdown(t.Context()))
			})
		})
	}
}

// TestPanics_StoreWhenLeft: a store that panics where the cursor of a portal
// that has left is removed has not removed it.
func TestPanics_StoreWhenLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p, WithCursors(func(string) realtime.CursorStore { return new(panickingStore) }))
		emit(p, 1, 1)
		time.Sleep(10 * time.Second)
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return w.events.of(p.MemberID(), KindRemoved) == 1 })
		var panicked *PanicError
		if e := w.events.last(p.MemberID(), KindCursorNotRemoved); !errors.As(e.Err, &panicked) {
			t.Errorf("told %+v", e)
		}
		r.stop()
	})
}
