package realtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/panics"
	"github.com/b24pull/b24pull/internal/underway"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

const (
	// renewEarly is how long before its end a config is renewed at the most;
	// half of it at the least.
	renewEarly = 10 * time.Minute
	// renewTail is when a renewal that gives the same channels again is tried
	// at their very end.
	renewTail = 20 * time.Second
	// suspectWithin is how long another config is waited for that need not be,
	// beside the waiting for its turn.
	suspectWithin = 20 * time.Second
)

// renewal is what is under way to get another config.
type renewal struct {
	fetching bool
	again    bool        // what is being fetched may be out of date already
	reason   RenewReason // of the config being fetched
	anew     bool        // connect anew, even to the same channels
	checks   bool        // there may be nothing new, which is not worth telling
	attempt  int         // failures in a row, or configs that were at their end
	end      error       // why the subscription is leaving
	refused  waning      // configs fetched since the server refuses the one in use
	placed   uint64      // the number of this run's source at a gate, for the task that asks it; 0: it has not been asked yet
}

// refusedMost is how long the next config is put off at the most where the
// server refuses one after another, each after a while: there is no connection
// meanwhile.
const refusedMost = time.Minute

// putOff is how long from now the next config may be asked for.
func (r *renewal) putOff(now time.Time) time.Duration {
	return min(r.refused.next().Sub(now), refusedMost)
}

// ended is why a subscription that is leaving is over: the end of its config,
// and what kept that from being read. Of one that is not leaving it is the
// cause.
func (r *renewal) ended(cause error) error {
	switch {
	case r.end == nil:
		return cause
	case cause == nil:
		return r.end
	default:
		return fmt.Errorf("%w; what was sent last could not be read: %w", r.end, cause)
	}
}

// fetch asks the source for a config.
func (l *loop) fetch(cache bool) {
	r := &l.renewal
	if r.fetching {
		r.again, r.checks = r.again || !cache, false
		return
	}
	r.fetching = true
	ctx, cancel := l.ctx, context.CancelFunc(func() {})
	if r.reason == RenewUnreachable {
		ctx, cancel = gate.WithTimeout(ctx, suspectWithin, nil)
	}
	asked := make(chan struct{})
	l.watchSource(asked)
	l.tasks.Go(func() {
		defer cancel()
		defer close(asked)
		cfg, err := l.config(underway.With(ctx, &l.lastErrors.asking), cache)
		l.lastErrors.asking.Wait("")
		if bad := l.senders.Learn(cfg); bad != nil { // messages come without them as well
			l.log.Debug("the config's public channels are left out", "err", bad)
		}
		l.post(inbound{kind: inConfig, config: cfg, err: err})
	})
}

// config calls the source. A token source that panics does so in yet another
// goroutine: the stack is that one's.
func (l *loop) config(ctx context.Context, cache bool) (*b24pull.Config, error) {
	ctx, place, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer place.Leave()
	ctx, stack := panics.WithStack(ctx)
	defer func() {
		if *stack == nil {
			return
		}
		if v := recover(); v != nil {
			panic(&CallbackPanic{Value: v, Stack: *stack})
		}
	}()
	return l.source.GetApplicationConfig(ctx, cache)
}

// sources counts the runs of this process whose sources have been given a place.
var sources atomic.Uint64

// gateHost is the source as a gate wants it, which does not know whom that asks.
// No other run of the process ever has the same.
func (r *renewal) gateHost() string {
	if r.placed == 0 {
		r.placed = sources.Add(1)
	}
	return fmt.Sprint("source ", r.placed)
}

// turn has what the source asks wait for its turn among the requests of other
// subscriptions, if they share a gate: each request of a source that is known to
// wait, or else the call as a whole.
func (l *loop) turn(ctx context.Context) (context.Context, *gate.Place, error) {
	g := l.opts.shared.Gate
	switch l.source.(type) {
	case fixedConfig:
		return ctx, nil, nil
	case *b24pull.Client, portalConfig:
		return gate.With(ctx, g, nil), nil, nil
	}
	place, err := g.Enter(ctx, gate.REST, l.renewal.gateHost(), nil)
	return gate.With(ctx, g, place), place, err
}

