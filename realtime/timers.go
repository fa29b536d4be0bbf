package realtime

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

type timerKind uint8

const (
	// of a connection
	timerRetry       timerKind = iota // before the next attempt
	timerStable                       // a connection has lasted
	timerIdle                         // the server has not pinged; of polls: the next replay
	timerPong                         // our ping was not answered; of polls: the poll
	timerKeepAlive                    // before a ping that keeps the connection from being idle
	timerHeartbeat                    // the server has given no sign of life
	timerPinged                       // a replay is to follow pings of the server
	timerShortReplay                  // a poll has been hanging for a moment
	timerHang                         // before the next poll, after one that came back too soon; before what the server wants later
	timerReplayRetry                  // before a broken replay goes on
	timerFar                          // far enough from the last replay for one that is due
	timerParked                       // what came over replaced channels has waited long enough
	timerLeave                        // nothing more comes over replaced channels

	// of the loop
	timerReplay  // a replay does not answer, or has stalled
	timerHeld    // a replay that waits may begin
	timerHold    // a live message has waited long enough
	timerRenew   // a config is about to end
	timerControl // control commands may be carried out
	timerCheck   // the portal is asked whether it knows the successors that were gone over to
	timerReturn  // websockets may work again
	timerTell    // what has been summed up is to be told
)

// deadlines are points in time, of those kinds that there are any of: few of the
// many, as long as nothing happens.
type deadlines []deadline

type deadline struct {
	kind timerKind
	at   time.Time
}

func (d *deadlines) of(kind timerKind) int {
	return slices.IndexFunc(*d, func(t deadline) bool { return t.kind == kind })
}

// arm sets a deadline; the zero time is none.
func (d *deadlines) arm(kind timerKind, at time.Time) {
	i := d.of(kind)
	switch {
	case at.IsZero() && i >= 0:
		*d = slices.Delete(*d, i, i+1)
	case at.IsZero():
	case i >= 0:
		(*d)[i].at = at
	default:
		*d = append(*d, deadline{kind, at})
	}
}

func (d *deadlines) disarm(kinds ...timerKind) {
	for _, k := range kinds {
		d.arm(k, time.Time{})
	}
}

// at is the deadline of a kind; the zero time if there is none.
func (d *deadlines) at(kind timerKind) time.Time {
	if i := d.of(kind); i >= 0 {
		return (*d)[i].at
	}
	return time.Time{}
}

func (d *deadlines) armed(kind timerKind) bool { return d.of(kind) >= 0 }

// expire reports whether a deadline has come, and takes it away.
func (d *deadlines) expire(kind timerKind, now time.Time) bool {
	i := d.of(kind)
	if i < 0 || now.Before((*d)[i].at) {
		return false
	}
	*d = slices.Delete(*d, i, i+1)
	return true
}

// next is the earlier of a point in time and all deadlines.
func (d *deadlines) next(first time.Time) time.Time {
	for _, t := range *d {
		if first.IsZero() || t.at.Before(first) {
			first = t.at
		}
	}
	return first
}

// alarm is a real timer that is set anew before each wait.
type alarm struct {
	timer *time.Timer
	rang  chan struct{} // of capacity 1
}

