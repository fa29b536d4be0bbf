package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/shared"
)

// A runner is what a key stands for.
type runner interface {
	// open makes what a run needs, anew for each run, of m.ctx. ctx ends when
	// the member is to end.
	open(ctx context.Context, m *member) (*job, error)
	// ended is told how a run has ended, and reports whether the key is to be
	// forgotten, with its cursor.
	ended(m *member, err error) (leaves bool)
	// gone reports whether there is nothing any more that the key stands for. It
	// is asked when the member ends, which has forgotten nothing yet.
	gone(m *member) bool
	// changed reports whether a run would find something else than the last one
	// has.
	changed(m *member) bool
}

// A job is what a run needs.
type job struct {
	source  realtime.ConfigSource
	handler realtime.Handler
	opts    []realtime.Option
	history bool                  // it begins with all that is kept: nothing is missed as soon as it is connected
	ctx     context.Context       // of the run; its cause says why it ended
	cancel  context.CancelFunc    // of ctx
	ready   func(context.Context) // called beside the run when it is ready; may be nil
	over    func()                // called when the run and ready have ended; may be nil
}

// added is what Add was given.
type added struct {
	source  realtime.ConfigSource
	handler realtime.Handler
	opts    []realtime.Option
}

func (a *added) open(_ context.Context, m *member) (*job, error) {
	ctx, cancel := context.WithCancel(m.ctx)
	return &job{source: a.source, handler: a.handler, opts: a.opts, ctx: ctx, cancel: cancel}, nil
}

func (a *added) ended(*member, error) bool { return false }

func (a *added) gone(*member) bool { return false }

func (a *added) changed(*member) bool { return false }

// A member is a key and the goroutine that runs its subscriptions, one after
// the other.
type member struct {
	fleet  *Fleet
	key    string
	runner runner
	cursor *cursor

	waits  shared.Goroutines // that its end waits for: they must not wait for it
	ctx    context.Context   // of handlers: ends when nothing is waited for any more
	cancel context.CancelFunc
	life   context.Context // ends when the member is to end, be it later
	end    context.CancelFunc
	done   chan struct{} // closed when nothing of the member runs any more
	woken  chan struct{} // has one place

	// Guarded by the fleet's mu:
	log     *slog.Logger // only the goroutine changes it
	before  *member      // under the key, until it has ended; may be nil
	ending  bool
	touched bool      // by a callback since the present run has begun
	opened  string    // the token that the present run, or the last, began with
	since   time.Time // when the rest after a run has begun
	address string    // of a portal that has installed the application
	sub     *realtime.Subscription
	status  Status
	past    realtime.Stats // of the runs before
}

// loop runs subscriptions until the member is to end.
func (m *member) loop() {
	defer m.waits.Leave(m.waits.Enter())
	var ended error
	left := false
	defer func() {
		if !left && ended != errGoexit {
			ended = m.dropCursor(ended)
		}
		m.finish(ended)
	}()
	m.waitBefore()
	if err := safely(func() error { m.cursor.CursorStore = m.fleet.opts.store(m.key); return nil }); err != nil {
		m.cursor.CursorStore = brokenStore{err}
	}
	for failures := 0; m.begin(); {
		began := time.Now()
		ended = errGoexit
		ended = safely(m.run)
		if ended == nil && m.life.Err() == nil {
			ended = realtime.ErrClosed // by somebody else
		}
		m.over(ended)
		if time.Since(began) >= lasted {
			failures = 0
		}
		if m.life.Err() != nil {
			if ended != nil {
				m.say(func(l *slog.Logger) {
					l.Warn("the subscription was removed, and has ended with an error", "err", ended)
				})
			}
			return
		}
		switch leaves := m.runner.ended(m, ended); {
		case leaves && m.leave():
			left = true
			return
		case leaves: // a callback has come meanwhile
		case errors.Is(ended, realtime.ErrCursorMismatch) && m.cursor.drop():
			m.tell(Event{Kind: KindCursorDropped, Err: ended})
		default:
			failures++
			m.rest(ended, m.policy(ended, failures))
		}
	}
}

// waitBefore waits for the end of the one before it under the key.
func (m *member) waitBefore() {
	m.fleet.mu.Lock()
	before := m.before
	m.fleet.mu.Unlock()
	if before == nil {
		return
	}
	<-before.done
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	m.before = nil
}

// begin notes that a run begins, and reports false if none is to.
func (m *member) begin() bool {
	if m.life.Err() != nil {
		return false
	}
	m.fleet.mu.Lock()
	m.touched = false
	m.status.State, m.status.Err, m.status.Next = StateRunning, nil, time.Time{}
	m.status.Runs++
	m.fleet.mu.Unlock()
	m.tell(Event{Kind: KindBegun})
	return true
}

// run is one run.
func (m *member) run() error {
	var j *job
	var sub *realtime.Subscription
	live := make(chan struct{})
	err := m.apart(func() (err error) {
		if j, err = m.runner.open(m.life, m); err == nil {
			sub, err = m.subscribe(j, sync.OnceFunc(func() { close(live) }))
		}
		return err
	})
	if j != nil {
		defer j.cancel()
	}
	if err != nil {
		return err
	}
	established := sub.Ready()
	if j.history {
		established = live
	}
	m.fleet.mu.Lock()
	m.sub = sub
	ending := m.ending
	m.fleet.mu.Unlock()
	if ending { // whoever has ended it did not see the subscription
		return nil
	}
	beside, stop := context.WithCancel(j.ctx)
	var ready sync.WaitGroup
	defer func() {
		stop()
		ready.Wait()
		if j.over != nil {
			j.over()
		}
	}()
	ready.Go(func() {
		defer m.waits.Leave(m.waits.Enter())
		select {
		case <-established:
		case <-beside.Done():
			return
		}
		m.tell(Event{Kind: KindReady})
		if j.ready != nil {
			j.ready(beside)
		}
	})
	err = sub.Run(j.ctx, j.handler)
	if cause := context.Cause(j.ctx); cause != nil && err != nil && m.life.Err() == nil {
		err = cause
	}
	return err
}

