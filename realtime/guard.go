package realtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/quote"
)

// CallbackPanic is what [Subscription.Run] and the loop over
// [Subscription.Messages] panic with if something of yours has panicked in a
// goroutine of the subscription, whose stack would be lost: an observer, a
// logger's handler, the function of [WithBackoff], a save of a [CursorStore], a
// [ConfigSource] with its token source, an HTTP transport, a dialer or a
// connection.
type CallbackPanic struct {
	Value any    // what it panicked with
	Stack []byte // of the goroutine, as [runtime/debug.Stack] writes it
}

// Error has the stack in it, so that a panic that ends the program shows it.
func (e *CallbackPanic) Error() string {
	return fmt.Sprintf("realtime: a callback panicked: %s\n\n%s", quote.Text(fmt.Sprint(e.Value), quote.TextLimit), e.Stack)
}

// Unwrap returns the value if it is an error.
func (e *CallbackPanic) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

var (
	errPanicked       = errors.New("realtime: a callback has panicked")
	errCallbackGoexit = fmt.Errorf("realtime: a callback was the end of a goroutine: %w", errGoexit)
)

// guard stands around what runs in the goroutines of a run. The first panic
// ends the run, and goes on from where the user can recover it.
type guard struct {
	stop func(cause error)

	mu     sync.Mutex
	panic  *CallbackPanic
	exited bool // a goroutine was ended by runtime.Goexit
}

// do calls f and reports whether it has returned.
func (g *guard) do(f func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		switch v := recover().(type) {
		case nil:
			g.caught(nil)
		case *CallbackPanic: // with a stack of its own
			g.caught(v)
		default:
			g.caught(&CallbackPanic{Value: v, Stack: debug.Stack()})
		}
	}()
	f()
	return true
}

// watching returns a context in which connections hand their panics to the
// guard.
func (g *guard) watching(ctx context.Context) context.Context {
	return dial.OnPanic(ctx, func(v any, stack []byte) { g.caught(&CallbackPanic{Value: v, Stack: stack}) })
}

func (g *guard) caught(p *CallbackPanic) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.panic == nil {
		g.panic = p
	}
	g.exited = g.exited || p == nil
	g.stop(errPanicked)
}

// raise has a panic go on, or returns what else has ended a goroutine, once all
// of them have stopped.
func (g *guard) raise() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.panic != nil:
		panic(g.panic)
	case g.exited:
		return errCallbackGoexit
	default:
		return nil
	}
}

// tasks are goroutines that a guard stands around.
type tasks struct {
	sync.WaitGroup
	guard *guard
}

// Go calls f in a goroutine.
func (t *tasks) Go(f func()) {
	t.WaitGroup.Go(func() { t.guard.do(f) })
}
