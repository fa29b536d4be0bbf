package pulltest

import (
	"net/http"
	"sync"
	"time"
)

// operatingWindow is how long a method's time counts, in baskets of a minute.
const (
	operatingWindow = 10 * time.Minute
	basket          = time.Minute
)

var (
	errQueryLimit = &restError{http.StatusServiceUnavailable, "QUERY_LIMIT_EXCEEDED", "Too many requests"}
	errTimeLimit  = &restError{http.StatusTooManyRequests, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."}
)

// limits are what WithQueryLimit and WithOperatingLimit say; zero: no limit.
type limits struct {
	burst     int
	perSecond float64
	operating time.Duration
	perCall   time.Duration
}

// WithQueryLimit makes the portal refuse calls of REST that come too fast, with
// 503 QUERY_LIMIT_EXCEEDED: a leaky bucket holds burst of them and drains
// perSecond. A refused call does not count. In the cloud it is 50 and 2, on
// Enterprise 250 and 5; by default there is no limit.
func WithQueryLimit(burst int, perSecond float64) Option {
	return func(o *options) { o.limits.burst, o.limits.perSecond = burst, perSecond }
}

// WithOperatingLimit makes the portal count that a call takes the time perCall,
// though it does not, and refuse a method that has used up its limit in the
// last ten baskets of a minute with 429 OPERATION_TIME_LIMIT, until the
// operating_reset_at in the answer's time: the end of the oldest basket. In the
// cloud the limit is 480 s; by default there is none.
func WithOperatingLimit(limit, perCall time.Duration) Option {
	return func(o *options) { o.limits.operating, o.limits.perCall = limit, perCall }
}

// limiter counts what the limits bound.
type limiter struct {
	mu      sync.Mutex
	level   float64 // of the bucket, when it was last looked at
	at      time.Time
	baskets map[string]map[time.Time]time.Duration // by method and minute
}

// operating is the time a method has used, and when some of it is forgotten.
type operating struct {
	time    time.Duration
	resetAt time.Time
}

// admit lets a call through the bucket, which drains by our clock.
func (l *limiter) admit(by limits) *restError {
	if by.burst <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.level = max(0, l.level-now.Sub(l.at).Seconds()*by.perSecond)
	l.at = now
	if l.level+1 > float64(by.burst) {
		return errQueryLimit
	}
	l.level++
	return nil
}

// operate counts a call of a method, unless it has used up its time.
func (l *limiter) operate(by limits, method string, now time.Time) (operating, *restError) {
	if by.operating <= 0 {
		return operating{}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	used := l.used(method, now)
	if used.time >= by.operating {
		return used, errTimeLimit
	}
	if l.baskets == nil {
		l.baskets = make(map[string]map[time.Time]time.Duration)
	}
	if l.baskets[method] == nil {
		l.baskets[method] = make(map[time.Time]time.Duration)
	}
	l.baskets[method][now.Truncate(basket)] += by.perCall
	return l.used(method, now), nil
}

// used sums up a method's baskets and forgets the old ones.
func (l *limiter) used(method string, now time.Time) operating {
	var sum operating
	for minute, used := range l.baskets[method] {
		end := minute.Add(operatingWindow)
		if !now.Before(end) {
			delete(l.baskets[method], minute)
			continue
		}
		sum.time += used
		if sum.resetAt.IsZero() || end.Before(sum.resetAt) {
			sum.resetAt = end
		}
	}
	return sum
}
