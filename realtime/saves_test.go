package realtime

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func deliveryMessage(size int) delivery.Message {
	return delivery.Message{Record: wire.Record{Size: size}}
}

// TestSaves_Counted: saves and failed saves are counted and told, bounded, and
// the time of the last good one stands still while the store is broken.
func TestSaves_Counted(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(countingStore)
		l.open()
		l.emit("before")
		begun := time.Now()
		l.subscribe(nil, WithCursorStore(store))
		l.run(nil)
		<-l.sub.Ready()
		if s := l.sub.Stats(); s.Saves == 0 || s.LastSave.Before(begun) {
			t.Errorf("at the start: counted %+v", s)
		}
		l.tickFor(30*time.Second, 500*time.Millisecond)
		time.Sleep(5 * time.Second)
		good := l.sub.Stats()
		if good.Saves != uint64(store.saves.Load()) || good.Saves < 30 || good.FailedSaves != 0 {
			t.Errorf("counted %+v, the store %d", good, store.saves.Load())
		}
		store.broken.Store(true)
		l.tickFor(time.Minute, time.Second)
		synctest.Wait()
		bad := l.sub.Stats()
		if bad.Saves != good.Saves || !bad.LastSave.Equal(good.LastSave) || bad.FailedSaves == 0 || bad.FailedSaves+bad.Saves != uint64(store.saves.Load()) {
			t.Errorf("counted %+v, the store %d", bad, store.saves.Load())
		}
		store.broken.Store(false)
		time.Sleep(2 * time.Minute)
		if mended := l.sub.Stats(); mended.Saves <= bad.Saves || !mended.LastSave.After(bad.LastSave) {
			t.Errorf("counted %+v", mended)
		}
		store.broken.Store(true)
		l.tick()
		synctest.Wait()
		l.sub.Close()
		<-l.done
		s := l.sub.Stats()
		var saves, failures, attempt int
		for _, e := range lifeEvents[Saved](l) {
			saves += e.Count
		}
		told := lifeEvents[SaveFailed](l)
		for _, e := range told {
			failures += e.Count
			attempt = max(attempt, e.Attempt)
			if !errors.Is(e.Err, errBroken) {
				t.Errorf("told %+v", e)
			}
		}
		if uint64(saves) != s.Saves || uint64(failures) != s.FailedSaves || attempt < 3 || !told[len(told)-1].Last {
			t.Errorf("counted %+v, told of %d and %d: %+v", s, saves, failures, told)
		}
		if n := len(lifeEvents[Saved](l)); n > 20 {
			t.Errorf("%d events tell of %d saves", n, saves)
		}
	})
}

// TestSaves_GivenUp: a save that the end of the run breaks off is no failure,
// since the last one follows.
func TestSaves_GivenUp(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := &stubbornStore{}
		l.open()
		l.emit("before")
		l.subscribe(nil, WithCursorStore(store))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Minute)
		store.slow.Store(true)
		l.tick()
		time.Sleep(2 * time.Second)
		l.sub.Close()
		<-l.done
		if s := l.sub.Stats(); s.FailedSaves != 0 || countEvents[SaveFailed](l) != 0 || l.err != nil {
			t.Errorf("counted %+v, Run returned %v", s, l.err)
		}
	})
}

// stubbornStore has its first slow save wait for its context.
type stubbornStore struct {
	MemoryStore
	slow atomic.Bool
}

func (s *stubbornStore) Save(ctx context.Context, c Cursor) error {
	if s.slow.CompareAndSwap(true, false) {
		<-ctx.Done()
		return fmt.Errorf("gave up: %w", ctx.Err())
	}
	return s.MemoryStore.Save(ctx, c)
}

// TestSaves_ObserverCommits: an observer may commit, and cause the next event
// that it is told of, while the run lives and as it ends.
func TestSaves_ObserverCommits(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				store := new(countingStore)
				var last Message
				committed := 0
				l.open()
				l.emit("before")
				l.subscribe(nil, WithCursorStore(store), WithParallel(workers, nil), WithErrorPolicy(RetryPolicy(2, time.Second, time.Second, SkipMessage())),
					WithObserver(func(e Event) {
						if f, ok := e.(HandlerFailed); ok {
							last = f.Err.Message
						}
						if last.Command != "" {
							committed++
							_ = l.sub.Commit(context.Background(), last)
						}
					}))
				l.run(func(context.Context, Message) error { return errHandler })
				<-l.sub.Ready()
				for i := range 20 {
					l.emit(fmt.Sprint(i))
					store.broken.Store(i%2 == 0)
					time.Sleep(time.Second)
				}
				if err := l.sub.Drain(t.Context()); err == nil { // saves fail or not
					store.broken.Store(false)
				}
				<-l.done
				if committed == 0 {
					t.Error("nothing was committed: the test tests nothing")
				}
			})
		})
	}
}

// TestSaves_ToldWhileDraining: what happens when the connection is gone already
// is told, too: while the rest is handled, not at the end of all.
func TestSaves_ToldWhileDraining(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(countingStore)
		l.open()
		l.emit("before")
		l.subscribe(nil, WithCursorStore(store), WithErrorPolicy(func(*HandlerError, int) ErrorAction { return SkipMessage() }))
		l.run(func(context.Context, Message) error {
			time.Sleep(3 * time.Second)
			return errHandler
		})
		<-l.sub.Ready()
		for i := range 20 {
			l.emit(fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		drained := make(chan error)
		go func() { drained <- l.sub.Drain(context.Background()) }()
		time.Sleep(31 * time.Second)
		during := 0
		for _, e := range lifeEvents[HandlerFailed](l) {
			during += e.Count
		}
		if during < 5 {
			t.Errorf("half a minute on, %d failures have been told", during)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		<-l.done
		all := 0
		for _, e := range lifeEvents[HandlerFailed](l) {
			all += e.Count
		}
		if s := l.sub.Stats(); all != 20 || s.Skipped != 20 || s.Handled != 20 {
			t.Errorf("told of %d, counted %+v", all, s)
		}
	})
}
