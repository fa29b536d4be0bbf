package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/php"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Change is a user who has come or gone.
type Change struct {
	UserID int64
	Presence
}

const (
	// maxWatched is how many users one WatchPresence watches.
	maxWatched = 1000
	// watchEvery is how often all users are asked for, whatever has been told,
	// and afterPing how long after a ping of the server: around it the server
	// may drop what it has to tell.
	watchEvery = 5 * time.Minute
	afterPing  = time.Second
	// longestWait is the longest pause before connecting again.
	longestWait = 30 * time.Second
	// subscribing is how many users are subscribed to at a time.
	subscribing = 16
)

// WatchPresence yields who comes and who goes. It begins with each of the
// users, as he is then, and goes on with changes: it subscribes to them over a
// connection of its own and asks for all after that, so that nothing between is
// missed, and does the same after each reconnect, after each ping of the server
// and every five minutes. A user who comes and goes while the connection is
// down may not be told of. The publisher's own user is online while it watches.
//
// It ends when the loop is left; silently after [Publisher.Close]; and after
// yielding one error, with a zero Change: the context's when it is done, or one
// that trying again cannot help. It is for push servers from version 5 on;
// below, the error is [ErrUnavailable].
func (p *Publisher) WatchPresence(ctx context.Context, users ...int64) iter.Seq2[Change, error] {
	users = unique(users, func(u int64) int64 { return u })
	return func(yield func(Change, error) bool) {
		w := &watcher{p: p, users: users, online: make(map[int64]bool), yield: yield}
		err := w.check()
		if err == nil {
			bound, cancel := p.bound(ctx)
			err = w.run(bound)
			cancel()
		}
		switch {
		case w.left || p.life.Err() != nil:
		case ctx.Err() != nil:
			yield(Change{}, ctx.Err())
		default:
			yield(Change{}, err)
		}
	}
}

// A watcher is one loop over WatchPresence.
type watcher struct {
	p      *Publisher
	users  []int64
	online map[int64]bool // as it has been told
	begun  bool           // something has been told of each
	yield  func(Change, error) bool
	left   bool // the loop
}

func (w *watcher) check() error {
	if len(w.users) == 0 || len(w.users) > maxWatched {
		return fmt.Errorf("publish: WatchPresence: %d users; want 1 to %d", len(w.users), maxWatched)
	}
	for _, u := range w.users {
		if u <= 0 {
			return fmt.Errorf("publish: WatchPresence: user %d: want a positive id", u)
		}
	}
	return nil
}

// run connects, again and again.
func (w *watcher) run(ctx context.Context) error {
	at := &address{p: w.p}
	for wait := firstPause; ; wait = min(2*wait, longestWait) {
		began := time.Now()
		err := w.connect(ctx, at)
		if w.left || ctx.Err() != nil || at.ends(err) || errors.Is(err, errCannotWatch) {
			return err
		}
		if time.Since(began) > longestWait {
			wait = firstPause
		}
		if !sleep.For(ctx, wait+rand.N(wait/5+1)) {
			return ctx.Err()
		}
	}
}

