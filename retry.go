package b24pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/retryafter"
)

// Class says what an error means for calling again.
type Class int

const (
	// ClassFinal: calling again gives the same.
	ClassFinal Class = iota
	// ClassExpired: refused for the token's age. The call is repeated once with
	// a new token, see TokenRefresher.
	ClassExpired
	// ClassThrottled: refused for too many calls. Any call is repeated after a
	// pause.
	ClassThrottled
	// ClassPaused: refused until a time that the answer tells. Any call is
	// repeated then. Until then the Client sends none of the method, but
	// refuses it with the portal's error.
	ClassPaused
	// ClassNotSent: the portal or the authorization server was not reached. Any
	// call is repeated after a pause.
	ClassNotSent
	// ClassUnavailable: the portal failed, or its answer did not come; the call
	// may have had its effect. Reads are repeated after a pause, others only
	// with Retry.Effects. Where the authorization server failed, any call is
	// repeated, once.
	ClassUnavailable
)

var classNames = [...]string{"final", "expired", "throttled", "paused", "not sent", "unavailable"}

// String is the class in words, like "not sent".
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return classNames[c]
}

// MarshalText gives the text of String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ClassOf returns the class of an error of this package: by its code where that
// is known, else by the HTTP status: 429 is ClassThrottled, 500 and above are
// ClassUnavailable. So it is with a *TokenError, which without both has the
// class of its cause: that of a failure of the network, and ClassUnavailable
// for a *oauth.StoreError. An error of another package that has a method Class
// says it itself. All else is ClassFinal, a caller who cancels too; a deadline
// that passes during a request is a failure of the network.
func ClassOf(err error) Class {
	var token *TokenError
	var refused *APIError
	var broken *netfail.Error
	var vetoed *MoveError
	var own interface {
		error
		Class() Class
	}
	switch {
	case errors.As(err, &vetoed):
		return ClassFinal // whatever the veto's own error is
	case errors.As(err, &token):
		return token.class()
	case errors.As(err, &own):
		return own.Class()
	case errors.As(err, &refused):
		class, _ := answerClass(refused.Code, refused.Status)
		return class
	case errors.As(err, &broken):
		return networkClass(broken)
	}
	return ClassFinal
}

// answerClass is the class of a refusal. It is told unless neither the code nor
// the status is one that means something.
func answerClass(code string, status int) (class Class, told bool) {
	sentinel := codes[strings.ToLower(code)]
	switch {
	case sentinel != nil:
		return sentinel.class, true
	case status >= http.StatusInternalServerError:
		return ClassUnavailable, true
	case status == http.StatusTooManyRequests:
		return ClassThrottled, true
	}
	return ClassFinal, false
}

// classified is implemented by causes of a TokenError that say themselves what
// they mean for calling again, like a *oauth.StoreError.
type classified interface {
	error
	Class() Class
	Repeatable() bool
}

func (e *TokenError) class() Class {
	code := e.Code
	switch {
	case errors.Is(e, ErrAuthorization), e.passes():
		return ClassUnavailable
	case e.standard():
		code = ""
	}
	if class, told := answerClass(code, e.Status); told && class != ClassExpired {
		return class
	}
	var broken *netfail.Error
	var own classified
	switch {
	case errors.As(e.Err, &own):
		return own.Class()
	case errors.As(e.Err, &broken):
		return networkClass(broken)
	}
	return ClassFinal
}

// networkClass is the class of a request that got no answer.
func networkClass(e *netfail.Error) Class {
	switch {
	case errors.Is(e.Err, context.Canceled), netfail.BadCertificate(e.Err), ledInward(e.Err):
		return ClassFinal
	case e.NotSent():
		return ClassNotSent
	}
	return ClassUnavailable
}

// Retry says how calls are repeated. Zero fields have the values named.
type Retry struct {
	// Attempts is how often a call is tried at most; 4. 1 is without
	// repeating.
	Attempts int
	// Min is the first pause, 1 s, or Max if that is less. Each is twice the
	// one before, up to Max, 30 s, or Min if that is more; up to a fifth is
	// added by chance. An answer with the header Retry-After has the pause be
	// at least as long as that says, up to a quarter of an hour, whatever Max
	// is.
	Min, Max time.Duration
	// Effects has calls repeated that may have had their effect: after a broken
	// connection an event may be sent twice.
	Effects bool
}

func (r Retry) withDefaults() (Retry, error) {
	if r.Attempts < 0 || r.Min < 0 || r.Max < 0 {
		return r, fmt.Errorf("b24pull: WithRetry: a negative value: %+v", r)
	}
	if r.Max > 0 && r.Min > r.Max {
		return r, fmt.Errorf("b24pull: WithRetry: Min, %v, is more than Max, %v", r.Min, r.Max)
	}
	if r.Attempts == 0 {
		r.Attempts = 4
	}
	if r.Min == 0 {
		r.Min = time.Second
		if r.Max > 0 {
			r.Min = min(r.Min, r.Max)
		}
	}
	if r.Max == 0 {
		r.Max = max(30*time.Second, r.Min)
	}
	return r, nil
}

// longestPause is more than a portal pauses a method: ten minutes.
const longestPause = retryafter.Max

