package realtime

import (
	"context"
	"errors"
	"github.com/b24pull/b24pull/internal/pace"
	"log/slog"
	"slices"
	"time"
)

const (
	provedAfter  = 10 * time.Second  // a connection that lasted this long starts the delays afresh
	quietAfter   = 150 * time.Second // the server pings every 120 s
	pongWithin   = 20 * time.Second
	beatWithin   = 20 * time.Second // of servers that send signs of life as text
	readSent     = 20 * time.Second // for a read to reach the server
	readStall    = 20 * time.Second // without a byte of its answer
	answerWithin = 5 * time.Minute  // for an answer to come to its end, however it goes on
	answerYields = time.Minute      // the same for one to a read of replaced channels, while those in use are to be read
	manyMessages = 1000             // that make another read due
)

// loop carries out what decide wants, in one goroutine. It alone touches the
// sessions, the timers and the links; all that happens elsewhere comes to it
// through its inbox.
type loop struct {
	source  ConfigSource
	opts    *options
	socket  transport
	poll    transport
	history transport   // reads the history by websockets, where there are no polls
	tell    func(Event) // the observer and the log
	log     *slog.Logger
	queue   *queue
	state   *stateBox
	ready   chan struct{}
	stats   *counters
	ledger  *ledger

	ctx     context.Context
	inbox   chan inbound
	tasks   tasks
	err     error // why it ends
	trouble error // why it is not connected

	memory *memory
	main   *stream   // what the subscription stands on
	next   *stream   // to take its place once it is connected
	old    []*stream // replaced, and listened to until their ends are read

	reading   *link     // the read under way: there is one at a time, over all streams
	waiting   []read    // for their turn, one of a stream
	reads     pace.Pace // of those from cursors
	peeks     pace.Pace // of short ones
	timers    deadlines
	deferrals deferrals
	alarm     alarm
	renewal   renewal
	missing   missing
	orders    orderBook // from the server, not yet obeyed

	idling    idling // of websockets, either way
	muted     idling // of websockets that the server sends on and nothing is sent over
	idlePolls idling // of polls that nothing is sent over

	notices   notices   // to be told together
	announced bool      // ready is closed
	refusals  int       // of a fixed config, in a row
	carrier   Transport // as the world was last shown
}

// read is a read to begin.
type read struct {
	stream *stream
	short  bool
}

// run lives until the subscription is over and returns why. When it returns,
// everything it has started has stopped.
func (l *loop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.tasks.Wait()
	defer cancel()
	l.ctx = ctx
	l.inbox = make(chan inbound)
	l.reads, l.peeks = readPace, peekPace
	l.notices.tell = l.tell
	l.alarm = newAlarm()
	defer l.alarm.stop()
	l.memory = newMemory(l.opts.cursor, l.ledger, l.queue, time.Now(), l.observe)
	l.memory.obey, l.memory.stats = l.takeOrder, l.stats
	if l.opts.begun() {
		l.memory.order.patience = holdFirst
	}
	l.main = &stream{session: l.memory.session(l.opts.cursor.pos, l.opts.begun())}
	l.main.session.settle = l.opts.settle
	l.main.session.placed = time.Now()
	_, l.memory.dating.unknown = l.source.(fixedConfig)
	l.main.status.anchored = l.main.session.anchored

	l.handle(l.main, event{kind: evStart}, nil)
	for l.main.status.state != StateClosed {
		select {
		case in := <-l.inbox:
			l.receive(in)
		case <-l.queue.room:
			l.all(event{kind: evRoom})
		case <-l.alarm.at(l.deadline()):
			l.expire()
		case <-ctx.Done():
			l.handle(l.main, event{kind: evStop}, stopCause(ctx))
		}
		l.afterEvent()
	}
	l.deliverReceived()
	l.notices.flushAll()
	return l.err
}

// observe counts an event and tells of it, at once or together with others.
func (l *loop) observe(e Event) {
	l.stats.event(e)
	if !l.notices.add(e, time.Now()) {
		l.tell(e)
	}
}

