package pulltest

import (
	"sync/atomic"
	"time"
)

// clock is that of the portal and its push server.
type clock struct {
	ahead atomic.Int64 // of ours
}

func (c *clock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// SetClock puts the clocks of the portal and its push server ahead of ours by d,
// or behind if d is negative, from now on, as [WithClockShift] does from the
// beginning; with 0 they are right.
//
// Whatever time they tell is off by it, and whatever lives until some time ends
// by them: channels, tokens, authorization codes, jwts, kept messages, watches,
// and what [WithOperatingLimit] has counted. What has got its time before keeps
// it: a channel does not start anew, and a message is not created anew. What
// takes a while, such as a long poll, takes as long as ever.
func (p *Portal) SetClock(d time.Duration) { p.opts.clock.set(d) }
