package realtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

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
//     done, as Run returns it, or one that trying again cannot help, such as
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
// time and each once; [WithParallel] has several at a time. It blocks, and
// when it returns every goroutine of the subscription has stopped and the
// cursor is saved. A handler's error ends it with a [*HandlerError], unless
// [WithErrorPolicy] says otherwise; or else it returns nil after Close or
// Drain, the context's error when that is done, or the error that trying
// again cannot help. A context's cause stands beside its error; one that
// ends a subscription by itself, like [b24pull.ErrUninstalled] of a context
// of the token source, stands in its place. A cursor that could not be saved
// at the end is an error, too.
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
		return s.refuse(errors.New("realtime: Run: the handler is nil"))
	}
	handle := func(ctx context.Context, m Message) error { return s.handle(ctx, h, m) }
	return s.consume(ctx, func(ctx context.Context) error {
		if s.opts.workers > 1 {
			return s.deliverParallel(ctx, handle)
		}
		return s.deliver(ctx, handle)
	})
}

// consume runs the machine and the committer beside the consumer and returns
// when all have stopped: nil after Close and Drain, and where the loop was left.
func (s *Subscription) consume(given context.Context, deliver func(context.Context) error) (err error) {
	ctx, receiving, err := s.begin(given)
	if err != nil {
		return err
	}
	r := &running{Subscription: s, given: given, ctx: ctx, receiving: receiving}
	defer r.end(&err)
	defer s.guard.waits.Leave(s.guard.waits.Enter())
	defer s.cancel(errLeft)
	s.events.take(receiving)
	if err := s.open(receiving); err != nil {
		return r.refused(err)
	}
	r.start()
	defer r.stop(&err)
	err = deliver(context.WithValue(ctx, handling{s}, true))
	r.handled = true
	return r.come(err)
}

// running is a run. (What consume does not need while it waits for the consumer
// is here: its goroutine is to have a small stack.)
type running struct {
	*Subscription
	given, ctx, receiving context.Context

	loop     sync.WaitGroup // until it is over
	handled  bool           // the consumer has returned
	returned bool           // and nothing has panicked
}

// end is the end, also where a callback has panicked.
func (r *running) end(err *error) {
	r.state.set(StateClosed)
	r.calls.Lack(ErrClosed, 0)
	if !r.returned {
		*err = cmp.Or[error](r.guard.panicked(), errBrokenOff)
	}
	r.Subscription.end(*err)
}

// refused is what a run comes to that cannot begin.
func (r *running) refused(err error) error {
	err = r.outcome(r.receiving, err)
	r.notBegun(r.ctx, err)
	r.returned = true
	return err
}

func (r *running) start() {
	r.guard.stop = r.cancel
	r.commits.start(r.ctx, &r.guard)
	r.loop.Add(1)
	r.machine(r.receiving, r.loop.Done)
}

// stop stops what was started, also on a panic's way out.
func (r *running) stop(err *error) {
	r.cancel(errLeft)
	r.loop.Wait()
	r.commits.stop()
	if saved := r.commits.finish(r.given); saved != nil {
		*err = errors.Join(*err, saved)
	}
	r.guard.catch(r.events.finish)
	if r.handled {
		if ended := r.guard.raise(); ended != nil {
			*err = ended
		}
		r.returned = true
	}
}

// come is what a run has come to whose consumer has returned.
func (r *running) come(err error) error {
	cause := r.outcome(r.ctx, err)
	stop := errors.Is(err, r.ctx.Err())
	r.cancel(err)
	r.loop.Wait()
	if last := r.lastErrors.unconnected(); cause != nil && stop && last != nil {
		return fmt.Errorf("%w; not connected: %w", cause, last)
	}
	return cause
}

// outcome is what a run has come to: nil if it was closed, drained or left, and
// the cause if its context is done.
func (s *Subscription) outcome(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == errDrained, err == errLeft:
		return nil
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
		return err
	case cause == errClosed, cause == errDrained:
		return nil
	case err == ctx.Err():
		return endOf(ctx)
	default:
		return err
	}
}

// open makes what keeps the cursor to start from.
func (s *Subscription) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // closed, drained or cancelled before it was run
	}
	if s.opts.store != nil {
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = delivery.NewAcks(s.opts.cursor.position)
	s.commits = newCommitter(&s.opts, s.acks, s.events)
	return nil
}

