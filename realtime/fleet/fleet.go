package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/shared"
)

var (
	// ErrKeyExists is the error of Add for a key that is there.
	ErrKeyExists = errors.New("fleet: the key is there already; Remove it first, or Restart it")

	// ErrNoKey is the error of Remove and Restart for a key that is not there.
	ErrNoKey = errors.New("fleet: there is no such key")

	// ErrShutdown is the error of Add after Shutdown.
	ErrShutdown = errors.New("fleet: it has been shut down")
)

// A Fleet runs the subscriptions of many portals, each under a key. It is made
// by [New]. All its methods can be called from any goroutine, also from a
// handler and the observer; those that wait say what then.
type Fleet struct {
	opts   options
	shared *shared.Resources

	mu      sync.Mutex
	members map[string]*member // the last one of a key
	closed  bool
	past    realtime.Stats // of members that are gone
	left    leftCursors
}

// New makes a fleet without keys. It does no I/O.
func New(opts ...Option) (*Fleet, error) {
	f, err := newFleet(opts)
	if err != nil {
		return nil, err
	}
	if given := f.opts.application.given; given != "" {
		return nil, fmt.Errorf("fleet: New: %s is for NewApplication", given)
	}
	return f, nil
}

func newFleet(opts []Option) (*Fleet, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	return &Fleet{opts: o, shared: shared.New(o.requests, o.bytes, queueShare), members: make(map[string]*member)}, nil
}

// Format counts the keys, whatever the verb: a fleet holds secrets that fmt
// would find.
func (f *Fleet) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "fleet.Fleet(%d keys)", len(f.Keys())) }

