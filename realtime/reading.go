package realtime

import (
	"errors"
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"io"
	"slices"
	"time"
)

// read begins a read, or has it wait: behind the one under way, for its server,
// or for its pace.
func (l *loop) read(r read, now time.Time) {
	if l.reading.isUp() {
		l.await(r)
		l.joins(l.reading.stream)
		if k := l.reading; k.conn == nil && !k.sent.IsZero() && now.Sub(k.sent) >= holdMax {
			l.timers.arm(timerRead, now) // it may yield
		}
		return
	}
	s := r.stream
	if until := l.deferrals.reads(s, now); now.Before(until) {
		l.postpone(r, until)
		return
	}
	pace := &l.reads
	if r.short {
		pace = &l.peeks
	}
	if until := pace.Next(); now.Before(until) {
		l.postpone(r, until)
		return
	}
	pace.Note(now)
	var after wire.Mid
	if r.short {
		after = s.session.beginPeek(now, s.endpoint.server)
	} else {
		s.readFrom, s.garbled = now, false
		after = s.session.beginRead(now, s.endpoint.server)
	}
	l.joins(s)
	l.memory.order.replaced = s.status.old
	l.timers.arm(timerRead, now.Add(readSent))
	t, at := l.historyOf(s, after, now)
	s.session.chain.poll = t == l.poll
	l.reading = l.connect(&link{stream: s, read: true}, t, at)
}

// historyOf is how to read what follows a position: by a poll where the server
// has them, or else by a websocket of its own. That is the way as well while
// polls fail, and for the last try before it is believed that what was kept is
// gone.
func (l *loop) historyOf(s *stream, after wire.Mid, now time.Time) (transport, address) {
	e := &s.endpoint
	if !s.readsByPoll(now) || l.otherWay(s) && s.session.asksOtherwise() {
		return l.history, e.after(e.socket, after)
	}
	return l.poll, e.after(e.poll, after)
}

// readsByPoll reports whether the history is to be read by a poll now.
func (s *stream) readsByPoll(now time.Time) bool {
	return s.endpoint.poll.url != "" && !(s.mayReadBySocket() && s.reader.bySocket(now))
}

// mayReadBySocket reports whether the history can be read by a websocket, too.
func (s *stream) mayReadBySocket() bool {
	return (s.status.auto || !s.status.polling) && s.endpoint.socket.url != "" && s.endpoint.dialect != wire.DialectTags
}

// failureOf is what an error asks for. Where there is no other config to be
// had, an HTTP 400 is not believed at once: a proxy can answer that, too.
func (l *loop) failureOf(err error) failure {
	why := classify(err)
	var status *StatusError
	if _, fixed := l.source.(fixedConfig); fixed && why == failConfig && errors.As(err, &status) && l.refusals < believed {
		l.refusals++
		return failPassing
	}
	return why
}

// believed is how many refusals of a config that cannot be replaced are taken
// for a proxy's, before one is believed.
const believed = 2

// owed reports whether a read is to come that live messages wait for.
func (l *loop) owed() bool {
	if l.readsLater(l.main, time.Now()) {
		return false
	}
	return l.main.status.read != readIdle || l.owedBy(l.main) || l.owedElsewhere(l.main)
}

// readsLater reports whether a server has put off the next read of a stream:
// nothing waits for one that is far away.
func (l *loop) readsLater(s *stream, now time.Time) bool {
	waits := s.status.read == readWaiting && retryAfter(s.unread.cause) > 0 && now.Add(holdMax).Before(s.timers[timerReadRetry])
	return waits || now.Before(l.deferrals.reads(s, now))
}

// owedElsewhere reports whether another stream than this one is to read.
func (l *loop) owedElsewhere(s *stream) bool {
	for _, other := range l.streams() {
		if other != s && (other.status.read == readRunning || l.owedBy(other)) {
			return true
		}
	}
	return l.renewal.fetching && l.renewal.reason == RenewChannelExpired
}

// joins notes whether the answer to a read of a stream is whole only with that
// to another stream's.
func (l *loop) joins(s *stream) {
	if l.owedElsewhere(s) {
		l.memory.order.partial = true
	}
}

// owedBy reports whether a stream is to read again after the present read. One
// that is being connected will, but is not waited for when that fails again.
func (l *loop) owedBy(s *stream) bool {
	coming := false
	switch s.status.state {
	case StateConfiguring, StateConnecting, StateWaiting:
		coming = !s.status.old && s.status.attempt <= 1
	}
	return coming || s.status.due != readNone || s.status.fence > 0 || s.answering || s.timers.armed(timerPinged)
}