// renew asks for a new config while the present one still works.
func (l *loop) renew() {
	if l.main.config == nil {
		l.fetch(false)
		return
	}
	if l.renewal.anew {
		l.commands.fetches.note(time.Now())
	}
	if l.renewal.reason == 0 || l.renewal.reason == RenewUnreachable {
		l.renewal.reason = RenewDue
		if l.missing.asked > 0 {
			l.renewal.reason = RenewIncomplete
		}
	}
	l.fetch(false)
}

func (l *loop) configured(cfg *b24pull.Config, err error) {
	r := &l.renewal
	defer func() {
		if !r.fetching {
			l.lastErrors.asking.End()
		}
	}()
	r.fetching = false
	if r.again {
		r.again = false
		l.fetch(false)
		return
	}
	if err != nil && l.missing.first != nil {
		cfg, err, l.missing.another = l.missing.first, nil, missingAtStart
	}
	var ep endpoint
	var lacks, bare bool
	if err == nil {
		bare = cfg != nil && len(config.Channels(cfg.Channels)) == 0
		cfg, ep, lacks, err = l.complete(cfg)
	}
	if err == nil && l.main.config == nil {
		err = l.opts.cursor.check(bindingOf(cfg, &ep), ep.dialect)
	}
	if err != nil {
		l.notConfigured(err)
		return
	}
	if l.main.config == nil && !l.begins(cfg) {
		return
	}
	reason, anew := r.reason, r.anew
	r.reason, r.anew = 0, false
	l.timers.disarm(timerCheck)
	l.missing.note(cfg.Channels, lacks)
	if lacks && (!anew || bare) && reason != RenewRefused && l.covered(cfg) {
		l.keep(reason, anew)
	} else {
		l.adopt(cfg, ep, reason, anew)
	}
	l.skipped()
	if lacks {
		l.askAgain()
	}
}

// keep goes on with the present config.
func (l *loop) keep(reason RenewReason, anew bool) {
	l.renewal.anew = anew
	for _, s := range l.connections() {
		if s.status.state == StateConfiguring {
			l.handle(s, event{kind: evConfig}, nil)
		}
	}
	l.emit(Renewal{Reason: reason, Count: 1})
}

// notConfigured: what waits for a config tries again. What is connected goes on
// for as long as its config is good. What is final at the start is met with
// patience once there has been a config.
func (l *loop) notConfigured(err error) {
	why := classify(err)
	if l.main.config == nil && endingOf(err) == b24pull.EndsStart {
		why = failFatal
	}
	now := time.Now()
	waits, must := false, false
	for _, s := range l.connections() {
		if s.status.state == StateConfiguring {
			waits, must = true, must || !s.status.configSuspect
		}
	}
	switch {
	case waits && !must:
		why = failPassing
	case errors.Is(err, ErrConfigExpired) && !waits:
		l.endFixed(err, now)
		return
	case why == failFatal:
		l.handle(l.main, event{kind: evConfigFailed, failure: why}, err)
		return
	}
	for _, s := range l.connections() {
		if s.status.state == StateConfiguring {
			l.handle(s, event{kind: evConfigFailed, failure: why}, err)
		}
	}
	switch {
	case must:
	case l.renewal.reason == RenewUnreachable:
		l.renewal.reason = 0 // the present one is tried again
	default:
		l.renewal.attempt++
		delay := reserve(l.opts.backoff(l.renewal.attempt), err)
		l.timers.arm(timerRenew, now.Add(delay))
		l.emit(Renewal{Reason: l.renewal.reason, Delay: delay, Err: err, Count: 1})
	}
}

// endFixed: there is no other config than the present one, so that is used up
// to its end, and read to it.
func (l *loop) endFixed(err error, now time.Time) {
	ends, reason := l.ends(l.main.config), l.renewal.reason
	l.renewal.reason, l.renewal.anew = 0, false
	switch {
	case reason == RenewChannelExpired, reason == RenewDue && !now.Before(ends):
		l.renewal.end = err
		l.handle(l.main, event{kind: evLeave}, nil)
	case !ends.IsZero():
		l.timers.arm(timerRenew, ends)
	}
}