// subscribe makes the subscription of a run. live is called when it is
// connected.
func (m *member) subscribe(j *job, live func()) (*realtime.Subscription, error) {
	common := *m.fleet.shared
	common.Waits = &m.waits
	opts := []realtime.Option{
		shared.Option(&common).(realtime.Option),
		realtime.WithLogger(m.log), realtime.WithCursorStore(m.cursor),
		realtime.WithObserver(func(e realtime.Event) {
			if change, ok := e.(realtime.StateChange); ok && change.To == realtime.StateLive {
				live()
			}
			m.tell(Event{Kind: KindTold, Told: e})
		}),
	}
	if j.history || m.cursor.isDropped() { // a cursor, where there is one, wins
		opts = append(opts, realtime.WithHistory())
	}
	opts = append(append(opts, m.fleet.opts.each...), j.opts...)
	return realtime.Subscribe(j.source, opts...)
}

// over notes that a run has ended.
func (m *member) over(err error) {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	if m.sub != nil {
		stats := m.sub.Stats()
		stats.QueuedMessages, stats.QueuedBytes = 0, 0 // whoever goes on gets them again
		addStats(&m.past, stats)
		m.sub = nil
	}
	m.status.Err = err
}

// policy asks what becomes of the member. One that panics decides nothing.
func (m *member) policy(ended error, failures int) (then Restart) {
	err := safely(func() error { then = m.fleet.opts.restart(m.key, ended, failures); return nil })
	if err != nil {
		m.say(func(l *slog.Logger) { l.Error("the restart policy has panicked", "err", err) })
		return DefaultRestart(ended, failures)
	}
	return then
}

// rest waits until the member is to run again, or to end.
func (m *member) rest(err error, then Restart) {
	f := m.fleet
	f.mu.Lock()
	select { // what has woken it before is done
	case <-m.woken:
	default:
	}
	touched := m.touched
	m.since, m.status.State = time.Now(), StateWaiting // from here on a callback wakes it
	f.mu.Unlock()
	if (touched || b24pull.EndingOf(err) == b24pull.EndsRun) && m.runner.changed(m) {
		then = After(0)
	}
	kind := KindWaiting
	var timer <-chan time.Time
	if then.again {
		kind = KindFailed
		t := time.NewTimer(then.delay)
		defer t.Stop()
		timer = t.C
		f.mu.Lock()
		m.status.State, m.status.Next = StateDelayed, time.Now().Add(then.delay)
		f.mu.Unlock()
	}
	m.tell(Event{Kind: kind, Err: err, Delay: then.delay})
	select {
	case <-timer:
	case <-m.woken:
	case <-m.life.Done():
	}
}

// wake has it rest no longer.
func (m *member) wake() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
}

// errGoexit is the error of a run whose handler has ended the goroutine.
var errGoexit = errors.New("fleet: something has called runtime.Goexit, which ends the subscription and its key")

// leave forgets the key and removes its cursor, and reports false if a callback
// has come meanwhile: then there may be an installation again.
func (m *member) leave() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.life), removeTimeout)
	last, err := m.cursor.remove(ctx)
	cancel()
	if err != nil {
		m.tell(Event{Kind: KindCursorNotRemoved, Err: err})
	}
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.touched && !m.ending {
		return false
	}
	if next := f.members[m.key]; next != m {
		next.cursor.goOn(last)
	} else {
		f.left.keep(m.key, last)
	}
	m.ending = true
	return true
}

// dropCursor removes the cursor of a member that was ended by Remove or Shutdown
// before it could see that what it stands for is gone: nobody else would. It
// returns why the member is gone, nil if it was only removed.
func (m *member) dropCursor(ended error) error {
	if m.life.Err() == nil || m.cursor.CursorStore == nil || !m.runner.gone(m) {
		return nil
	}
	m.leave()
	if b24pull.EndingOf(ended) == b24pull.EndsRun {
		return ended
	}
	return m.noToken(b24pull.ErrNoToken)
}

// noToken is what it means that the store has no token, as err says: if there
// was one, it has been deleted. Only a run's beginning writes opened.
func (m *member) noToken(err error) error {
	if m.opened != "" {
		return b24pull.ErrUninstalled
	}
	return err
}

// removeTimeout bounds what a store is given to remove a cursor.
const removeTimeout = 10 * time.Second

// finish tells that nothing of the member runs any more. err is nil if it was
// removed.
func (m *member) finish(err error) {
	m.over(err)
	m.cancel()
	m.tell(Event{Kind: KindRemoved, Err: err})
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	m.end()
	addStats(&f.past, m.past)
	if f.members[m.key] == m {
		delete(f.members, m.key)
	}
	close(m.done)
}

// tell tells the log and the observer, whose panic is logged.
func (m *member) tell(e Event) {
	m.fleet.mu.Lock()
	e.Key, e.Run = m.key, m.status.Runs
	m.fleet.mu.Unlock()
	if e.Kind != KindTold {
		m.say(e.log)
	}
	if err := safely(func() error { m.fleet.opts.observer(e); return nil }); err != nil {
		m.say(func(l *slog.Logger) { l.Error("the observer has panicked", "at", e.Kind, "err", err) })
	}
}
