package realtime

import (
	"context"
	"errors"
	"sync"
)

// messagesPerWorker is how many messages may be taken from the queue for each handler that can run.
const messagesPerWorker = 16

// workers run a handler for several messages at a time. Those with the same key are handled in order, one after the
// other.
type workers struct {
	handle func(context.Context, Message) error
	done   func(Message)
	key    func(Message) string

	running sync.WaitGroup
	turns   chan struct{} // one for each handler that may run
	window  chan struct{} // one for each message taken and not handled

	mu      sync.Mutex
	waiting map[string][]Message // behind the one of the same key that is being handled
	err     error                // the first
	stop    context.CancelFunc

	panicked bool
	value    any // what a handler panicked with
}

// deliverParallel takes messages and has them handled until there is an error, and waits for the handlers.
func (s *Subscription) deliverParallel(ctx context.Context, handle func(context.Context, Message) error) error {
	n := s.opts.workers
	w := &workers{
		handle:  handle,
		done:    func(m Message) { m.ledger.handled(m) },
		key:     s.opts.key,
		turns:   make(chan struct{}, n),
		window:  make(chan struct{}, n*messagesPerWorker),
		waiting: make(map[string][]Message),
	}
	handling, stop := context.WithCancel(ctx)
	defer stop()
	w.stop = stop
	err := w.take(handling, s.queue)
	w.running.Wait() // where the queue has come to its end, what was taken from it is handled
	switch {
	case w.panicked:
		panic(w.value)
	case w.err != nil:
		return w.err
	default:
		return err
	}
}

func (w *workers) take(ctx context.Context, q *queue) error {
	for {
		select {
		case w.window <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := q.pop(ctx)
		if err != nil {
			return err
		}
		w.dispatch(ctx, m)
	}
}

// dispatch begins with a message, or puts it behind those of its key.
func (w *workers) dispatch(ctx context.Context, m Message) {
	key := w.key(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	if behind, busy := w.waiting[key]; busy {
		w.waiting[key] = append(behind, m)
		return
	}
	w.waiting[key] = nil
	w.running.Go(func() { w.work(ctx, key, m) })
}

// work handles the messages of a key until there is none left.
func (w *workers) work(ctx context.Context, key string, m Message) {
	for more := true; more; m, more = w.next(key) {
		select {
		case w.turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := w.guarded(ctx, m)
		<-w.turns
		if err != nil {
			w.fail(err)
			return
		}
		w.done(m)
		<-w.window
	}
}

func (w *workers) next(key string) (Message, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := w.waiting[key]
	if len(behind) == 0 {
		delete(w.waiting, key)
		return Message{}, false
	}
	w.waiting[key] = behind[1:]
	return behind[0], true
}

// guarded runs the handler. A panic is kept for the goroutine that runs the subscription.
func (w *workers) guarded(ctx context.Context, m Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.panicked {
				w.panicked, w.value = true, p
			}
			err = errPanicked
		}
	}()
	return w.handle(ctx, m)
}

var errPanicked = errors.New("a handler has panicked")

func (w *workers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.stop()
}
