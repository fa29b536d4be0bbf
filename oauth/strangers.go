package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/sleep"
)

// Anybody can send callbacks, for every member_id. Those that need the
// authorization server are bounded, in this process and for each key.
const (
	// maxAsking ask the authorization server at once, and as many whose
	// callbacks bring the application_token. Each of them holds a lock of the
	// store, and wants another then: TokenStore.Lock tells how many there are.
	maxAsking = 4
	// maxWaiting wait for that, each for another portal.
	maxWaiting = 64
	// maxCallers wait for the one who is asked about a portal.
	maxCallers = 16
	// admitTimeout is how long they wait.
	admitTimeout = 30 * time.Second
	// askedAtOnce is about how many of them the authorization server is asked
	// without a distance, by a process; then askDistance lies between two.
	askedAtOnce = 60
	askDistance = time.Second
	// maxToken is more than a token has bytes.
	maxToken = 4096
)

// ErrBusy is the error of a callback that was not looked at, since too many
// others are being confirmed. Nothing of it is spent: answer with 503, and
// handle it again if it comes again.
var ErrBusy = errors.New("b24pull: too many callbacks are being confirmed at once; handle the callback again later")

// The ranks of callers: those who bring the application_token do not wait for
// those who do not.
const (
	strangers = "strangers "
	portals   = "portals "
)

// deciding reports whether somebody is admitted for a key in this process, or
// waits for it.
func (ts *Tokens) deciding(key string) bool {
	return ts.callers.busy(strangers+key) || ts.callers.busy(portals+key)
}

// admit waits until a callback may be decided that needs the authorization
// server. Others for the key are decided before or after that, by all
// processes: an application that is uninstalled while its installation is
// confirmed would come back else. (It can where the application itself has put
// a token of the portal meanwhile: see lockCallbacks.) So there are two locks
// for each key, this one and that of its token, which is not held for as long.
// Who holds the latter never waits for the former.
func (ts *Tokens) admit(ctx context.Context, key string, proven bool) (leave func(), err error) {
	waiting, cancel := context.WithTimeoutCause(ctx, admitTimeout, ErrBusy)
	defer cancel()
	var taken []func()
	leaveAll := func() {
		for _, leave := range taken {
			defer leave() // the last one first
		}
	}
	defer func() {
		if leave == nil {
			leaveAll() // also if the store panics
		}
	}()
	rank := strangers
	if proven {
		rank = portals
	}
	for _, enter := range []func() (func(), error){
		func() (func(), error) { return ts.callers.enter(waiting, rank+key) },
		func() (func(), error) { return ts.asking.enter(waiting, rank) },
		func() (func(), error) { return func() {}, ts.keepDistance(waiting, rank) },
		func() (func(), error) { return ts.lockCallbacks(waiting, key) },
	} {
		next, err := enter()
		if err != nil {
			if waiting.Err() != nil && ctx.Err() == nil {
				err = ErrBusy
			}
			return nil, err
		}
		taken = append(taken, next)
	}
	return leaveAll, nil
}

// lockCallbacks locks what admits one callback of a key at a time, in all
// processes. Which lock that is depends on the store, so that is looked at
// again when it is held. Whoever holds the other one lets go of it then, as
// long as nothing is stored or deleted. What the holder stores or deletes is
// the last thing that he decides, but for a first token that could not be
// stored at once. What others do meanwhile, as with Put, they do under the lock
// of the token, as he does: nothing is torn, and he looks at it anew.
func (ts *Tokens) lockCallbacks(ctx context.Context, key string) (unlock func(), err error) {
	e := ts.acquire(key)
	defer ts.release(e)
	lock, err := e.callbacksLock(ctx)
	for err == nil {
		turn, failed := ts.lock(ctx, lock)
		if failed != nil {
			return nil, failed
		}
		held, right := lock, false
		func() {
			defer func() {
				if !right {
					turn.Unlock() // also if the store panics
				}
			}()
			lock, err = e.callbacksLock(ctx)
			right = err == nil && lock == held
		}()
		if right {
			return turn.Unlock, nil
		}
	}
	return nil, err
}

// callbacksLock is a lock of its own for a portal whose token is stored, so
// that it does not wait for strangers. Those who may be no portal at all share
// 256, by a hash of the key: that bounds the locks that they can have made.
// A store that fails says neither.
func (e *keyState) callbacksLock(ctx context.Context) (string, error) {
	switch _, err := e.stored(ctx); {
	case err == nil:
		return e.key + "+", nil
	case errors.Is(err, b24pull.ErrNoToken):
		return sharedLock(e.key), nil
	default:
		return "", err
	}
}

func sharedLock(key string) string {
	return fmt.Sprintf("callbacks+%02x", sha256.Sum256([]byte(key))[0])
}

// distance is what strangers keep from each other at the authorization server.
type distance struct {
	mu   sync.Mutex
	pace pace.Pace
}

// passes notes that somebody is asked about, or returns when he can be.
func (d *distance) passes(now time.Time) (later time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.pace.Next(); at.After(now) {
		return at
	}
	d.pace.Note(now)
	return time.Time{}
}

// keepDistance waits until a stranger's callback may be asked about, in turn.
func (ts *Tokens) keepDistance(ctx context.Context, rank string) error {
	if rank != strangers {
		return nil
	}
	leave, err := ts.spacing.enter(ctx, rank)
	if err != nil {
		return err
	}
	defer leave()
	for {
		at := ts.apart.passes(time.Now())
		if at.IsZero() {
			return nil
		}
		if !sleep.For(ctx, time.Until(at)) {
			return context.Cause(ctx)
		}
	}
}

// checkToken refuses what cannot be a token where one is needed.
func (c *Callback) checkToken() error {
	switch {
	case c.Event != "" && !c.Installed():
		return nil
	case c.Token == nil:
		return badCallback("b24pull: callback: " + quote.Name(cmp.Or(c.Event, "the form")) + " brings no token")
	case len(c.Token.AccessToken) > maxToken || len(c.Token.RefreshToken) > maxToken:
		return badCallback(fmt.Sprintf("b24pull: callback: its token is longer than the %d bytes that any has", maxToken))
	}
	refresh := addr.Trim(c.Token.RefreshToken)
	if refresh == "" {
		return fmt.Errorf("%w%w", badCallback("b24pull: callback: "), errNoRefreshToken)
	}
	if strings.ContainsFunc(refresh, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return badCallback("b24pull: callback: its refresh token has characters that none has")
	}
	return nil
}
