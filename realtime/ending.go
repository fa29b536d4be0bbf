package realtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/realtime/internal/shared"
)

// Ready returns a channel that is closed when the subscription is first
// established: it is connected and knows where the history ends, so what is
// published from now on arrives. On channels for which the server keeps
// nothing, that takes two seconds longer. It stays open if the subscription
// ends before: [Subscription.WaitReady] waits for either.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// WaitReady waits until the subscription is ready ([Subscription.Ready]), also
// for one that is not run yet. It returns nil once it has been, whatever became
// of it since. If the subscription has ended before, the error is what Run has
// returned, or [ErrClosed] if that is nil. If ctx ends before, it is ctx's
// error, by errors.Is, and says where the subscription stands, whose answer it
// waits for and since when, and what went wrong last. Both are known while a
// [b24pull.Client] repeats its call, too, if the source hands it the context.
func (s *Subscription) WaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.done:
	default:
		select {
		case <-s.ready:
		case <-s.done:
		case <-ctx.Done():
			return s.notReady(ctx)
		}
	}
	select {
	case <-s.ready:
		return nil
	default:
	}
	if err := s.Err(); err != nil {
		return err
	}
	return ErrClosed
}

func (s *Subscription) notReady(ctx context.Context) error {
	err := fmt.Errorf("realtime: not ready: %w; the subscription is %v", endOf(ctx), s.describe())
	if from, waited := s.lastErrors.asking.Waiting(); from != "" {
		err = fmt.Errorf("%w; waiting for %s for %v", err, from, waited.Round(time.Millisecond))
	}
	if last := s.lastErrors.unready(); last != nil {
		err = fmt.Errorf("%w; last error: %w", err, last)
	}
	return err
}

// Done returns a channel that is closed when the subscription has ended and
// nothing of it runs any more: when Run returns, or the loop over Messages is
// over, and by Close or Drain if it was not run before. A handler must not wait
// for it.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns nil until Done is closed, and then what Run has returned: nil
// after Close and Drain. It has no part of a panic; it says that there was one.
// Of a loop over Messages it is the error that was yielded, or, if the loop was
// left, that of the last save of the cursor.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// DrainError says that a subscription ended before all that it had taken in was
// handled and the cursor saved.
type DrainError struct {
	// Unhandled counts the messages that were received and not handled, those
	// that a handler had in hand among them. It is 0 if only the cursor was not
	// saved yet, or nothing was left to do but to end.
	Unhandled int
	// Err is why: that of Drain's context, or ErrClosed.
	Err error
}

func (e *DrainError) Error() string {
	if e.Unhandled == 0 {
		return fmt.Sprintf("realtime: drain: %v, before the run had ended and its cursor was saved; all messages are handled", e.Err)
	}
	return fmt.Sprintf("realtime: drain: %v; unhandled messages: %d", e.Err, e.Unhandled)
}

func (e *DrainError) Unwrap() error { return e.Err }

// Drain ends the subscription when what it has received is handled, as
// http.Server.Shutdown ends a server: it disconnects at once, waits until the
// messages in the queue are handled, the cursor is saved and nothing runs any
// more, and returns what Run returns, which is nil unless something failed. The
// loop over Messages ends as well.
//
// If ctx ends before, Drain closes the subscription ([Subscription.Close]) and
// returns a [*DrainError] with ctx's error and the number of messages that are
// not handled. It does not wait for the handler that runs then; Done does.
// After Close, and if Close is called meanwhile, Drain waits for the end of the
// run, and what was dropped is a DrainError with [ErrClosed].
//
// Before Run, Drain returns nil at once, and a Run to come returns nil without
// connecting. It can be called more than once and from several goroutines: each
// waits, and the first whose ctx ends closes the subscription for all.
//
// A handler that waited for Drain would wait for itself. Called from a handler,
// from the body of the loop over Messages, or from another callback of the
// subscription, Drain therefore begins and returns nil at once, and ctx bounds
// nothing. It knows them by their goroutine, and a handler by its context as
// well, which other goroutines may have been given. From a goroutine that a
// handler waits for and that has another context, and where messages are pulled
// by iter.Pull, it waits until its ctx ends.
func (s *Subscription) Drain(ctx context.Context) error {
	own := ctx.Value(handling{s}) != nil || s.guard.waits.Has(shared.Goroutine())
	s.mu.Lock()
	s.drained = true
	if s.drain != nil {
		s.drain(errDrained)
	}
	s.endUnlessRun()
	s.mu.Unlock()
	if own {
		return nil
	}
	select {
	case <-s.done:
		return s.drainedTo()
	default:
	}
	select {
	case <-s.done:
		return s.drainedTo()
	case <-ctx.Done():
		s.Close()
		return &DrainError{Unhandled: s.unhandled(), Err: endOf(ctx)}
	}
}

