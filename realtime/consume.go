package realtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// Messages runs the subscription and yields its messages, in order and each
// once. It ends
//
//   - when the loop is left; then every goroutine of the subscription has
//     stopped;
//   - silently after Close, and after Drain when all is delivered;
//   - after yielding one error, with a zero Message: the context's when it is
//     done, or one that trying again cannot help, such as
//     [b24pull.ErrWrongAuthType] or [ErrConfigExpired], or that of the cursor
//     store.
//
// A message counts as handled when the loop asks for the next one; leaving the
// loop, by break or by a panic, leaves the last one unhandled, unless
// [Subscription.Commit] was called for it.
//
// Messages of all senders come, and one of a client can look like any of the
// portal's: look at Sender before you believe it ([Sender]).
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		left := false
		err := s.consume(ctx, func(ctx context.Context) error {
			return s.deliver(ctx, func(_ context.Context, m Message) error {
				if left = !yield(m, nil); left {
					return errLeft
				}
				return nil
			})
		})
		if err != nil && !left { // what could not be saved is logged
			yield(Message{}, err)
		}
	}
}

// Run runs the subscription and calls h for each message, in order, one at a
// time and each once; [WithParallel] has several at a time. It blocks, and when
// it returns every goroutine of the subscription has stopped and the cursor is
// saved. A handler's error ends it with a [*HandlerError], unless
// [WithErrorPolicy] says otherwise; or else it returns nil after Close or
// Drain, the context's error when that is done, or the error that trying again
// cannot help. A cursor that could not be saved at the end is an error, too.
//
// When the context is done, everything stops within a second, but for a handler
// and a [CursorStore] that ignore their contexts: these are waited for. After
// Close, and whatever else ends it, the last save alone may take ten seconds.
//
// A handler that panics has its message unhandled, and the panic goes on from
// Run once all has stopped. One that calls [runtime.Goexit], as a test's
// FailNow does, ends the goroutine of Run in the same way. Whatever else of
// yours panics does so from Run as well, as a [*CallbackPanic] where it ran in
// another goroutine, when all has stopped and the cursor is saved.
//
// A [Mux] gives its handlers the portal's messages; any other handler gets
// those of all senders ([Sender]).
func (s *Subscription) Run(ctx context.Context, h Handler) error {
	if h == nil {
		return errors.New("realtime: Run: the handler is nil")
	}
	handle := func(ctx context.Context, m Message) error { return s.handle(ctx, h, m) }
	return s.consume(ctx, func(ctx context.Context) error {
		if s.opts.workers > 1 {
			return s.deliverParallel(ctx, handle)
		}
		return s.deliver(ctx, handle)
	})
}

// handle calls the handler, and again if the error policy says so.
func (s *Subscription) handle(ctx context.Context, h Handler, m Message) error {
	for attempt := 1; ; attempt++ {
		err := h.Handle(ctx, m)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return ctx.Err() // the handler gave up because it was told to
		}
		failed := &HandlerError{Message: m, Err: err}
		var then ErrorAction
		if s.opts.policy != nil {
			then = s.opts.policy(failed, attempt)
		}
		switch {
		case then.skip:
			s.skips.note(s.opts.logger, m, attempt)
			return nil
		case !then.retry:
			return failed
		case !sleep.For(ctx, then.delay):
			return ctx.Err()
		}
	}
}

var (
	errLeft    = errors.New("the consumer wants no more")
	errClosed  = errors.New("the subscription was closed")
	errDrained = errors.New("the subscription was drained")
)

// consume runs the machine and the committer beside the consumer and returns
// when all have stopped: nil after Close and Drain.
func (s *Subscription) consume(ctx context.Context, deliver func(context.Context) error) (err error) {
	given := ctx
	ctx, receiving, err := s.begin(given)
	if err != nil {
		return err
	}
	defer s.cancel(errLeft)
	defer func() { // also where a callback has panicked
		s.state.set(StateClosed)
		s.calls.Lack(ErrClosed, 0)
	}()
	if err := s.open(ctx); err != nil {
		err = s.outcome(ctx, err)
		s.notBegun(ctx, err)
		return err
	}
	s.guard.stop = s.cancel
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.guard.do(func() { s.commits.run(ctx) })
	}()
	received := make(chan struct{})
	go func() {
		defer close(received)
		s.guard.do(func() { s.machine(receiving) })
	}()
	returned := false
	defer func() { // also on a panic's way out
		s.cancel(errLeft)
		<-received
		<-stopped
		if saved := s.commits.finish(given); saved != nil {
			s.opts.logger.Error("cursor not saved", "err", saved)
			err = errors.Join(err, saved)
		}
		if returned {
			if ended := s.guard.raise(); ended != nil {
				err = ended
			}
		}
	}()
	err = deliver(ctx)
	s.skips.flush(s.opts.logger)
	returned = true
	cause := s.outcome(ctx, err)
	s.cancel(err)
	<-received
	if cause != nil && err == ctx.Err() && s.lastError != nil {
		return fmt.Errorf("%w; not connected: %w", cause, s.lastError)
	}
	return cause
}