// Add has the portal that source gives the config of listened to, under a key,
// until Remove or Shutdown. It checks what it is given and does no I/O: errors
// are those of [realtime.Subscribe], ErrKeyExists and ErrShutdown. What goes
// wrong later is told by the observer, and met as the restart policy says. If
// the key is just being removed, the new subscription begins when the old one
// has ended.
//
// The handler gets the messages of all subscriptions of the key. It and opts
// are as with [realtime.Subscription.Run] and [realtime.Subscribe]; an option
// that gives a cursor or its store is refused, see [WithSubscription]. An
// observer in opts is called beside the fleet's; a logger takes the place of the
// fleet's.
func (f *Fleet) Add(key string, source realtime.ConfigSource, handler realtime.Handler, opts ...realtime.Option) error {
	switch {
	case key == "":
		return errors.New("fleet: Add: the key is empty")
	case handler == nil:
		return errors.New("fleet: Add: the handler is nil")
	}
	run := &added{source: source, handler: handler, opts: slices.Clone(opts)}
	all := append(slices.Clone(f.opts.each), run.opts...)
	if _, err := realtime.Subscribe(source, all...); err != nil {
		return fmt.Errorf("fleet: Add: %w", err)
	}
	if len(run.opts) > 0 { // those of WithSubscription have been looked at
		if err := refuseCursors(source, all); err != nil {
			return fmt.Errorf("fleet: Add: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[key]; m != nil && !m.ending && !f.closed {
		return ErrKeyExists
	}
	return f.start(key, run)
}

// start begins a member. mu is held.
func (f *Fleet) start(key string, r runner) error {
	if f.closed {
		return ErrShutdown
	}
	m := &member{fleet: f, key: key, runner: r, done: make(chan struct{}), woken: make(chan struct{}, 1), log: f.opts.logger.With("key", key)}
	m.ctx, m.cancel = context.WithCancel(context.WithValue(context.Background(), within{m}, true))
	m.life, m.end = context.WithCancel(m.ctx)
	m.status.State = StateQueued
	m.before = f.members[key]
	m.cursor = &cursor{last: f.left.take(key)}
	f.members[key] = m
	go m.loop()
	return nil
}

// Remove ends the subscription of a key and forgets the key. It waits until
// what has come is handled and the cursor is saved; the cursor stays in its
// store of [WithCursors]. Without WithCursors it is forgotten with the key, and
// one that is added again begins at now: what comes in between is lost. When
// ctx ends before, what is left is not handled, and the error is ctx's, with a
// [*realtime.DrainError]; the subscription ends then as soon as its handler
// returns. So it is with one that was removed before and has not ended yet. An
// error of the run, as of its last save, is returned as well. It is ErrNoKey if
// there is no such key.
//
// Called by what the key's end waits for, like its own handler, the observer
// or [WithReady]'s function, Remove begins all that and returns nil at once, and
// ctx bounds nothing. It knows them by their goroutine, and by the context that
// they were given, or one made of it, for as long as the key is there, whoever
// has it: to wait, give another. Remove of another key waits, so two handlers
// that remove each other's key wait until their ctx ends.
func (f *Fleet) Remove(ctx context.Context, key string) error {
	f.mu.Lock()
	m := f.members[key]
	f.mu.Unlock()
	if m == nil {
		return ErrNoKey
	}
	return m.remove(ctx)
}

// remove ends a member and waits for that, unless one of its own calls.
func (m *member) remove(ctx context.Context) error {
	f, goroutine := m.fleet, shared.Goroutine()
	f.mu.Lock()
	if m.waitsFor(ctx, goroutine) {
		m.beginEndBeside()
		f.mu.Unlock()
		return nil
	}
	all, sub, _ := m.beginEnd()
	f.mu.Unlock()
	var err error
	if sub != nil {
		err = sub.Drain(ctx)
	}
	if ctx.Err() == nil {
		select {
		case <-m.done:
			return m.named(err)
		case <-ctx.Done():
		}
	}
	if !m.isGone() {
		for _, one := range all {
			one.cancel()
		}
		err = cmp.Or(err, ctx.Err())
	}
	return m.named(err)
}

// beginEnd has a member end, and those before it under its key that have not
// ended yet: all of them. Of these one subscription runs at the most, sub, of
// which first is true if nobody has ended it before. The fleet's mu is held.
func (m *member) beginEnd() (all []*member, sub *realtime.Subscription, first bool) {
	for one := m; one != nil; one = one.before {
		if one.sub != nil {
			sub, first = one.sub, !one.ending
		}
		one.ending = true
		one.end()
		all = append(all, one)
	}
	return all, sub, first
}

// beginEndBeside does that for one of its own, whom its end waits for. The
// fleet's mu is held.
func (m *member) beginEndBeside() {
	if _, sub, first := m.beginEnd(); first {
		go sub.Drain(context.Background())
	}
}

// within is the key by which the contexts of a member are known: a handler's,
// and that of [WithReady]'s function.
type within struct{ *member }

// waitsFor reports whether the end of a member, or of those before it under its
// key, waits for the one who calls with ctx in a goroutine. The fleet's mu is
// held.
func (m *member) waitsFor(ctx context.Context, goroutine uint64) bool {
	for ; m != nil; m = m.before {
		if ctx.Value(within{m}) != nil || m.waits.Has(goroutine) {
			return true
		}
	}
	return false
}

// named is an error with the key in it; nil if the run had come to its own end
// before.
func (m *member) named(err error) error {
	if err == nil || b24pull.EndingOf(err) == b24pull.EndsRun {
		return nil
	}
	return fmt.Errorf("fleet: %s: %w", quote.Name(m.key), err)
}

// Restart begins the subscription of a key again, at once, if it has ended and
// waits; a subscription that runs goes on. It does not wait. It is ErrNoKey if
// there is no such key.
func (f *Fleet) Restart(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[key]
	if m == nil {
		return ErrNoKey
	}
	m.wake()
	return nil
}

// Keys returns the keys, those that are being removed included, in the order of
// their bytes.
func (f *Fleet) Keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := make([]string, 0, len(f.members))
	for key := range f.members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Subscription returns the subscription of a key that runs now, nil if none
// does. Another one takes its place when it ends. One that you close, or drain,
// has ended with [realtime.ErrClosed], of which the restart policy is asked; to
// end it for good use Remove. What its key waits for, as [WithReady]'s function,
// counts as its own: Drain does not wait then.
func (f *Fleet) Subscription(key string) *realtime.Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[key]; m != nil {
		return m.sub
	}
	return nil
}

// Shutdown removes all keys, at once and within one deadline: each subscription
// takes in no more, what has come is handled, and the cursors are saved. Nothing
// can be added any more. When ctx ends before, what is left is not handled, and
// the error is a *ShutdownError; the subscriptions end then as soon as their
// handlers return. Shutdown can be called again to wait for that; what was not
// handled it tells again.
//
// Called by what the end of any key waits for, as a handler or the observer,
// Shutdown begins all that and returns nil at once, and ctx bounds nothing, as
// with [Fleet.Remove], which says how they are known: whoever is to wait calls it
// from elsewhere, with a context of its own.
func (f *Fleet) Shutdown(ctx context.Context) error {
	goroutine := shared.Goroutine()
	f.mu.Lock()
	f.closed = true
	all := slices.Collect(maps.Values(f.members))
	if slices.ContainsFunc(all, func(m *member) bool { return m.waitsFor(ctx, goroutine) }) {
		for _, m := range all { // whoever calls is to return before its own key can end
			m.beginEndBeside()
		}
		f.mu.Unlock()
		return nil
	}
	f.mu.Unlock()
	var ending sync.WaitGroup
	errs := make([]error, len(all))
	for i, m := range all {
		ending.Go(func() { errs[i] = m.remove(ctx) })
	}
	ending.Wait()
	failed := &ShutdownError{}
	for i, m := range all {
		if errs[i] == nil {
			continue
		}
		failed.Keys, failed.Err = append(failed.Keys, m.key), cmp.Or(failed.Err, errs[i])
		var left *realtime.DrainError
		if errors.As(errs[i], &left) {
			failed.Unhandled += left.Unhandled
		}
	}
	if len(failed.Keys) == 0 {
		return nil
	}
	slices.Sort(failed.Keys)
	return failed
}

// A ShutdownError says that of some keys not all was handled, or that something
// failed at their end.
type ShutdownError struct {
	Keys      []string // in the order of their bytes
	Unhandled int      // messages that were received and not handled
	Err       error    // of one of the keys; the context's, by errors.Is, if that has ended
}

// Error names the first of the keys.
func (e *ShutdownError) Error() string {
	if n := len(e.Keys) - 1; n > 0 {
		return fmt.Sprintf("%v; and so it is with %d more keys; unhandled messages of all: %d", e.Err, n, e.Unhandled)
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *ShutdownError) Unwrap() error { return e.Err }