// deliverReceived hands over what has been received and still waits, for its
// time or for its turn.
func (l *loop) deliverReceived() {
	for _, s := range l.streams() {
		s.takeRest(time.Now())
	}
	l.memory.order.answering = false
	l.memory.order.release()
}

// stopCause is what went wrong, nil if the user wanted no more.
func stopCause(ctx context.Context) error {
	switch cause := context.Cause(ctx); cause {
	case errClosed, errLeft, errDrained:
		return nil
	default:
		return cause
	}
}

// streams are all there are, the main one first.
func (l *loop) streams() []*stream {
	streams := []*stream{l.main}
	if l.next != nil {
		streams = append(streams, l.next)
	}
	return append(streams, l.old...)
}

// all has an event happen to every stream.
func (l *loop) all(e event) {
	for _, s := range l.streams() {
		l.handle(s, e, nil)
	}
}

// connected tells a session since when it is connected, or that it is no more.
// Two streams can be of one session.
func (l *loop) connected(s *stream, before State) {
	switch after := s.status.state; {
	case after == before:
	case after == StateLive && s.session.up.IsZero():
		s.session.up = time.Now()
		if !s.session.anchored && s.session.heard.IsZero() {
			s.session.heard = s.session.up
		}
	case before == StateLive && !slices.ContainsFunc(l.streams(), func(o *stream) bool { return o.session == s.session && o.status.state == StateLive }):
		s.session.up, s.session.away = time.Time{}, true
	}
}

// handle has decide decide about a stream, and does it.
func (l *loop) handle(s *stream, e event, cause error) {
	before := s.status
	var actions []action
	s.status, actions = decide(before, e)
	s.cause, s.delay = cause, 0
	l.connected(s, before.state)
	for _, a := range actions {
		l.do(s, a)
	}
	after := s.status.state
	if after != before.state && after != StateLive && (before.state == StateLive || before.state == StateConnecting) {
		s.timers.disarm(timerProved, timerQuiet, timerPong, timerBeat, timerPinged, timerPeek, timerHang, timerIdle)
		s.idle, s.mute = silence{}, silence{}
		s.answering = false
	}
	switch {
	case s == l.main:
		l.show(cause)
	case after == StateClosed:
		l.remove(s, cause)
	}
}

// show tells the world where the main stream stands.
func (l *loop) show(cause error) {
	before, after := l.state.get(), l.main.standing()
	if after == StateDegraded && cause == nil {
		cause = l.main.unread.cause
	}
	switch {
	case after == before && (l.main.status.state != StateLive || l.main.transport() == l.carrier):
		return
	case after == StateClosed:
		if l.ctx.Err() == nil {
			cause = l.renewal.ended(cause)
		}
		l.err = cause
		l.notices.flushAll()
	case after == StateLive:
		l.trouble = nil
		l.scheduleReturn()
	case cause != nil:
		l.trouble = cause
	}
	l.state.set(after)
	l.carrier = l.main.transport()
	change := StateChange{From: before, To: after, Attempt: l.main.status.attempt, Delay: l.main.delay, Transport: l.carrier, Cause: cause}
	l.logChange(change)
	l.observe(change)
}

// receive takes what a task has posted. What comes from a link that has been
// given up touches nothing.
func (l *loop) receive(in inbound) {
	if in.kind == inConfig {
		l.configured(in.config, in.err)
		return
	}
	if !in.link.up {
		return
	}
	switch in.kind {
	case inOpened:
		in.link.conn = in.conn
	case inDown:
		l.deferrals.note(in.link, in.err, time.Now())
	}
	switch {
	case in.link.read:
		l.receiveRead(in)
	case in.link.poll:
		l.receivePoll(in)
	default:
		l.receiveSocket(in)
	}
}