// attempts are how a call has gone so far.
type attempts struct {
	idempotent bool // calling twice does no harm
	made       int
	refusals   int // HTTP 500 and above of the authorization server
}

// took counts an attempt and its error.
func (c *attempts) took(err error) {
	c.made++
	var token *TokenError
	if errors.As(err, &token) && token.Status >= http.StatusInternalServerError {
		c.refusals++
	}
}

// safe reports whether the call may be repeated after an error that is
// ClassUnavailable. A *TokenError means that the call itself has had no effect;
// what may have had one is the refresh. If it was carried out and its answer is
// lost then the refresh token is dead, and a repeat is refused but loses
// nothing more. If it was not, a repeat saves the call. The second is likely
// where the server, or a gateway, has answered that it failed, once; a repeat
// after that, or after a broken connection, is for a later call. A token that
// was not stored is in memory, so nothing is sent again.
func (c attempts) safe(effects bool, err error) bool {
	var token *TokenError
	var own classified
	switch {
	case !errors.As(err, &token):
		return c.idempotent || effects
	case errors.As(err, &own):
		return own.Repeatable()
	case errors.Is(token, ErrAuthorization):
		return true // it has spent nothing
	}
	return token.Status >= http.StatusInternalServerError && c.refusals == 1
}

// pause reports whether to repeat a call after err, and how long to wait.
func (r Retry) pause(c attempts, err error) (time.Duration, bool) {
	if c.made >= r.Attempts {
		return 0, false
	}
	switch ClassOf(err) {
	case ClassPaused:
		return untilReset(err)
	case ClassThrottled, ClassNotSent:
	case ClassUnavailable:
		if !c.safe(r.Effects, err) {
			return 0, false
		}
	default:
		return 0, false
	}
	d := r.Min
	for range c.made - 1 {
		if d >= r.Max/2 {
			d = r.Max
			break
		}
		d *= 2
	}
	d = max(min(d, r.Max), retryAfter(err))
	return d + rand.N(d/5+1), true
}

// untilReset is how long a method is paused, by what the portal has told.
func untilReset(err error) (time.Duration, bool) {
	var refused *APIError
	if !errors.As(err, &refused) {
		return 0, false
	}
	d, _ := resetIn(refused.Timing)
	d = max(d, refused.RetryAfter)
	return d, d > 0 && d <= longestPause
}

// resetIn is in how long some of a method's time is given back, by the portal's
// clock.
func resetIn(t Timing) (time.Duration, bool) {
	if t.OperatingResetAt.IsZero() {
		return 0, false
	}
	now := t.Finish
	if now.IsZero() {
		now = t.DateFinish
	}
	if now.IsZero() {
		now = time.Now()
	}
	return max(t.OperatingResetAt.Sub(now), 0) + time.Second, true // the portal tells whole seconds
}

// retryAfter is how long the answer behind an error wants to be waited for.
func retryAfter(err error) time.Duration {
	var token *TokenError
	var refused *APIError
	switch {
	case errors.As(err, &token):
		return token.RetryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// pauses are the methods that the portal has told to pause, so that not every
// caller has to be told.
type pauses struct {
	mu      sync.Mutex
	methods map[string]pausedMethod
	resets  map[string]time.Time // when a method's time is given back, by our clock, as answers have told
}

// maxResets bounds how many methods' resets are remembered; those that are over
// make room.
const maxResets = 1024

type pausedMethod struct {
	until time.Time // by our clock
	err   error     // the portal's
}

// note remembers what an answer tells of when a method's time is given back,
// and the pause in an error, if there is one. A refusal need not tell the time:
// then what was told before holds, and the error is completed by it.
func (p *pauses) note(method string, a response, err error) {
	var refused *APIError
	switch {
	case err == nil:
		if d, ok := resetIn(a.timing()); ok {
			p.remember(method, time.Now().Add(d))
		}
		return
	case ClassOf(err) != ClassPaused || !errors.As(err, &refused):
		return
	}
	if d, ok := resetIn(refused.Timing); ok {
		p.remember(method, time.Now().Add(d))
	} else {
		refused.RetryAfter = max(refused.RetryAfter, p.reset(method))
	}
	d, ok := untilReset(err)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.methods == nil {
		p.methods = make(map[string]pausedMethod)
	}
	p.methods[method] = pausedMethod{time.Now().Add(d), err}
}

// knows reports whether a method was told to pause, for however long.
func (p *pauses) knows(method string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.methods[method]
	return ok
}

// left tells for how long a method is paused yet, and by which error: none if
// it is not.
func (p *pauses) left(method string) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	paused := p.methods[method]
	if d := time.Until(paused.until); d > 0 {
		return d, paused.err
	}
	return 0, nil
}

func (p *pauses) remember(method string, reset time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resets == nil {
		p.resets = make(map[string]time.Time)
	}
	if _, known := p.resets[method]; !known && len(p.resets) >= maxResets {
		maps.DeleteFunc(p.resets, func(_ string, at time.Time) bool { return time.Until(at) <= 0 })
		if len(p.resets) >= maxResets {
			return
		}
	}
	p.resets[method] = reset
}

// reset is in how long a method's time is given back, 0 if nothing was told of
// it, or it is over.
func (p *pauses) reset(method string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.resets[method]
	if !known {
		return 0
	}
	return max(time.Until(at), 0)
}
