package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// running is a consumer at work, in this process or in its own.
type running struct {
	up     <-chan struct{} // it is ready
	over   chan struct{}   // it has ended, and all its reports are taken
	err    error           // why; set before over
	end    func()          // asks it to end
	kill   func()          // nil in this process
	pid    int             // 0 in this process
	wanted atomic.Bool     // that it ends
}

func newRunning(w *witness) *running { return &running{up: w.up, over: make(chan struct{})} }

// startHere starts a consumer in this process.
func startHere(consume consumeFunc, c *consumer, w *witness) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := newRunning(w)
	r.end = cancel
	go func() {
		defer close(r.over)
		r.err = consume(c, ctx, w)
	}()
	return r
}

// consumeFunc is (*consumer).consume.
type consumeFunc func(*consumer, context.Context, reporter) error

// stop has it end, and waits for that.
func (r *running) stop() error {
	r.wanted.Store(true)
	r.end()
	<-r.over
	return r.err
}

// die kills it, waits until all that it reported is taken, and returns the time
// of its death.
func (r *running) die() (time.Time, error) {
	select {
	case <-r.over:
		return time.Time{}, r.ended()
	default:
	}
	r.wanted.Store(true)
	at := time.Now()
	r.kill()
	<-r.over
	return at, nil
}

// ended is the error of a consumer that nobody has asked to end.
func (r *running) ended() error {
	if r.err == nil {
		return errors.New("the consumer has ended")
	}
	return fmt.Errorf("the consumer has ended: %w", r.err)
}

// witness enters what one life of a consumer reports.
type witness struct {
	tally *tally
	life  int
	up    chan struct{}
	log   *lines
}

func newWitness(t *tally, life int, log *lines) *witness {
	return &witness{tally: t, life: life, up: make(chan struct{}), log: log}
}

func (w *witness) ready()           { close(w.up) }
func (w *witness) begun(n int)      { w.tally.begun(n) }
func (w *witness) handled(n int)    { w.tally.handled(w.life, n, time.Now()) }
func (w *witness) note(text string) { w.log.say("consumer: %s", text) }

// lines is a writer that several can use.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *lines) say(format string, args ...any) { fmt.Fprintf(l, "# "+format+"\n", args...) }
