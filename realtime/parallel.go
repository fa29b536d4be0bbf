package realtime

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/b24pull/b24pull/internal/fifo"
)

// messagesPerWorker is how many messages the window has room for, for each
// handler that can run.
const messagesPerWorker = 16

// workers run a handler for several messages at a time. Those with the same key
// are handled in order, one after the other.
type workers struct {
	handle func(context.Context, Message) error
	key    func(Message) string
	stop   context.CancelFunc

	running sync.WaitGroup
	turns   chan struct{} // one for each handler that may run
	window  chan struct{} // one for each message from the oldest that is not handled to the newest that was taken

	mu      sync.Mutex
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
	n int
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
		turns:   make(chan struct{}, n),
		window:  make(chan struct{}, n*messagesPerWorker),
		done:    make([]bool, n*messagesPerWorker),
		waiting: make(map[string]*fifo.Queue[job]),
	}
	defer w.running.Wait() // also where the key function panics
	defer stop()
	err := w.take(handling, s)
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

// dispatch begins with a message, or puts it behind those of its key.
func (w *workers) dispatch(ctx context.Context, key string, m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := job{m, w.taken}
	w.taken++
	if behind, busy := w.waiting[key]; busy {
		behind.Push(j)
		return
	}
	w.waiting[key] = new(fifo.Queue[job])
	w.running.Go(func() { w.work(ctx, key, j) })
}

// work handles the messages of a key until there is none left.
func (w *workers) work(ctx context.Context, key string, j job) {
	for more := true; more && w.handled(ctx, j.Message); j, more = w.next(key) {
		j.acks.Returned(j.receipt)
		w.finish(j.n)
	}
}

func (w *workers) next(key string) (job, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j, more := w.waiting[key].Pop()
	if !more {
		delete(w.waiting, key)
	}
	return j, more
}

// finish gives room in the window to as many messages as are done without one
// before them that is not.
func (w *workers) finish(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := len(w.done)
	for w.done[n%size] = true; w.done[w.oldest%size]; w.oldest++ {
		w.done[w.oldest%size] = false
		<-w.window
	}
}

// handled runs the handler when it is its turn, and reports whether the message
// is handled. Whatever else happens ends the run, before another one gets the
// turn.
func (w *workers) handled(ctx context.Context, m Message) bool {
	select {
	case w.turns <- struct{}{}:
		defer func() { <-w.turns }()
	case <-ctx.Done():
	}
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