// outcome is what a run has come to: nil if it was closed or drained.
func (s *Subscription) outcome(ctx context.Context, err error) error {
	if err == errDrained || context.Cause(ctx) == errClosed && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// open gets the cursor to start from. It saves it again, which changes nothing,
// to find a store that does not save.
func (s *Subscription) open(ctx context.Context) error {
	cursor := s.opts.cursor
	if s.opts.store != nil {
		var err error
		if cursor, err = s.opts.store.Load(ctx); err != nil {
			return fmt.Errorf("realtime: loading the cursor: %w", err)
		}
		if err := s.opts.store.Save(ctx, cursor); err != nil {
			return savingFailed(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.cursor = cursor
	s.acks = delivery.NewAcks(cursor.position)
	s.commits = newCommitter(&s.opts, s.acks, cursor)
	return nil
}

// notBegun tells that the subscription has ended before the machine was there
// to tell.
func (s *Subscription) notBegun(ctx context.Context, cause error) {
	s.state.set(StateClosed)
	s.tell(ctx, StateChange{From: StateIdle, To: StateClosed, Cause: cause})
}

// next waits for the next message that the user is to get.
func (s *Subscription) next(ctx context.Context) (Message, error) {
	m, err := s.queue.Pop(ctx)
	if err != nil {
		return Message{}, err
	}
	got := messageOf(&m, s.acks)
	if got.Sender.Type == SenderClient {
		got.Sender.UserID = s.senders.User(got.Sender.ID)
	}
	return got, nil
}

// deliver hands over message by message until there is an error.
func (s *Subscription) deliver(ctx context.Context, handle func(context.Context, Message) error) error {
	for {
		m, err := s.next(ctx)
		if err != nil {
			return err
		}
		if err := handle(ctx, m); err != nil {
			return err
		}
		s.acks.Handled(m.receipt)
	}
}

// begin marks the subscription as run, and makes the contexts that Close and
// Drain cancel: that of all, and that of receiving.
func (s *Subscription) begin(ctx context.Context) (all, receiving context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run {
		return nil, nil, ErrAlreadyRun
	}
	s.run = true
	all, s.cancel = context.WithCancelCause(ctx)
	receiving, s.drain = context.WithCancelCause(all)
	if s.closed {
		s.cancel(errClosed)
	}
	if s.drained {
		s.drain(errDrained)
	}
	return all, receiving, nil
}

func (s *Subscription) newLoop(ctx context.Context) *loop {
	return &loop{
		source:  s.source,
		opts:    &s.opts,
		socket:  s.dial,
		poll:    s.poll,
		history: s.history,
		tell:    func(e Event) { s.tell(ctx, e) },
		log:     s.opts.logger,
		queue:   s.queue,
		state:   &s.state,
		ready:   s.ready,
		stats:   &s.stats,
		acks:    s.acks,
		calls:   &s.calls,
		senders: &s.senders,
		confirmer: &transport.Confirmer{Posting: s.posting, Failed: func(n int, cause error) {
			s.opts.logger.Debug("messages of a poll could not be confirmed", "messages", n, "err", cause)
		}},
		tasks: tasks{guard: &s.guard},
	}
}

func (s *Subscription) machine(ctx context.Context) {
	l := s.newLoop(ctx)
	err := l.run(s.guard.watching(ctx))
	s.client.CloseIdleConnections()
	s.lastError = l.lastError
	if context.Cause(ctx) == errDrained {
		err = errDrained
	}
	s.queue.Finish(err)
}

// tell logs an event and passes it on.
func (s *Subscription) tell(ctx context.Context, e Event) {
	logEvent(ctx, s.opts.logger, e)
	s.opts.observer(e)
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
