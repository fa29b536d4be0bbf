package publish

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// idleLife is how long the publisher's own connection is kept when nothing is
// called.
const idleLife = 30 * time.Second

// A connector is how calls of version 5 are made without a subscription: over a
// connection that is opened when there is a call, and closed when there has
// been none for a while.
type connector struct {
	p     *Publisher
	calls rpc.Caller

	mu      sync.Mutex
	busy    int       // calls under way
	last    time.Time // when the last one ended
	running bool
}

// call makes a call. It waits for a connection for as long as one may come.
func (l *connector) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	if !l.enter() {
		return nil, ErrClosed
	}
	defer l.leave()
	return l.calls.Call(ctx, method, params)
}

func (l *connector) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		l.calls.Use(nil)
		if !l.p.begin(l.run) {
			return false
		}
		l.running = true
	}
	l.busy++
	return true
}

func (l *connector) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	l.last = time.Now()
}

// rest reports whether nothing has been called for some time; then the connector
// stops, and the next call begins it anew.
func (l *connector) rest(longer time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy > 0 || time.Since(l.last) < longer {
		return false
	}
	l.running = false
	l.calls.Use(nil)
	return true
}

// fail ends the calls that wait for a connection.
func (l *connector) fail(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = false
	l.calls.Lack(why, 0)
}

// maxDrops is how many connections may come about and break off, one after the
// other, before those who wait for one are told.
const maxDrops = 20

// run connects, again and again, until nothing is called any more.
func (l *connector) run() {
	at := &address{p: l.p}
	failures, drops := 0, 0
	for {
		began := time.Now()
		opened, rested, err := l.connect(at)
		switch {
		case rested || l.rest(0):
			return
		case !opened:
			failures++
		case time.Since(began) > deafAfter:
			failures, drops = 0, 0
		default:
			failures, drops = 0, drops+1
		}
		if l.p.life.Err() != nil {
			err = ErrClosed
		}
		wait := firstPause << max(failures-1, 0)
		if failures >= maxTries || drops >= maxDrops || at.ends(err) || !sleep.For(l.p.life, wait) {
			l.fail(l.p.closedOr(err))
			return
		}
	}
}

// connect makes calls over one connection, until it ends. opened reports whether
// it has come about, and rested whether the connector has ended it, since nothing was
// called.
func (l *connector) connect(at *address) (opened, rested bool, err error) {
	ctx, cancel := context.WithCancel(l.p.life)
	defer cancel()
	s, err := at.open(ctx, nil)
	if err != nil {
		return false, false, err
	}
	l.calls.Use(s.line)
	over := make(chan struct{})
	var tasks sync.WaitGroup
	tasks.Go(func() {
		ticker := time.NewTicker(idleLife / 2)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
			}
			if l.rest(idleLife) {
				rested = true
				cancel()
				return
			}
		}
	})
	err = s.serve(func(wire.Record) {})
	close(over)
	tasks.Wait()
	if !rested {
		l.calls.Use(nil)
	}
	at.note(err)
	return true, rested, err
}

// An address is where connections of one's own lead: to the push server of the
// account, or of another one when that was refused.
type address struct {
	p       *Publisher
	now     *account
	refused bool
}

// open connects to it.
func (t *address) open(ctx context.Context, pinged func()) (*connection, error) {
	a, err := t.p.accounts.get(ctx)
	if t.refused && a == t.now && err == nil && t.p.accounts.mayRenew(a) {
		a, err = t.p.accounts.other(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	t.now, t.refused = a, false
	s, err := t.p.open(ctx, a, pinged)
	t.note(err)
	return s, err
}

// note looks at why a connection has ended, or has not come about.
func (t *address) note(err error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		t.refused = refused.Status == http.StatusBadRequest
	}
	if outdatedClose(err) {
		t.refused = true
	}
}

// ends reports whether connecting again cannot help.
func (t *address) ends(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed) || b24pull.EndingOf(err) != b24pull.EndsNothing ||
		errors.Is(err, b24pull.ErrInvalidConfig) || errors.Is(err, realtime.ErrConfigExpired)
}
