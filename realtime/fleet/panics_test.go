package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
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

// TestPanics_Late: a panic of WithReady's function is told at the end, too.
func TestPanics_Late(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p, WithReady(func(ctx context.Context, _ Portal) error {
			<-ctx.Done()
			panic("exploded late")
		}))
		r.stop()
		if w.events.of(p.MemberID(), KindReadyFailed) != 1 || !strings.Contains(w.out.String(), "exploded late") {
			t.Error("it is not told")
		}
	})
}

// explodingLog panics at every line.
type explodingLog struct{ slog.Handler }

func (l explodingLog) WithAttrs([]slog.Attr) slog.Handler        { return l }
func (l explodingLog) Enabled(context.Context, slog.Level) bool  { return true }
func (l explodingLog) Handle(context.Context, slog.Record) error { panic("exploded") }

// TestPanics_Logger: a logger that panics beside a run ends nothing.
func TestPanics_Logger(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet(WithLogger(slog.New(explodingLog{})), WithSubscription(realtime.WithLogger(slog.New(slog.DiscardHandler))), WithObserver(func(e Event) {
			w.events.note(e)
			panic("exploded")
		}), WithRestart(func(string, error, int) Restart { panic("exploded") }))
		w.add(f, p)
		w.ready(p, 1)
		f.Subscription(p.MemberID()).Close()
		time.Sleep(time.Hour)
		emit(p, 1, 1)
		if s, _ := f.Status(p.MemberID()); s.State != StateWaiting {
			t.Errorf("%+v", s)
		}
		w.must(f.Shutdown(t.Context()))
		if e := w.events.last(p.MemberID(), KindRemoved); e.Kind != KindRemoved || e.Err != nil {
			t.Errorf("told %+v", e)
		}
	})
}

// TestPanics_Beside: what panics beside a run, or between two, ends neither the
// process nor the key.
func TestPanics_Beside(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p, WithReady(func(context.Context, Portal) error { panic("exploded") }), WithObserver(func(e Event) {
			w.events.note(e)
			panic(fmt.Sprint("exploded at ", e.Kind))
		}))
		w.eventually("told", func() bool { return w.events.of(p.MemberID(), KindReadyFailed) == 1 })
		var panicked *PanicError
		if e := w.events.last(p.MemberID(), KindReadyFailed); !errors.As(e.Err, &panicked) || panicked.Value != "exploded" {
			t.Errorf("told %+v", e)
		}
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		if s, _ := r.app.Fleet().Status(p.MemberID()); s.Runs != 1 || s.State != StateRunning {
			t.Errorf("%+v", s)
		}
		r.stop()
		if w.events.of(p.MemberID(), KindRemoved) != 1 {
			t.Error("not told that the key is gone")
		}
	})
}

// exitingRunner ends the goroutine in which a run is prepared.
type exitingRunner struct{ added }

func (*exitingRunner) open(context.Context, *member) (*job, error) {
	runtime.Goexit()
	return nil, nil
}

// TestPanics_Goexit: what ends the goroutine in which a run is prepared ends its
// key.
func TestPanics_Goexit(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		f := w.fleet()
		f.mu.Lock()
		w.must(f.start("a", new(exitingRunner)))
		f.mu.Unlock()
		w.eventually("gone", func() bool { return w.events.of("a", KindRemoved) == 1 })
		if e := w.events.last("a", KindRemoved); e.Err != errGoexit {
			t.Errorf("told %+v", e)
		}
		w.must(f.Shutdown(t.Context()))
	})
}
