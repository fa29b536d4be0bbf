package pulltest

import "time"

// Reset makes the portal as it was when it began, and cuts the connections of
// subscribers.
//
// What stays: the addresses and the certificate, the webhook, the application,
// the member id, the signature key, and all that options say; the ids of the
// channels that the portal began with, and jwts; and the token that AccessToken
// returned first. So a program that goes on connects again and hears what is
// sent next.
//
// Channels that have replaced those of the beginning are gone: the push server
// refuses whoever asks for one, or has a jwt for one, as it refuses a wrong
// signature, in versions 1 and 2 with 403; a new config has the channels of the
// beginning.
//
// What begins anew: the lives of the channels; the history, as [WithHistory] says; message ids, from 1 and with a later epoch than
// before, so that none is there twice; [Stats], the statistics of the push
// server, and the numbers of connections; who is online, who was seen, who is
// active, who is signed in; the clocks, as [WithClockShift] says; the limits of
// REST. The application is installed, and no other token or code is known. After
// [Portal.Move] the portal is back at its first address. No fault, restart or
// silence goes on, no channel is left out of configs, and there are no watches,
// push notifications, bound events and canned answers.
//
// A request that is being served meets the new portal with its answer. Reset
// returns an error if there are connections that it cannot cut, as
// [Portal.Cut] does; they hear nothing any more.
func (p *Portal) Reset() error {
	p.Behave(1<<services - 1)
	p.opts.clock.set(p.opts.clockShift)
	p.where.reset()
	p.auth.reset()
	p.users.reset()
	p.watches.reset()
	p.pushes.reset()
	p.limiter.reset()
	p.answers.reset()
	p.handlers.clear()
	p.config.reset()
	return errHidden("Reset", p.push.hub.reset(p.history()))
}

// reset cuts all connections, and counts those that it cannot cut. What there is
// from before the beginning is there again.
func (h *hub) reset(before []held, then time.Time) (hidden int) {
	h.mu.Lock()
	defer h.unlock()
	h.cutSockets("reset")
	_, hidden = h.cutPolls("reset")
	for p := range h.polls { // those that cannot be cut, until they end or Close ends them
		p.leaves("reset", 0)
		p.process.unregister(p)
	}
	hanging := h.polls
	for _, by := range h.publishers {
		by.late = nil
	}
	h.endAwaited()
	past, second, tag := max(h.pastEpoch, h.epoch), h.tagger.second, h.tagger.tag
	h.hubState = newHubState(h.opts)
	h.tagger.second, h.tagger.tag = second, tag // who goes on after them misses nothing
	h.polls = hanging
	h.pastEpoch = past
	h.hold(before, then)
	h.era++
	return hidden
}

// later calls f, with the lock held, unless the portal is reset before. The
// caller holds h.mu.
func (h *hub) later(d time.Duration, f func()) {
	era := h.era
	time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.unlock()
		if h.era == era {
			f()
		}
	})
}

func (a *addresses) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.former[a.url] = true
	delete(a.former, a.first)
	a.url, a.plain = a.first, a.firstPlain
}

func (a *auth) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begin()
}

func (u *users) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.inactive)
	clear(u.called)
}

func (w *watches) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = nil
}

func (p *pushes) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = nil
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.level, l.at, l.baskets = 0, time.Time{}, nil
}

func (a *canned) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = nil
}

func (b *configBook) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose()
	b.begin()
}