// drainedTo is what a drain has come to, at the end of the run.
func (s *Subscription) drainedTo() error {
	if err := s.Err(); err != nil {
		return err
	}
	if n := s.unhandled(); n > 0 {
		return &DrainError{Unhandled: n, Err: ErrClosed}
	}
	return nil
}

func (s *Subscription) unhandled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acks == nil {
		return 0
	}
	return s.acks.Unhandled()
}

// Close ends the subscription: Run returns nil, and the loop over Messages
// ends, as soon as the handler that is running returns and the cursor is saved.
// Close does not wait for that; [Subscription.Done] tells. Messages that were
// received and not handled are dropped. A run that goes on from the cursor
// brings those that the server keeps; without a cursor, or a time to live, they
// are lost. [Subscription.Drain] has them handled. Close can be called from a
// handler, more than once, and before Run, which then returns nil without
// connecting.
func (s *Subscription) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.calls.Lack(ErrClosed, 0)
	if s.cancel != nil {
		s.cancel(errClosed)
	}
	s.endUnlessRun()
}

// endUnlessRun ends a subscription that is not to be run any more. It holds the
// lock.
func (s *Subscription) endUnlessRun() {
	if !s.run && !s.over {
		s.over = true
		s.queue.Quit()
		s.calls.Lack(ErrClosed, 0)
		close(s.done)
	}
}

// refuse ends a subscription that cannot be run as it was told to: who waits
// for it is not to wait for ever.
func (s *Subscription) refuse(err error) error {
	s.mu.Lock()
	already := s.run
	s.run = true
	s.mu.Unlock()
	if already {
		return ErrAlreadyRun
	}
	s.state.set(StateClosed)
	s.calls.Lack(ErrClosed, 0)
	s.end(err)
	return err
}

// end is the end of a run. What is still queued is nobody's any more, and takes
// nothing of a budget that others share.
func (s *Subscription) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over, s.err = true, err
		s.queue.Quit()
		close(s.done)
	}
}

var (
	errLeft    = errors.New("the consumer wants no more")
	errClosed  = errors.New("the subscription was closed")
	errDrained = errors.New("the subscription was drained")
)

// endOf is why a context is done. A cause that is an end of its own, as that of
// an application which was uninstalled, is the error; any other stands beside
// the context's.
func endOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case b24pull.EndingOf(cause) == b24pull.EndsRun:
		return cause
	case errors.Is(cause, err):
		return cause
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}

// handling is the key by which a handler's context is known.
type handling struct{ *Subscription }

var (
	errPanicked       = errors.New("realtime: a callback has panicked")
	errCallbackGoexit = fmt.Errorf("realtime: a callback was the end of a goroutine: %w", errGoexit)
	errBrokenOff      = errors.New("realtime: the run was broken off by a panic, or by runtime.Goexit, in the handler or the loop over Messages")
)

// guard stands around what runs in the goroutines of a run. The first panic
// ends the run, and goes on from where the user can recover it.
type guard struct {
	stop  func(cause error)
	waits *shared.Goroutines // that the run waits for

	mu     sync.Mutex
	panic  *CallbackPanic
	exited bool // a goroutine was ended by runtime.Goexit
}

// do calls f, in a goroutine of its own, and reports whether it has returned.
func (g *guard) do(f func()) (returned bool) {
	defer g.waits.Leave(g.waits.Enter())
	return g.catch(f)
}

// catch is do in a goroutine that has been entered, or is a handler's.
func (g *guard) catch(f func()) (returned bool) {
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

// panicked is the panic of a callback in another goroutine than the run's, nil
// if there was none.
func (g *guard) panicked() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.panic == nil {
		return nil
	}
	return g.panic
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

// Go calls f in a goroutine, of whose stack it leaves as much as it can to what
// waits there.
func (t *tasks) Go(f func()) {
	t.Add(1)
	go t.run(f)
}

func (t *tasks) run(f func()) {
	defer t.leave(t.guard.waits.Enter())
	t.guard.catch(f)
}

func (t *tasks) leave(goroutine uint64) {
	t.guard.waits.Leave(goroutine)
	t.Done()
}
