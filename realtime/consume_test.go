package realtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// again is another life with the same portal.
func (l *life) again() *life {
	return &life{t: l.t, network: l.network, portal: l.portal, done: make(chan struct{})}
}

// stop closes the subscription, as the end of a process does, and returns what
// Run returned.
func (l *life) stop() error {
	l.sub.Close()
	<-l.done
	return l.err
}

// goOn runs another subscription with the same store.
func (l *life) goOn(store CursorStore, h HandlerFunc, opts ...Option) *life {
	next := l.again()
	next.subscribe(nil, append(opts, WithCursorStore(store))...)
	next.run(h)
	return next
}

// TestConsume_StoreResumes: what came while nobody ran arrives after a restart,
// once, also if nothing had arrived before.
func TestConsume_StoreResumes(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) CursorStore{
		"memory": func(*testing.T) CursorStore { return new(MemoryStore) },
		"file":   func(t *testing.T) CursorStore { return cursorFile(filepath.Join(t.TempDir(), "cursor")) },
	}
	for name, newStore := range stores {
		for _, before := range [][]string{nil, {"one", "two"}} {
			t.Run(fmt.Sprint(name, ", before the restart ", before), func(t *testing.T) {
				store := newStore(t)
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open()
					l.emit("long before")
					time.Sleep(time.Minute)
					l.subscribe(nil, WithCursorStore(store))
					l.run(nil)
					<-l.sub.Ready()
					for _, c := range before {
						l.emit(c)
					}
					time.Sleep(2 * time.Second)
					l.want(before...)
					if err := l.stop(); err != nil {
						t.Fatal(err)
					}
					l.emit("missed")
					time.Sleep(time.Hour)
					next := l.goOn(store, nil)
					<-next.sub.Ready()
					next.emit("after")
					time.Sleep(10 * time.Minute)
					next.want("missed", "after")
					if n := countEvents[Gap](next); n > 0 {
						t.Errorf("%d gaps", n)
					}
				})
			})
		}
	}
}

// TestConsume_SaveInterval: many messages are few saves, and the last one holds
// them all.
func TestConsume_SaveInterval(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(countingStore)
		l.start(nil, WithCursorStore(store))
		load{messages: 3000, minEvery: 3001}.publishAndCut(l.portal) // ten seconds
		time.Sleep(5 * time.Second)
		if n := store.saves.Load(); n < 10 || n > 20 {
			t.Errorf("%d saves", n)
		}
		l.portal.Emit(pulltest.Message{Params: numbered{3000}})
		synctest.Wait()
		if err := l.stop(); err != nil { // within the interval: saved at the end
			t.Fatal(err)
		}
		next := l.goOn(store, nil)
		time.Sleep(10 * time.Minute)
		next.want()
	})
}

// TestConsume_SaveFails: a save that fails is tried again, and if it fails at
// the end the user is told; nothing is lost.
func TestConsume_SaveFails(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(countingStore)
		l.start(nil, WithCursorStore(store))
		time.Sleep(time.Second)
		store.broken.Store(true)
		l.emit("one")
		time.Sleep(time.Minute)
		if n := store.saves.Load(); n < 5 || n > 20 {
			t.Errorf("%d saves tried", n)
		}
		store.broken.Store(false)
		time.Sleep(time.Minute)
		store.broken.Store(true)
		l.emit("two")
		time.Sleep(time.Second)
		if err := l.stop(); !errors.Is(err, errBroken) {
			t.Errorf("Run returned %v", err)
		}
		store.broken.Store(false)
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want("two")
	})
}

// TestConsume_CursorOfAnother: a cursor of another portal is refused; one of
// channels that were replaced is gone on from, and the gap is told.
func TestConsume_CursorOfAnother(t *testing.T) {
	t.Parallel()
	t.Run("portal", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			store := new(MemoryStore)
			l.start(nil, WithCursorStore(store))
			l.emit("one")
			time.Sleep(time.Second)
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			other := l.again()
			other.open()
			other.subscribe(nil, WithCursorStore(store))
			other.run(nil)
			<-other.done
			if !errors.Is(other.err, ErrCursorMismatch) {
				t.Errorf("Run returned %v", other.err)
			}
		})
	})
	t.Run("channel", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			store := new(MemoryStore)
			l.start(nil, WithCursorStore(store))
			l.emit("one")
			time.Sleep(time.Minute)
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			l.emit("at the old one's end")
			l.portal.ReplaceChannel(pulltest.Private)
			l.emit("over the new one")
			l.emit("next")
			next := l.goOn(store, nil)
			time.Sleep(time.Minute)
			next.want("over the new one", "next")
			if first := next.messages[0]; first.Gap == nil || first.Gap.Reason != GapChannelReplaced || next.messages[1].Gap != nil {
				t.Errorf("gaps %+v, %+v", first.Gap, next.messages[1].Gap)
			}
			if n := countEvents[Gap](next); n != 1 {
				t.Errorf("%d gaps", n)
			}
		})
	})
	t.Run("day", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open(pulltest.WithChannelLife(100 * time.Hour))
			store := new(MemoryStore)
			l.subscribe(nil, WithCursorStore(store))
			l.run(nil)
			<-l.sub.Ready()
			for range 10 {
				l.emit("before")
				time.Sleep(time.Minute)
			}
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			l.emit("expired")
			time.Sleep(25 * time.Hour)
			l.emit("kept")
			next := l.goOn(store, nil)
			time.Sleep(time.Minute)
			next.want("kept")
			if first := next.messages[0]; first.Gap == nil || first.Gap.Reason != GapExpired {
				t.Errorf("gap %+v", first.Gap)
			}
		})
	})
}