// messages hands a batch to the session until the queue refuses one.
func (l *loop) messages(s *stream, read bool, batch *[]decoded, now time.Time, take func(Message, time.Time) bool) {
	for _, d := range *batch {
		if d.err != nil {
			if s.session.undecodable(d.message, read, now) {
				l.undecodable(d.err)
			}
			continue
		}
		if !take(d.message, now) {
			l.full()
			break
		}
	}
	recycle(batch)
}

// full pauses everything: the queue is the same for all streams.
func (l *loop) full() {
	if l.main.status.state == StateLive {
		l.gap(GapPaused, nil)
	}
	l.waiting = nil
	for _, s := range l.streams() {
		l.abortRead(s) // before any of them gives back what another one's read has shown
	}
	for _, s := range l.streams() {
		s.aside, s.asideSize = nil, 0 // reads bring it
		l.handle(s, event{kind: evFull}, nil)
	}
}

func (l *loop) undecodable(err error) { l.observe(Undecodable{Err: err, Count: 1}) }

// afterEvent begins a read if so much has come, or so badly, that one is due,
// obeys the server, and sets the timer of the messages that wait. Such reads
// keep a distance: sooner they could not move the cursor anyway.
func (l *loop) afterEvent() {
	now := time.Now()
	if l.main.status.state != StateClosed {
		l.obey(now)
	}
	for _, s := range l.streams() {
		s.timers.disarm(timerFar)
		many, confirm := s.session.since >= manyMessages, s.session.confirm
		if (many || s.garbled || !confirm.IsZero()) && s.status.read == readIdle && s.status.state == StateLive {
			far := s.readFrom.Add(s.session.settle)
			if !many && !s.garbled && far.Before(confirm) {
				far = confirm
			}
			switch {
			case now.Before(far):
				s.timers.arm(timerFar, far)
			case many || !s.garbled:
				l.handle(s, event{kind: evMany}, nil)
			default:
				l.handle(s, event{kind: evGarbled}, nil)
			}
		}
	}
	l.timers.arm(timerHold, l.memory.order.expire(now))
	l.timers.arm(timerTell, l.notices.next())
}

// deadline is when something is due next.
func (l *loop) deadline() time.Time {
	at := l.timers.next(time.Time{})
	for _, s := range l.streams() {
		at = s.timers.next(at)
	}
	return at
}

// expire handles the timers that are due.
func (l *loop) expire() {
	now := time.Now()
	for _, s := range l.streams() {
		for _, t := range []struct {
			timer timerKind
			event eventKind
			cause error
		}{
			{timerProved, evProved, nil},
			{timerQuiet, evQuiet, nil},
			{timerPong, evStuck, errStuck},
			{timerBeat, evStuck, errStuck},
			{timerIdle, evIdle, nil},
			{timerHang, evPolled, nil},
			{timerRetry, evRetry, nil},
			{timerReadRetry, evReadRetry, nil},
			{timerLeave, evLeave, nil},
		} {
			if s.timers.due(t.timer, now) {
				switch t.timer {
				case timerQuiet:
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
	for _, s := range l.streams() {
		if s.timers.due(timerPeek, now) {
			l.hanging(s, now)
		}
		if s.timers.due(timerAside, now) {
			l.takeAside(s, now)
		}
		if s.timers.due(timerPinged, now) {
			l.pinged(s, now)
		}
	}
	if l.timers.due(timerRead, now) {
		l.readTimeout(now)
	}
	if l.timers.due(timerHeld, now) {
		l.nextRead()
	}
	l.timers.due(timerOrder, now) // afterEvent obeys
	if l.timers.due(timerCheck, now) {
		l.check(now)
	}
	if l.timers.due(timerTell, now) {
		l.notices.flush(now)
	}
	if l.timers.due(timerRenew, now) {
		l.renew()
	}
	if l.timers.due(timerReturn, now) {
		l.tryWebSocket()
	}
}

var (
	errStuck   = errors.New("realtime: the connection is stuck: a ping was not answered")
	errStall   = errors.New("realtime: a read has stalled")
	errEndless = errors.New("realtime: an answer does not come to its end")
	errLacking = errors.New("realtime: the answer to a read lacks what was kept before")
)