// newAlarm makes one that calls wake when it has rung.
func newAlarm(wake func()) alarm {
	a := alarm{rang: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(time.Hour, func() {
		a.ring()
		wake()
	})
	a.timer.Stop()
	return a
}

func (a alarm) ring() {
	select {
	case a.rang <- struct{}{}:
	default:
	}
}

func (a alarm) stop() { a.timer.Stop() }

// set has it ring at a time, at once if that has come; never at the zero time.
// It wakes nobody at once: whoever sets it is awake.
func (a alarm) set(t time.Time) {
	switch wait := time.Until(t); {
	case t.IsZero():
		a.timer.Stop()
	case wait > 0:
		a.timer.Reset(wait)
	default: // not by the timer: Go 1.26's race detector may crash in those of a synctest bubble that are due when they are set
		a.timer.Stop()
		a.ring()
	}
}

// deadline is when something is due next.
func (l *loop) deadline() time.Time {
	at := l.timers.next(time.Time{})
	for _, s := range l.connections() {
		at = s.timers.next(at)
	}
	return at
}

// expire handles the timers that are due.
func (l *loop) expire() {
	now := time.Now()
	for _, s := range l.connections() {
		for _, t := range []struct {
			timer timerKind
			event eventKind
			cause error
		}{
			{timerStable, evStable, nil},
			{timerIdle, evIdle, nil},
			{timerPong, evStuck, errStuck},
			{timerHeartbeat, evStuck, errStuck},
			{timerKeepAlive, evKeepAlive, nil},
			{timerHang, evPolled, nil},
			{timerRetry, evRetry, nil},
			{timerReplayRetry, evReplayRetry, nil},
			{timerLeave, evLeave, nil},
		} {
			if s.timers.expire(t.timer, now) {
				switch t.timer {
				case timerIdle:
					s.watch(now)
				case timerPong:
					l.unanswered(s, now)
					if s.status.polling && !s.answering {
						l.unheardPoll(s, now)
					}
				}
				l.handle(s, event{kind: t.event}, t.cause)
			}
		}
	}
	for _, s := range l.connections() {
		if s.timers.expire(timerShortReplay, now) {
			l.hanging(s, now)
		}
		if s.timers.expire(timerParked, now) {
			l.takeParked(s, now)
		}
		if s.timers.expire(timerPinged, now) {
			l.pinged(s, now)
		}
	}
	if l.timers.expire(timerReplay, now) {
		l.replayTimeout(now)
	}
	if l.timers.expire(timerHeld, now) {
		l.nextReplay()
	}
	l.timers.expire(timerControl, now) // afterEvent carries them out
	if l.timers.expire(timerCheck, now) {
		l.check(now)
	}
	if l.timers.expire(timerTell, now) {
		l.events.notices.Flush(now)
	}
	if l.timers.expire(timerRenew, now) {
		l.renew()
	}
	if l.timers.expire(timerReturn, now) {
		l.tryWebSocket()
	}
}

// gated has what an attempt opens wait for its turn among those of other
// subscriptions, if they share a gate.
func (l *loop) gated(t transport.Transport, p *poster) transport.Transport {
	if l.opts.shared.Gate == nil {
		return t
	}
	kind := gate.Connect
	if p.attempt.replay {
		kind = gate.Replay
	}
	return &transport.Gated{Transport: t, Gate: l.opts.shared.Gate, Kind: kind, Told: p}
}

// takesTurn has the time of an attempt begin, after it has waited for its turn,
// or stand still while it does. That of a handshake is the transport's affair.
func (l *loop) takesTurn(k *attempt, begins bool, now time.Time) {
	s := k.connection
	switch {
	case k.replay && begins:
		l.timers.arm(timerReplay, now.Add(replaySentWithin))
	case k.replay:
		l.timers.disarm(timerReplay)
	case k.poll && begins:
		s.hungAt = now
		s.timers.arm(timerPong, now.Add(pollWithin))
	case k.poll:
		s.timers.disarm(timerPong)
	}
}

// reconnectDelays are those of the portal's own connector; the last one stays.
var reconnectDelays = []time.Duration{
	500 * time.Millisecond, 5 * time.Second, 25 * time.Second, 45 * time.Second, time.Minute,
}

// minDelay keeps a user's delays from being none at all, in WithBackoff and
// RetryAfter.
const minDelay = 10 * time.Millisecond

// crowdedDelay is the wait after «too many connections»: coming back at once
// would throw out another.
const crowdedDelay = time.Minute

// defaultBackoff spreads each delay by up to 20 %, so that the subscribers of a
// server that went down do not come back together.
func defaultBackoff(attempt int) time.Duration {
	return spread(reconnectDelays[min(max(attempt, 1), len(reconnectDelays))-1])
}

// replayBackoff is the delay before a replay that failed is tried again.
func replayBackoff(attempt int) time.Duration {
	const first, last = 100 * time.Millisecond, 30 * time.Second
	return spread(min(first<<min(max(attempt, 1)-1, 16), last))
}

func spread(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/5+1))
}

