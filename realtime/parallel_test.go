package realtime

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestParallel: handlers run beside each other, those of one key in order, and
// the cursor passes nothing that is not handled.
func TestParallel(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		store := new(MemoryStore)
		l.subscribe(nil, WithCursorStore(store), WithParallel(8, func(m Message) string { return m.Command }))
		var mu sync.Mutex
		last := make(map[string]int)
		running, most := 0, 0
		enter := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
			most = max(most, running)
		}
		l.run(func(ctx context.Context, m Message) error {
			enter(1)
			defer enter(-1)
			if m.Command == "stuck" {
				<-ctx.Done()
				return ctx.Err()
			}
			params, err := Decode[numbered](m)
			mu.Lock()
			if params.N != last[m.Command]+1 {
				t.Errorf("%s: %d after %d", m.Command, params.N, last[m.Command])
			}
			last[m.Command] = params.N
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			return err
		})
		<-l.sub.Ready()
		l.emit("stuck")
		const keys, each = 5, 25 // less than 16 times 8
		for n := range each {
			for k := range keys {
				l.portal.Emit(pulltest.Message{Command: fmt.Sprint("key", k), Params: numbered{n + 1}})
			}
		}
		time.Sleep(5 * time.Second) // one after the other it would be 12.5
		synctest.Wait()
		if len(last) != keys || most != keys+1 {
			t.Errorf("%d keys, %d at a time", len(last), most)
		}
		for k, n := range last {
			if n != each {
				t.Errorf("%s: %d of %d", k, n, each)
			}
		}
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want("stuck")
	})
}

// TestParallel_Fails: the first error ends it, and what was handled beside it
// does not come again.
func TestParallel_Fails(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		store := new(MemoryStore)
		l.subscribe(nil, WithCursorStore(store), WithParallel(3, nil))
		l.run(func(_ context.Context, m Message) error {
			if m.Command == "bad" {
				time.Sleep(time.Second)
				return errHandler
			}
			return nil
		})
		<-l.sub.Ready()
		for _, c := range []string{"one", "bad", "bad", "two"} {
			l.emit(c)
		}
		<-l.done
		var failed *HandlerError
		if !errors.As(l.err, &failed) || failed.Message.Command != "bad" || !errors.Is(l.err, errHandler) {
			t.Errorf("Run returned %v", l.err)
		}
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want("bad", "bad")
	})
}

// byCommand is the key of a message in most of these tests.
func byCommand(m Message) string { return m.Command }

// TestParallel_Window: behind a handler that is stuck, or is tried again for
// ever, as many messages are handled as the window has room for, and the cursor
// stays small. What comes later waits, and is not lost.
func TestParallel_Window(t *testing.T) {
	t.Parallel()
	const n = 2
	sent := shorter(30000, 3000)
	const window = n * messagesPerWorker
	stuck := map[string]func(ctx context.Context) error{
		"stuck":       func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"tried again": func(context.Context) error { return errHandler },
	}
	for name, stuck := range stuck {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(MemoryStore)
				again := func(*HandlerError, int) ErrorAction { return RetryAfter(10 * time.Second) }
				l.subscribe(nil, WithCursorStore(store), WithParallel(n, byCommand), WithErrorPolicy(again))
				var handled atomic.Int64
				l.run(func(ctx context.Context, m Message) error {
					if m.Command == "stuck" {
						return stuck(ctx)
					}
					handled.Add(1)
					return nil
				})
				<-l.sub.Ready()
				l.emit("stuck")
				for i := range sent {
					l.portal.Emit(pulltest.Message{Command: "other", Params: numbered{i}})
					time.Sleep(time.Second / 300)
				}
				time.Sleep(time.Minute)
				if got := handled.Load(); got != window-1 {
					t.Errorf("%d handled, want %d", got, window-1)
				}
				if c, _ := store.Load(t.Context()); len(slices.Collect(c.position.Keys())) > window || len(c.String()) > 1024 {
					t.Errorf("the cursor has %d keys, %d bytes", len(slices.Collect(c.position.Keys())), len(c.String()))
				}
				if err := l.stop(); err != nil {
					t.Fatal(err)
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				if got := len(next.commands()); got != sent-window+2 || next.messages[0].Command != "stuck" {
					t.Errorf("%d came again", got)
				}
			})
		})
	}
}

// TestParallel_UsesItsWindow: where nothing is stuck, keys that come in long
// rows are handled beside each other, and each in order.
func TestParallel_UsesItsWindow(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		const n, rounds = 4, 10
		l.open()
		l.subscribe(nil, WithParallel(n, byCommand))
		var mu sync.Mutex
		var last time.Time
		counts := make(map[string]int)
		l.run(func(_ context.Context, m Message) error {
			params, err := Decode[numbered](m)
			mu.Lock()
			if params.N != counts[m.Command] {
				t.Errorf("%s: %d after %d", m.Command, params.N, counts[m.Command]-1)
			}
			counts[m.Command]++
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			last = time.Now()
			mu.Unlock()
			return err
		})
		<-l.sub.Ready()
		begin := time.Now()
		for round := range rounds {
			for key := range n {
				for i := range messagesPerWorker {
					l.portal.Emit(pulltest.Message{Command: fmt.Sprint("key", key), Params: numbered{round*messagesPerWorker + i}})
				}
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		each := rounds * messagesPerWorker
		least := time.Duration(each) * 100 * time.Millisecond
		if took := last.Sub(begin); took > least+2*time.Second {
			t.Errorf("took %v, with %d handlers at work it is %v", took, n, least)
		}
		for key := range n {
			if got := counts[fmt.Sprint("key", key)]; got != each {
				t.Errorf("key %d: %d of %d", key, got, each)
			}
		}
	})
}

