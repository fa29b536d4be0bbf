package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestLeft_Shutdown: of a portal that has uninstalled the application no cursor
// is left behind, wherever its subscription stands when the process ends; that
// of any other portal stays.
func TestLeft_Shutdown(t *testing.T) {
	for name, before := range map[string]func(r *running, p *pulltest.Portal){
		"it runs": func(*running, *pulltest.Portal) {},
		"it rests": func(r *running, p *pulltest.Portal) {
			r.app.Fleet().Subscription(p.MemberID()).Close()
			r.w.eventually("it rests", func() bool {
				s, _ := r.app.Fleet().Status(p.MemberID())
				return s.State == StateWaiting || s.State == StateDelayed
			})
		},
		"it is handled": func(r *running, p *pulltest.Portal) {
			handling := make(chan struct{})
			r.w.heard.do = func(string, realtime.Message) error { close(handling); time.Sleep(time.Second); return nil }
			emit(p, 2, 2)
			<-handling
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 2, n)
				p, other := w.portals[0], w.portals[1]
				r := w.run()
				for _, p := range w.portals {
					w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
					w.ready(p, 1)
					emit(p, 1, 1)
					w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
				}
				time.Sleep(10 * time.Second)
				before(r, p)
				if got := w.cursors.keys(); len(got) != 2 {
					t.Fatalf("cursors of %q", got)
				}
				w.must(p.Uninstall(t.Context(), r.at+"/event"))
				r.stop()
				if got := w.cursors.keys(); !slices.Equal(got, []string{other.MemberID()}) {
					t.Errorf("cursors of %q are left, want that of %s alone", got, other.MemberID())
				}
			})
		})
	}
}

// TestLeft_NotRemoved: it is told if the cursor cannot be removed, also when the
// process ends.
func TestLeft_NotRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p, WithCursors(func(string) realtime.CursorStore { return new(keepingStore) }))
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		r.stop()
		if got := w.events.of(p.MemberID(), KindCursorNotRemoved); got == 0 { // more often if it is tried again
			t.Error("it was not told")
		}
	})
}

// keepingStore does not let its cursor be removed.
type keepingStore struct{ realtime.MemoryStore }

func (s *keepingStore) Save(ctx context.Context, c realtime.Cursor) error {
	if at, _ := s.Load(ctx); c.IsZero() && !at.IsZero() {
		return errors.New("the disk is full")
	}
	return s.MemoryStore.Save(ctx, c)
}

// TestLeft_Killed: what a process has left behind that was killed between the
// two is removed by the next one, that has the keys of the cursors as well.
func TestLeft_Killed(t *testing.T) {
	cursor := someCursor(t)
	cursors, err := NewCursorFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := cursors.Cursors("Gone").Save(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		begin := func() *running {
			r := w.run(WithCursors(cursors.Cursors))
			keys, err := cursors.Keys()
			w.must(err)
			r.app.Start(t.Context(), keys...)
			return r
		}
		r := begin()
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.ready(p, 1)
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		r.stop()
		r = begin()
		w.ready(p, 2)
		r.stop()
		keys, err := cursors.Keys()
		w.must(err)
		if !slices.Equal(keys, []string{p.MemberID()}) {
			t.Errorf("cursors of %q, want that of %q", keys, p.MemberID())
		}
	})
}

// TestLeft_InstalledMeanwhile: a portal that is removed from the fleet,
// uninstalls the application and installs it again while its cursor is being
// removed goes on where it was.
func TestLeft_InstalledMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		store := &slowRemoval{removing: make(chan struct{})}
		r := w.installed(p, WithCursors(func(string) realtime.CursorStore { return store }))
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		handling, handle := make(chan struct{}), make(chan struct{})
		w.heard.do = func(_ string, m realtime.Message) error {
			if m.Command == "n2" {
				close(handling)
				<-handle
			}
			return nil
		}
		emit(p, 2, 2)
		<-handling
		removed := make(chan error, 1)
		go func() { removed <- r.app.Fleet().Remove(t.Context(), p.MemberID()) }()
		time.Sleep(time.Second)
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		close(handle)
		<-store.removing
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.must(<-removed)
		emit(p, 3, 3)
		w.eventually("heard again", func() bool { return w.heard.has(p, "n3") })
		if got := w.heard.from(p); slices.Index(got, "n1") != 0 || slices.Contains(got[1:], "n1") {
			t.Errorf("heard %q", got)
		}
		r.stop()
	})
}

// TestFleet_RefusesCursors: a run that is begun again has the cursor of the
// fleet, so there is no other.
func TestFleet_RefusesCursors(t *testing.T) {
	source := realtime.PortalConfig(new(b24pull.Client))
	handler := realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil })
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	tokens := newWorld(t, 0, nil).newTokens()
	for name, opt := range map[string]realtime.Option{
		"WithCursorStore": realtime.WithCursorStore(new(realtime.MemoryStore)),
		"WithCursor":      realtime.WithCursor(someCursor(t)),
	} {
		for by, err := range map[string]error{
			"Add":              f.Add("a", source, handler, realtime.WithHistory(), opt),
			"WithSubscription": second(New(WithSubscription(realtime.WithHistory(), opt))),
			"WithSubscription of an application": second(NewApplication(tokens, func(Portal) realtime.Handler { return handler },
				WithSubscription(opt))),
		} {
			if err == nil || !strings.Contains(err.Error(), "realtime."+name+" ") || !strings.Contains(err.Error(), "fleet.WithCursors") {
				t.Errorf("%s, %s: %v", by, name, err)
			}
		}
	}
	for name, opt := range map[string]realtime.Option{
		"WithHistory":            realtime.WithHistory(),
		"WithCursor of no place": realtime.WithCursor(realtime.Cursor{}),
	} {
		if _, err := New(WithSubscription(opt)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.Keys()) != 0 {
		t.Errorf("keys %v", f.Keys())
	}
}