// await puts a read among those that wait, one of each stream.
func (l *loop) await(r read) {
	for i := range l.waiting {
		if w := &l.waiting[i]; w.stream == r.stream {
			w.short = w.short && r.short
			return
		}
	}
	l.waiting = append(l.waiting, r)
}

// postpone puts a read off until it may begin.
func (l *loop) postpone(r read, until time.Time) {
	l.await(r)
	if at := l.timers[timerHeld]; at.IsZero() || until.Before(at) {
		l.timers.arm(timerHeld, until)
	}
}

// nextRead begins the next read that may begin. Those of the main stream go
// first.
func (l *loop) nextRead() {
	if l.reading.isUp() {
		return
	}
	waiting := l.waiting
	l.waiting = nil
	for _, main := range []bool{true, false} {
		for _, r := range waiting {
			if (r.stream == l.main) == main {
				l.read(r, time.Now())
			}
		}
	}
}

// abortRead breaks off the read of a stream that is under way or waits, if any.
func (l *loop) abortRead(s *stream) {
	l.waiting = slices.DeleteFunc(l.waiting, func(r read) bool { return r.stream == s })
	if l.reading.isUp() && l.reading.stream == s {
		l.timers.disarm(timerRead)
		l.reading.hangUp(closeNormal)
		s.session.endRead(readBroken, true, time.Now())
	}
	if !l.reading.isUp() || l.reading.stream.session != s.session { // else it is another stream's on the same channels
		s.session.forgetPeek()
	}
	l.nextRead()
}

func (l *loop) receiveRead(in inbound) {
	s, now := in.link.stream, time.Now()
	switch in.kind {
	case inSent:
		in.link.sent = now
		l.timers.arm(timerRead, now.Add(min(l.memory.order.patience, s.session.readPatience(l.otherWay(s)))))
	case inOpened:
		s.session.chain.hung = now.Sub(in.link.sent) >= peekAfter
		l.timers.arm(timerRead, in.link.answers(now, l.answerWithin(in.link)))
	case inProgress:
		l.timers.arm(timerRead, in.link.answers(now, l.answerWithin(in.link)))
	case inMessages:
		s.session.silent, s.session.yielded = 0, 0
		l.messages(s, true, in.batch, now, s.session.history)
	case inGarbled:
		l.undecodable(in.err)
		l.readOver(s, readBroken, in.err)
	case inDown:
		if in.err == io.EOF {
			in.err = l.disbelieve(s, in.link)
		}
		switch {
		case in.err == io.EOF && !s.session.endAnswer(now):
			l.full()
		case in.err == io.EOF:
			l.readOver(s, readEnded, nil)
		case in.err == errSilent:
			l.noAnswer(s, true)
		case l.idleRead(s, in.err, now):
			l.noAnswer(s, false)
		case in.err == errLacking:
			l.readOver(s, readDoubted, in.err)
		default:
			l.readOver(s, readBroken, in.err)
		}
	}
}

// readOver closes the read and decides what comes after.
func (l *loop) readOver(s *stream, how readOutcome, cause error) {
	l.timers.disarm(timerRead)
	l.reading.hangUp(closeNormal)
	l.judgeReader(s, how, cause)
	polled := s.session.chain.poll
	l.joins(s)
	owed := l.owedBy(s) || l.owedElsewhere(s)
	result, again := s.session.endRead(how, owed, time.Now())
	result.Err = cause
	if how == readEnded && result.Messages > 0 {
		s.vouched = time.Now()
		defer l.hangingAfterAll(s)
	}
	l.logRead(s, result)
	l.observe(result)
	if how == readBroken || how == readDoubted {
		silent := cause == errNoAnswer && !polled
		l.handle(s, event{kind: evReadBroken, failure: l.failureOf(cause), silent: silent}, cause)
	} else {
		l.handle(s, event{kind: evReadEnded, again: again}, nil)
	}
	l.nextRead()
}

// answerWithin is how long the answer to a read may take to come to its end.
func (l *loop) answerWithin(k *link) time.Duration {
	mainWaits := func(r read) bool { return r.stream == l.main }
	if k.stream != l.main && slices.ContainsFunc(l.waiting, mainWaits) {
		return answerYields
	}
	return answerWithin
}