// load gets the cursor to start from. It saves it again, which changes nothing,
// to find a store that does not save. It is apart from open for the sake of the
// small stack of runs without a store.
func (s *Subscription) load(ctx context.Context) error {
	cursor, err := s.opts.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("realtime: loading the cursor: %w", err)
	}
	begun := time.Now()
	if err := s.opts.store.Save(ctx, cursor); err != nil {
		return savingFailed(err)
	}
	s.events.post(Saved{Took: time.Since(begun), Count: 1})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.cursor = cursor
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
	for n := uint64(1); ; n++ {
		if err := s.queue.Await(ctx); err != nil {
			return err
		}
		if err := s.deliverOne(ctx, handle, n); err != nil {
			return err
		}
	}
}

// deliverOne hands over the message that is the nth. What waits for it is not
// here, where the stack is deeper.
func (s *Subscription) deliverOne(ctx context.Context, handle func(context.Context, Message) error, n uint64) error {
	m, err := s.next(ctx)
	if err != nil {
		return err
	}
	if err := handle(ctx, m); err != nil {
		return err
	}
	s.stats.handled(s.acks.Returned(m.receipt), n)
	return nil
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

// newLoop makes the loop, which ends with a context and cancels it when it ends.
func (s *Subscription) newLoop(ctx context.Context, cancel func()) *loop {
	l := &loop{
		ctx:        ctx,
		cancel:     cancel,
		source:     s.source,
		opts:       &s.opts,
		socket:     s.dial,
		poll:       s.poll,
		history:    s.history,
		events:     s.events,
		log:        s.opts.logger,
		queue:      s.queue,
		state:      &s.state,
		ready:      s.ready,
		lastErrors: &s.lastErrors,
		stats:      &s.stats,
		acks:       s.acks,
		calls:      &s.calls,
		senders:    &s.senders,
		confirmer: &transport.Confirmer{Posting: s.posting, Failed: func(n int, cause error) {
			s.opts.logger.Debug("messages of a poll could not be confirmed", "messages", n, "err", cause)
		}},
		tasks: tasks{guard: &s.guard},
		inbox: make(chan inbound, 1), // what is read next is decoded while the loop is busy
	}
	l.wake = l.bed.Wake
	l.queue.Roomy = l.wake
	l.events.wakes(l.wake)
	return l
}

// machine starts the loop; over is called when it has ended.
func (s *Subscription) machine(ctx context.Context, over func()) {
	l := s.newLoop(s.guard.watching(ctx), func() { s.drain(nil) })
	l.bed.Rise = func() { go s.receive(l, over) }
	l.bed.Rise()
}

// receive runs the loop, until it is over or asleep.
func (s *Subscription) receive(l *loop, over func()) {
	asleep := false
	defer func() { // also where a callback has ended the goroutine
		if !asleep {
			over()
		}
	}()
	s.guard.do(func() {
		defer func() {
			if !asleep {
				s.events.release()
			}
		}()
		if asleep = l.run(); asleep {
			return
		}
		s.polls.CloseIdleConnections()
		err := l.err
		if context.Cause(l.ctx) == errDrained {
			err = errDrained
		}
		s.queue.Finish(err)
	})
}

// step waits for what happens next, and handles it; or falls asleep.
func (l *loop) step() (asleep bool) {
	at, linger := l.deadline(), time.Now().Add(lingers)
	lingering := at.IsZero() || linger.Before(at)
	if lingering {
		l.alarm.set(linger)
	} else {
		l.alarm.set(at)
	}
	select {
	case in := <-l.inbox:
		if in.kind != inDown || l.ctx.Err() == nil { // or the end itself has cut it
			l.receive(in)
		}
	case <-l.queue.Room:
		l.all(event{kind: evRoom})
	case <-l.events.wake:
		l.events.tellPosted()
	case <-l.alarm.rang:
		if lingering && !time.Now().Before(linger) {
			l.alarm.set(at)
			return l.bed.Sleep(l.idle)
		}
		l.expire()
	case <-l.ctx.Done():
		l.handle(l.main, event{kind: evStop}, stopCause(l.ctx))
	}
	return false
}

// tell logs an event and passes it on.
func (s *Subscription) tell(ctx context.Context, e Event) {
	logEvent(ctx, s.opts.logger, e)
	s.opts.observer(e)
}