// connect watches over one connection, until it ends.
func (w *watcher) connect(ctx context.Context, at *address) error {
	a, err := w.p.accounts.get(ctx)
	if err == nil && a.dialect != wire.DialectRPC {
		err = fmt.Errorf("%w: presence is told from version 5 on; ask with Online", ErrUnavailable)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := &statusEvents{wake: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	s, err := at.open(ctx, events.refresh)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	began := w.p.begin(func() {
		defer close(over)
		err := s.serve(events.take)
		at.note(err)
		cancel(fmt.Errorf("%w: %w", errGone, err))
	})
	if !began {
		s.conn.Close(transport.CloseNormal)
		return ErrClosed
	}
	defer func() {
		cancel(nil)
		<-over
	}()
	err = w.watch(ctx, s, events)
	if gone := context.Cause(ctx); errors.Is(gone, errGone) {
		return gone
	}
	return err
}

var (
	errGone        = errors.New("the connection is gone")
	errCannotWatch = errors.New("publish: the push server does not tell of presence")
)

// watch subscribes, asks for all, and goes on with what is told.
func (w *watcher) watch(ctx context.Context, s *connection, events *statusEvents) error {
	if err := w.subscribe(ctx, s); err != nil {
		return err
	}
	all := time.NewTicker(watchEvery)
	defer all.Stop()
	if err := w.snapshot(ctx, s); err != nil || w.left {
		return err
	}
	for {
		for _, e := range events.list() {
			if !w.tell(e.user, Presence{Online: e.online, LastSeen: e.seen()}) {
				return nil
			}
		}
		var err error
		select {
		case <-events.wake:
		case <-events.again:
			if sleep.For(ctx, afterPing) {
				err = w.snapshot(ctx, s)
			}
		case <-all.C:
			err = w.snapshot(ctx, s)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil || w.left {
			return err
		}
	}
}

// subscribe has the server tell of all users.
func (w *watcher) subscribe(ctx context.Context, s *connection) error {
	var tasks sync.WaitGroup
	next := make(chan int64)
	failed := make(chan error, subscribing)
	for range min(subscribing, len(w.users)) {
		tasks.Go(func() {
			var err error
			for u := range next {
				if err == nil {
					_, err = s.line.Call(ctx, "subscribeStatusChange", map[string]any{"userId": u})
				}
			}
			failed <- err
		})
	}
	for _, u := range w.users {
		next <- u
	}
	close(next)
	tasks.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return cannot(callError(ctx, err))
		}
	}
	return nil
}

// cannot marks a refusal of the server that is for good.
func cannot(err error) error {
	const noMethod, noParams = -32601, -32602
	if code := rpcCode(err); code == noMethod || code == noParams {
		return fmt.Errorf("%w: %w", errCannotWatch, err)
	}
	return err
}

// snapshot asks for all users, and tells of those who are not as they were.
func (w *watcher) snapshot(ctx context.Context, s *connection) error {
	seen, err := w.p.seen(ctx, w.users, func(ctx context.Context, method string, params any) (json.RawMessage, error) {
		result, err := s.line.Call(ctx, method, params)
		return result, callError(ctx, err)
	})
	if err != nil {
		return cannot(err)
	}
	for _, u := range w.users {
		if !w.tell(u, seen[u]) {
			return nil
		}
	}
	w.begun = true
	return nil
}

// tell yields a change, if it is one. It reports false when the loop is left.
func (w *watcher) tell(user int64, is Presence) bool {
	was, told := w.online[user]
	if told && was == is.Online || !told && w.begun {
		return true // or it is nobody who is watched
	}
	w.online[user] = is.Online
	w.left = !w.yield(Change{user, is}, nil)
	return !w.left
}

// statusEvents are changes that the server has told, until they are taken.
type statusEvents struct {
	wake  chan struct{} // there are some
	again chan struct{} // all users are to be asked for

	mu     sync.Mutex
	events []statusEvent
}

// A statusEvent is a change.
type statusEvent struct {
	user   int64
	online bool
	at     time.Time
}

// seen is when the user was last seen.
func (e statusEvent) seen() time.Time {
	if e.online {
		return time.Time{}
	}
	return e.at
}

// maxEvents is how many wait to be taken. With more all users are asked for.
const maxEvents = 4096

// take takes a message, if it is one of the server's about presence.
func (q *statusEvents) take(r wire.Record) {
	if r.Sender.Type == wire.SenderClient || r.Module != "online" || !strings.EqualFold(r.Command, "userStatusChange") {
		return
	}
	var change struct {
		UserID php.Int  `json:"user_id"`
		Online php.Bool `json:"online"`
	}
	if json.Unmarshal(r.Params, &change) != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) >= maxEvents {
		q.events = nil
		notify(q.again)
	}
	q.events = append(q.events, statusEvent{int64(change.UserID), bool(change.Online), time.Now()})
	notify(q.wake)
}

// refresh has all users be asked for.
func (q *statusEvents) refresh() { notify(q.again) }

// list takes those that wait.
func (q *statusEvents) list() []statusEvent {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