// adopt goes over to a config: at once where there is no connection, or else
// side by side.
func (l *loop) adopt(cfg *b24pull.Config, ep endpoint, reason RenewReason, anew bool) {
	latest := l.latest()
	same := latest.endpoint.same(&ep)
	switch {
	case latest.endpoint.server == "": // the first
		latest.assume(cfg, ep, l.opts.transport)
		l.goOn(bindingOf(cfg, &ep))
		l.handle(latest, event{kind: evConfig}, nil)
	case same && !anew:
		for _, s := range l.connections() {
			if s.endpoint.same(&ep) {
				s.config, s.endpoint.server = cfg, ep.server // the portal may have another name
				l.handle(s, event{kind: evConfig}, nil)
			}
		}
		l.bind()
	default:
		l.giveUpNext()
		l.replace(cfg, ep, reason)
	}
	if reason != 0 && (!same || !l.renewal.checks) {
		l.emit(Renewal{Reason: reason, Changed: !same, Count: 1})
	}
	l.renewal.checks = false
	l.scheduleRenewal(cfg, same)
}

// goOn begins where the cursor says, if there is one, and reports what has
// happened to its channels meanwhile.
func (l *loop) goOn(now delivery.Binding) {
	from := l.opts.cursor.position
	otherServer, otherChannels := differ(from.Bound.Server, now.Server), differ(from.Bound.Channels, now.Channels)
	l.main.history.Resume(from.Progress, !otherServer, !otherChannels)
	switch {
	case otherServer:
		l.gap(GapServerChanged, nil)
	case otherChannels:
		l.gap(GapChannelReplaced, nil)
	}
	l.bind()
	if l.main.history.Anchored {
		l.acks.Begin()
	}
}

// bind says whose positions cursors hold. While replaced channels have not been
// read to their end, they are still theirs: who goes on from such a cursor is
// to know that something may be missing.
func (l *loop) bind() {
	if len(l.replaced) == 0 {
		l.acks.Bind(bindingOf(l.main.config, &l.main.endpoint), l.main.history.Tags)
	}
}

// ends is when a config has ended, by our own clock; zero: it does not say.
func (l *loop) ends(cfg *b24pull.Config) time.Time {
	var first time.Time
	for _, at := range endsOf(cfg) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return first
	}
	return first.Add(-cfg.ClockShift())
}

func endsOf(cfg *b24pull.Config) []time.Time {
	if cfg == nil {
		return nil
	}
	ends := []time.Time{cfg.Expires}
	for _, c := range config.Channels(cfg.Channels) {
		ends = append(ends, c.End)
	}
	return ends
}

// scheduleRenewal sets the time to ask for the next config: some minutes before
// this one's end, by chance, so that many subscriptions do not ask at once; and
// as portals may give the same channels until their end, at the end itself and
// then again and again.
func (l *loop) scheduleRenewal(cfg *b24pull.Config, same bool) {
	ends, now := l.ends(cfg), time.Now()
	left := ends.Sub(now)
	switch {
	case l.renewal.reason != 0 && (l.renewal.fetching || l.timers.armed(timerRenew)): // one is on its way
	case ends.IsZero():
		l.timers.disarm(timerRenew)
	case left > renewTail:
		l.renewal.attempt = 0
		early := min(renewEarly, left/4)
		l.timers.arm(timerRenew, ends.Add(-early/2-rand.N(early/2)))
	default:
		l.renewal.attempt++
		at := now.Add(min(time.Minute, 5*time.Second*time.Duration(min(l.renewal.attempt, 12))))
		if end := ends.Add(time.Second); left > 0 && (l.renewal.attempt == 1 || at.Before(end)) {
			at = end
		}
		l.timers.arm(timerRenew, at)
	}
}

// gap reports that messages may have been lost.
func (l *loop) gap(why GapReason, cause error) {
	l.dedup.Lose(delivery.Gap{Reason: delivery.Reason(why), Err: cause})
}