// TestParallel_Stops: no handler begins after one has failed, or after Close.
func TestParallel_Stops(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a handler fails", "a handler closes", "closed from outside"} {
		t.Run(name, func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			for range 10 { // what is left to chance
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					l.open()
					l.subscribe(nil, WithParallel(8, byCommand))
					var over atomic.Bool
					var after atomic.Int32
					l.run(func(_ context.Context, m Message) error {
						if over.Load() {
							after.Add(1)
						}
						time.Sleep(time.Second)
						if m.Command != "k0" {
							time.Sleep(time.Nanosecond)
							return nil
						}
						switch name {
						case "a handler fails":
							over.Store(true)
							return errHandler
						case "a handler closes":
							l.sub.Close()
							over.Store(true)
						}
						return nil
					})
					<-l.sub.Ready()
					for i := range 120 {
						l.emit(fmt.Sprint("k", i))
					}
					if name == "closed from outside" {
						time.Sleep(3500 * time.Millisecond)
						l.sub.Close()
						over.Store(true)
					}
					<-l.done
					if n := after.Load(); n > 0 {
						t.Errorf("%d handlers began afterwards", n)
					}
				})
			}
		})
	}
}

// recovered runs the subscription and returns what it panics with.
func (l *life) recovered(h HandlerFunc) (value any) {
	defer func() { value = recover() }()
	err := l.sub.Run(l.t.Context(), h)
	l.t.Errorf("Run returned %v", err)
	return nil
}

// TestParallel_KeyPanics: the panic of a key function reaches whoever runs the
// subscription once all handlers have stopped.
func TestParallel_KeyPanics(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		store := new(MemoryStore)
		l.subscribe(nil, WithCursorStore(store), WithParallel(4, func(m Message) string {
			if m.Command == "bad" {
				panic("key")
			}
			return m.Command
		}))
		go func() {
			<-l.sub.Ready()
			l.emit("slow")
			time.Sleep(10 * time.Second) // begun
			l.emit("bad")
		}()
		var running, cancelled atomic.Int32
		p := l.recovered(func(ctx context.Context, _ Message) error {
			running.Add(1)
			defer running.Add(-1)
			time.Sleep(time.Minute)
			if ctx.Err() != nil {
				cancelled.Add(1)
			}
			return nil
		})
		if p != "key" || running.Load() != 0 || cancelled.Load() != 1 || l.sub.State() != StateClosed {
			t.Errorf("recovered %v, %d handlers running, %d cancelled, state %v", p, running.Load(), cancelled.Load(), l.sub.State())
		}
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want("bad")
	})
}

// aptlyNamed panics: its name must be found in the stack.
func aptlyNamed(err error) { panic(err) }

// TestParallel_HandlerPanic: what Run panics with has the value, the message
// and the handler's own stack.
func TestParallel_HandlerPanic(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil, WithParallel(4, nil))
		go func() {
			<-l.sub.Ready()
			l.portal.Emit(pulltest.Message{Command: "bad", Params: map[string]string{"password": "swordfish"}})
		}()
		p, ok := l.recovered(func(context.Context, Message) error { aptlyNamed(errHandler); return nil }).(*HandlerPanic)
		if !ok || p.Value != errHandler || p.Message.Command != "bad" || !errors.Is(p, errHandler) {
			t.Fatalf("recovered %#v", p)
		}
		if text := p.Error(); !strings.Contains(text, errHandler.Error()) || !strings.Contains(text, "aptlyNamed") || strings.Contains(text, "swordfish") {
			t.Errorf("it says %s", text)
		}
		if (&HandlerPanic{Value: 7}).Unwrap() != nil {
			t.Error("a number was taken for an error")
		}
	})
}

// TestParallel_Goexit: a handler that ends its goroutine has its message
// unhandled, and the run ends: with an error where the goroutine was one of
// ours, and with the goroutine where it was that of Run.
func TestParallel_Goexit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		opts []Option
		err  bool
	}{
		"sequential": {nil, false},
		"parallel":   {[]Option{WithParallel(2, nil)}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(MemoryStore)
				l.subscribe(nil, append(tt.opts, WithCursorStore(store))...)
				l.run(func(_ context.Context, m Message) error {
					if m.Command == "exit" {
						runtime.Goexit()
					}
					return nil
				})
				<-l.sub.Ready()
				l.emit("one")
				time.Sleep(10 * time.Second) // handled
				l.emit("exit")
				<-l.done
				var failed *HandlerError
				if errors.As(l.err, &failed) != tt.err || tt.err && (failed.Message.Command != "exit" || !strings.Contains(l.err.Error(), "Goexit")) {
					t.Errorf("Run returned %v", l.err)
				}
				if s := l.sub.State(); s != StateClosed {
					t.Errorf("state is %v", s)
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				next.want("exit")
			})
		})
	}
}