// retryAfter is how long a server's answer wants to be waited for, if an error
// is one that says so.
func retryAfter(err error) time.Duration {
	var status *StatusError
	var refused *b24pull.APIError
	var token *b24pull.TokenError
	switch {
	case errors.As(err, &status):
		return status.RetryAfter
	case errors.As(err, &token):
		return token.RetryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// reserve makes a delay as long as a server wants that has refused with err.
// What it wants is spread, so that those it has refused together do not come
// back together.
func reserve(delay time.Duration, err error) time.Duration {
	if d := retryAfter(err); d > 0 {
		return max(delay, spread(d))
	}
	return delay
}

// deferrals are until when a server is to be left alone, over websockets and
// over polls.
type deferrals struct{ sockets, polls deferral }

type deferral struct {
	server string
	until  time.Time
}

func (d *deferrals) of(polls bool) *deferral {
	if polls {
		return &d.polls
	}
	return &d.sockets
}

// note is told why an attempt ended.
func (d *deferrals) note(k *attempt, err error, now time.Time) {
	if wait := retryAfter(err); wait > 0 {
		*d.of(k.polls) = deferral{k.connection.endpoint.server, now.Add(wait)}
	}
}

// replays is until when the history of a connection is not to be read, by the
// way that it would be; zero or past: it may be.
func (d *deferrals) replays(s *connection, now time.Time) time.Time {
	return d.until(s, s.replaysByPoll(now))
}

// until is until when the server of a connection is not to be asked; zero or
// past: it may be.
func (d *deferrals) until(s *connection, polls bool) time.Time {
	if held := d.of(polls); held.server == s.endpoint.server {
		return held.until
	}
	return time.Time{}
}

// Paces of a subscription. What is published during a distance comes with the
// next answer, all of it that the server keeps.
var (
	// pollPace is that of a connection's polls which bring news.
	pollPace = pace.Pace{Burst: 100, Every: 50 * time.Millisecond}
	// overtakenPace is that of polls which bring only what a replay has brought
	// while they hung, as happens where the server has several processes.
	overtakenPace = pace.Pace{Burst: 20, Every: 200 * time.Millisecond}
	// replayPace is that of the replays from cursors while a connection lasts,
	// shortReplayPace that of short ones.
	replayPace      = pace.Pace{Burst: 20, Every: 250 * time.Millisecond}
	shortReplayPace = pace.Pace{Burst: 100, Every: 100 * time.Millisecond}
)

// A waning pace lets something happen a few times at once, and then at
// distances that double for as long as it goes on.
type waning struct {
	n    int       // how often it has happened since it was quiet
	last time.Time // when it happened last
	wait time.Duration
}

const (
	// waningBurst is how often it may happen at once.
	waningBurst = 3
	// waningFirst and waningLast are the shortest and the longest distance.
	waningFirst = 10 * time.Second
	waningLast  = 5 * time.Minute
	// waningReset is after how long it may happen at once again.
	waningReset = 2 * waningLast
)

// next is when it may happen again; now or before: at once.
func (w *waning) next() time.Time {
	if w.n < waningBurst {
		return time.Time{}
	}
	return w.last.Add(w.wait)
}

// note tells that it happens.
func (w *waning) note(now time.Time) {
	if now.Sub(w.last) >= waningReset {
		*w = waning{}
	}
	w.last = now
	if w.n++; w.n >= waningBurst {
		w.wait = min(max(2*w.wait, waningFirst), waningLast)
	}
}