// TestConsume_WithHistory: the beginning is what the server still keeps.
func TestConsume_WithHistory(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open(opts...)
			l.emit("one")
			time.Sleep(time.Hour)
			l.emit("two")
			l.subscribe(nil, WithHistory(), WithTransport(transport))
			l.run(nil)
			<-l.sub.Ready()
			l.emit("three")
			time.Sleep(10 * time.Minute)
			l.want("one", "two", "three")
		})
	})
}

// TestConsume_ForgetfulServer: a server that has lost its data is reported, and
// what it keeps from then on arrives.
func TestConsume_ForgetfulServer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithBackoff(soon))
		for i := range 100 {
			l.emit(fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		l.portal.Cut()
		l.portal.Forget()
		l.emit("after")
		l.emit("wards")
		time.Sleep(10 * time.Minute)
		if got := l.commands(); !slices.Equal(got[100:], []string{"after", "wards"}) {
			t.Errorf("handled %q", got[100:])
		}
		if n := countEvents[Gap](l); n != 1 {
			t.Errorf("%d gaps", n)
		}
	})
}

// TestConsume_Commit: a message that is committed before the loop is left does
// not come again; one that is not does.
func TestConsume_Commit(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{false, true} {
		t.Run(fmt.Sprint(commit), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(MemoryStore)
				l.subscribe(nil, WithCursorStore(store))
				go func() {
					<-l.sub.Ready()
					l.emit("one")
					l.emit("two")
				}()
				for m, err := range l.sub.Messages(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if m.Command != "two" {
						continue
					}
					if commit {
						if err := l.sub.Commit(t.Context(), m); err != nil {
							t.Fatal(err)
						}
						saved, _ := store.Load(t.Context())
						if !slices.Contains(slices.Collect(saved.position.Keys()), m.receipt.Key) && saved.position.Watermark.Less(m.receipt.Key.Mid) {
							t.Error("Commit returned before it was saved")
						}
					}
					break
				}
				if err := l.sub.Commit(t.Context(), Message{}); err == nil {
					t.Error("a message of nobody was committed")
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				if commit {
					next.want()
				} else {
					next.want("two")
				}
			})
		})
	}
}

// TestConsume_Drain: what has been received is handled, and then it ends; what
// comes later is for the next run.
func TestConsume_Drain(t *testing.T) {
	t.Parallel()
	drain := map[string]func(l *life, inHandler bool){
		"from outside": func(l *life, inHandler bool) {
			if !inHandler {
				l.sub.Drain(context.Background())
			}
		},
		"from a handler": func(l *life, inHandler bool) {
			if inHandler {
				l.sub.Drain(context.Background())
			}
		},
	}
	for name, drain := range drain {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(MemoryStore)
				l.subscribe(nil, WithCursorStore(store))
				l.run(func(context.Context, Message) error {
					time.Sleep(time.Second) // the others have been received
					drain(l, true)
					time.Sleep(9 * time.Second)
					return nil
				})
				<-l.sub.Ready()
				l.emit("one")
				l.emit("two")
				l.emit("three")
				time.Sleep(5 * time.Second)
				drain(l, false)
				time.Sleep(time.Second)
				l.emit("later")
				<-l.done
				if l.err != nil {
					t.Errorf("Run returned %v", l.err)
				}
				l.want("one", "two", "three")
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				next.want("later")
			})
		})
	}
	t.Run("not for ever", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.run(func(ctx context.Context, _ Message) error { <-ctx.Done(); return ctx.Err() })
			<-l.sub.Ready()
			l.emit("one")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			l.sub.Drain(ctx)
			<-l.done
			if l.err != nil {
				t.Errorf("Run returned %v", l.err)
			}
		})
	})
	t.Run("before it is run", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.sub.Drain(context.Background())
			l.run(nil)
			<-l.done
			if l.err != nil {
				t.Errorf("Run returned %v", l.err)
			}
		})
	})
}
