package fleet

import (
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestFleet_OwnObserver: an observer that a subscription is given is called
// beside the fleet's.
func TestFleet_OwnObserver(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		var each, own atomic.Int64
		f := w.fleet(WithSubscription(realtime.WithObserver(func(realtime.Event) { each.Add(1) })))
		w.add(f, w.portals[0], realtime.WithObserver(func(realtime.Event) { own.Add(1) }))
		w.ready(w.portals[0], 1)
		w.must(f.Shutdown(t.Context()))
		told := int64(w.events.of(w.portals[0].MemberID(), KindTold))
		if told == 0 || each.Load() != told || own.Load() != told {
			t.Errorf("told %d, %d and %d", told, each.Load(), own.Load())
		}
	})
}

// TestFleet_Waits: what trying again cannot help waits for Restart.
func TestFleet_Waits(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		p.Misbehave(pulltest.REST, pulltest.RESTError(403, "INVALID_CREDENTIALS"))
		w.add(f, p)
		w.eventually("waits", func() bool { return w.events.of(p.MemberID(), KindWaiting) == 1 })
		time.Sleep(24 * time.Hour)
		status, _ := f.Status(p.MemberID())
		if !errors.Is(status.Err, b24pull.ErrInvalidCredentials) || status.State != StateWaiting || status.Runs != 1 || f.Subscription(p.MemberID()) != nil {
			t.Errorf("status %+v", status)
		}
		p.Behave(pulltest.REST)
		w.must(f.Restart(p.MemberID()))
		w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
		if status, _ = f.Status(p.MemberID()); status.State != StateRunning || status.Err != nil || status.Subscription != realtime.StateLive || status.Runs != 2 {
			t.Errorf("status %+v", status)
		}
		w.must(f.Shutdown(t.Context()))
	})
}

// TestFleet_Stats: what is counted only grows, whatever is restarted or
// removed.
func TestFleet_Stats(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 3, n)
		f := w.fleet(WithRestart(func(string, error, int) Restart { return After(time.Second) }))
		for _, p := range w.portals {
			w.add(f, p)
		}
		for _, p := range w.portals {
			w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
			emit(p, 1, 2)
			w.eventually("heard", func() bool { return len(w.heard.from(p)) == 2 })
		}
		if s := f.Stats(); s.Total.Messages != 6 || s.Live != 3 || s.Keys[StateRunning] != 3 {
			t.Errorf("%+v", s)
		}
		first := w.portals[0]
		f.Subscription(first.MemberID()).Close()
		w.eventually("again", func() bool { return w.events.of(first.MemberID(), KindReady) == 2 })
		emit(first, 3, 3)
		w.eventually("heard", func() bool { return len(w.heard.from(first)) == 3 })
		if s, _ := f.Status(first.MemberID()); s.Stats.Messages != 3 || s.Runs != 2 {
			t.Errorf("%+v", s)
		}
		for _, p := range w.portals[:2] {
			w.must(f.Remove(t.Context(), p.MemberID()))
		}
		if s := f.Stats(); s.Total.Messages != 7 || s.Live != 1 || s.Keys[StateRunning] != 1 {
			t.Errorf("%+v", s)
		}
		w.must(f.Shutdown(t.Context()))
		if s := f.Stats(); s.Total.Messages != 7 || s.Live != 0 || len(s.Keys) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestFleet_StatsWhileRemoved: what a subscription has counted that is being
// removed is in the sums, also when its key is there again already.
func TestFleet_StatsWhileRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		release := make(chan struct{})
		w.heard.do = func(string, realtime.Message) error { <-release; return nil }
		w.add(f, p)
		w.ready(p, 1)
		emit(p, 1, 3)
		w.eventually("come", func() bool { return f.Stats().Total.Messages == 3 })
		removed := make(chan error, 1)
		go func() { removed <- f.Remove(t.Context(), p.MemberID()) }()
		time.Sleep(time.Second)
		w.add(f, p)
		if s := f.Stats(); s.Total.Messages != 3 || s.Total.QueuedMessages != 2 || len(s.Keys) != 1 || s.Keys[StateQueued] != 1 {
			t.Errorf("while it is removed: %+v", s)
		}
		close(release)
		w.must(<-removed)
		w.ready(p, 2)
		if s := f.Stats(); s.Total.Messages != 3 || s.Total.Handled != 3 || s.Total.QueuedMessages != 0 || s.Keys[StateRunning] != 1 {
			t.Errorf("when it is gone: %+v", s)
		}
		w.must(f.Shutdown(t.Context()))
	})
}

// TestStats_EveryCounter: each counter of realtime.Stats is added up.
func TestStats_EveryCounter(t *testing.T) {
	var one, sum realtime.Stats
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		switch field := v.Field(i); field.Kind() {
		case reflect.Uint64:
			field.SetUint(uint64(i + 1))
		case reflect.Map:
			m := reflect.MakeMap(field.Type())
			m.SetMapIndex(reflect.Zero(field.Type().Key()), reflect.ValueOf(uint64(7)).Convert(field.Type().Elem()))
			field.Set(m)
		}
	}
	addStats(&sum, one)
	addStats(&sum, one)
	got := reflect.ValueOf(sum)
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		switch field := got.Field(i); field.Kind() {
		case reflect.Uint64:
			if field.Uint() != uint64(2*(i+1)) {
				t.Errorf("%s is %d", name, field.Uint())
			}
		case reflect.Map:
			for _, n := range field.Seq2() {
				if n.Uint() != 14 {
					t.Errorf("%s is %v", name, n)
				}
			}
		}
	}
}
