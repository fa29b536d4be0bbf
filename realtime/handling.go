package realtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/enum"
	"github.com/b24pull/b24pull/internal/fifo"
	"github.com/b24pull/b24pull/internal/sleep"
)

// FailureAction is what becomes of a message whose handler has failed.
type FailureAction uint8

const (
	ActionStop  FailureAction = iota // Run ends with the error; the message is not handled
	ActionSkip                       // it counts as handled
	ActionRetry                      // the handler is called again
)

var failureActions = []string{"stop", "skip", "retry"}

// String is the action in lower case.
func (a FailureAction) String() string { return enum.Name(failureActions, a) }

// MarshalText gives the text of String.
func (a FailureAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// ErrorAction is what an error policy has decided: [StopRun], [SkipMessage] or
// [RetryAfter]. The zero ErrorAction is StopRun's.
type ErrorAction struct {
	action FailureAction
	delay  time.Duration
}

// String is the action in lower case, with its delay.
func (a ErrorAction) String() string {
	if a.action == ActionRetry {
		return fmt.Sprintf("%v after %v", a.action, a.delay)
	}
	return a.action.String()
}

// StopRun has Run return the error; the message is not handled.
func StopRun() ErrorAction { return ErrorAction{} }

// SkipMessage has the message count as handled. [WithDeadLetters] has it be
// kept elsewhere first.
func SkipMessage() ErrorAction { return ErrorAction{action: ActionSkip} }

// RetryAfter calls the handler again after a delay, which is 10 ms at the least,
// also where it is given as 0 or less: a handler that fails at once would take
// the whole machine. Messages that come after, in order, wait meanwhile.
func RetryAfter(delay time.Duration) ErrorAction {
	return ErrorAction{action: ActionRetry, delay: max(delay, minDelay)}
}

// WithErrorPolicy decides what becomes of a message whose handler has returned
// an error to Run. attempt is how often it has been called for the message. The
// most usual policy is a [RetryPolicy].
//
// Without a policy a [*ParamsError] skips the message, as one is passed over
// that cannot be decoded at all: it would fail after each restart, too, and
// nothing that comes after it would ever be heard. It is told to the log and the
// observer ([HandlerFailed]), counted, and given to [WithDeadLetters]. Any other
// error stops Run.
func WithErrorPolicy(policy func(err *HandlerError, attempt int) ErrorAction) Option {
	return func(o *options) error {
		if policy == nil {
			return errors.New("realtime: WithErrorPolicy: the function is nil")
		}
		o.policy = policy
		return nil
	}
}

// RetryPolicy is a policy for [WithErrorPolicy]: the handler is called up to so
// many times for a message, at first and again after a delay that begins with
// first and doubles up to most, and then comes what then says:
//
//	realtime.WithErrorPolicy(realtime.RetryPolicy(5, time.Second, time.Minute, realtime.SkipMessage()))
//
// calls it five times within 15 seconds. A [*ParamsError] is not tried again:
// then decides at once. A then of [RetryAfter] goes on for ever, at its delay.
// RetryPolicy panics if attempts is less than 1, or the delays are negative or
// the second is less than the first.
func RetryPolicy(attempts int, first, most time.Duration, then ErrorAction) func(err *HandlerError, attempt int) ErrorAction {
	if attempts < 1 {
		panic(fmt.Sprintf("realtime: RetryPolicy: the handler is called %d times; give 1 or more", attempts))
	}
	if first < 0 || most < first {
		panic(fmt.Sprintf("realtime: RetryPolicy: delays from %v to %v; give the shorter one first, and none below 0", first, most))
	}
	return func(err *HandlerError, attempt int) ErrorAction {
		var params *ParamsError
		if attempt >= attempts || errors.As(err, &params) {
			return then
		}
		delay := first
		for n := 1; n < attempt && 0 < delay && delay < most; n++ {
			if delay *= 2; delay <= 0 || delay > most {
				delay = most
			}
		}
		return RetryAfter(delay)
	}
}

// defaultPolicy is that of a subscription that is given none.
func defaultPolicy(err *HandlerError, _ int) ErrorAction {
	var params *ParamsError
	if errors.As(err, &params) {
		return SkipMessage()
	}
	return StopRun()
}

// WithDeadLetters has keep be called with each message that Run is about to skip
// and the error of its handler, so that it can be kept elsewhere. Only when keep
// returns nil does the message count as handled: its error stops Run, which
// returns it in a [*HandlerError], and the message comes again to a subscription
// that goes on from its cursor. keep is called where the handler was, so several
// calls run at a time with [WithParallel], and the next message of the same key
// waits.
func WithDeadLetters(keep func(ctx context.Context, err *HandlerError) error) Option {
	return func(o *options) error {
		if keep == nil {
			return errors.New("realtime: WithDeadLetters: the function is nil")
		}
		o.deadLetters = keep
		return nil
	}
}

// handle calls the handler, and again if the error policy says so.
func (s *Subscription) handle(ctx context.Context, h Handler, m Message) error {
	for attempt := 1; ; attempt++ {
		err := h.Handle(ctx, m)
		if err == nil {
			return nil
		}
		if gaveUp(ctx, err) {
			return ctx.Err()
		}
		failed := &HandlerError{Message: m, Err: err}
		then := s.opts.policy(failed, attempt)
		if then.action == ActionSkip && s.opts.deadLetters != nil {
			if err := s.opts.deadLetters(ctx, failed); gaveUp(ctx, err) {
				return ctx.Err()
			} else if err != nil {
				then = StopRun()
				failed = &HandlerError{Message: m, Err: fmt.Errorf("%w; it could not be put among the dead letters: %w", failed.Err, err)}
			}
		}
		s.events.post(HandlerFailed{Err: failed, Attempt: attempt, Action: then.action, Delay: then.delay, Count: 1})
		switch {
		case then.action == ActionSkip:
			return nil
		case then.action == ActionStop:
			return failed
		case !sleep.For(ctx, then.delay):
			return ctx.Err()
		}
	}
}

// gaveUp reports whether an error is that of one who was told to stop.
func gaveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// messagesPerWorker is how many messages the window has room for, for each
// handler that can run.
const messagesPerWorker = 16

// workers run a handler for several messages at a time. Those with the same key
// are handled in order, one after the other.
type workers struct {
	handle func(context.Context, Message) error
	key    func(Message) string
	stop   context.CancelFunc

	stats   *counters
	guard   *guard
	most    int // of goroutines: handlers that may run
	running sync.WaitGroup
	ready   chan job      // may be handled: the first of their keys
	window  chan struct{} // one for each message from the oldest that is not handled to the newest that was taken

	mu      sync.Mutex
	begun   int                         // goroutines
	ended   bool                        // no more is taken
	waiting map[string]*fifo.Queue[job] // behind the one of the same key that is being handled
	taken   int
	oldest  int    // the number of the oldest job that is not done
	done    []bool // those from the oldest on, by their number modulo the window
	err     error  // the first
	panic   *HandlerPanic
}

// job is a message to handle. They are numbered as they are taken from the
// queue.
type job struct {
	Message
	key string
	n   int
}

// deliverParallel takes messages and has them handled until there is an error,
// and waits for the handlers.
func (s *Subscription) deliverParallel(ctx context.Context, handle func(context.Context, Message) error) error {
	handling, stop := context.WithCancel(ctx)
	n := s.opts.workers
	w := &workers{
		handle:  handle,
		key:     s.opts.key,
		stop:    stop,
		stats:   &s.stats,
		guard:   &s.guard,
		most:    n,
		ready:   make(chan job, n*messagesPerWorker),
		window:  make(chan struct{}, n*messagesPerWorker),
		done:    make([]bool, n*messagesPerWorker),
		waiting: make(map[string]*fifo.Queue[job]),
	}
	defer w.running.Wait() // also where the key function panics
	defer stop()
	err := w.take(handling, s)
	w.end()
	w.running.Wait() // where the queue has come to its end, what was taken from it is handled
	switch {
	case w.panic != nil:
		panic(w.panic)
	case w.err != nil:
		return w.err
	default:
		return err
	}
}

func (w *workers) take(ctx context.Context, s *Subscription) error {
	for {
		select {
		case w.window <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := s.next(ctx)
		if err != nil {
			return err
		}
		w.dispatch(ctx, w.key(m), m)
	}
}

// dispatch has a message handled, or puts it behind those of its key.
func (w *workers) dispatch(ctx context.Context, key string, m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := job{m, key, w.taken}
	w.taken++
	if behind, busy := w.waiting[key]; busy {
		behind.Push(j)
		return
	}
	w.waiting[key] = new(fifo.Queue[job])
	w.offer(ctx, j)
}

// offer has a goroutine handle a job that is the first of its key. There is
// room: what is ready is within the window. It holds the lock.
func (w *workers) offer(ctx context.Context, j job) {
	w.ready <- j
	if w.begun < w.most {
		w.begun++
		w.running.Go(func() { w.work(ctx) })
	}
}

// work handles what is ready until there is no more to come. Keys take turns.
func (w *workers) work(ctx context.Context) {
	defer w.guard.waits.Leave(w.guard.waits.Enter())
	for {
		select {
		case j, more := <-w.ready:
			if !more || !w.handled(ctx, j.Message) {
				return
			}
			w.finish(ctx, j)
		case <-ctx.Done():
			return
		}
	}
}

// finish enters a message as handled, has the next one of its key handled, and
// gives room in the window to as many as are done without one before them
// that is not.
func (w *workers) finish(ctx context.Context, j job) {
	first := j.acks.Returned(j.receipt)
	w.mu.Lock()
	defer w.mu.Unlock()
	if next, more := w.waiting[j.key].Pop(); more {
		w.offer(ctx, next)
	} else {
		delete(w.waiting, j.key)
	}
	size := len(w.done)
	for w.done[j.n%size] = true; w.done[w.oldest%size]; w.oldest++ {
		w.done[w.oldest%size] = false
		<-w.window
	}
	w.stats.handled(first, uint64(w.oldest))
	w.close()
}

// end says that no more messages come.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.close()
}

// close lets the goroutines go when all is handled that was taken. It holds the
// lock.
func (w *workers) close() {
	if w.ended && w.oldest == w.taken {
		close(w.ready)
	}
}

// handled runs the handler and reports whether the message is handled. Whatever
// else happens ends the run, before the goroutine goes on.
func (w *workers) handled(ctx context.Context, m Message) bool {
	if ctx.Err() != nil {
		return false
	}
	var err error = &HandlerError{Message: m, Err: errGoexit}
	defer func() {
		if p := recover(); p != nil {
			w.fail(nil, &HandlerPanic{Message: m, Value: p, Stack: debug.Stack()})
		} else if err != nil {
			w.fail(err, nil)
		}
	}()
	err = w.handle(ctx, m)
	return err == nil
}

var errGoexit = errors.New("it has ended its goroutine with runtime.Goexit")

func (w *workers) fail(err error, p *HandlerPanic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	if w.panic == nil {
		w.panic = p
	}
	w.stop()
}
