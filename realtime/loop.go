package realtime

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/b24pull/b24pull/internal/doze"
	"github.com/b24pull/b24pull/internal/fifo"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/senders"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

const (
	stableAfter      = 10 * time.Second  // a connection that lasted this long starts the delays afresh
	idleAfter        = 150 * time.Second // the server pings every 120 s
	pongWithin       = 20 * time.Second
	heartbeatWithin  = 20 * time.Second // of servers that send signs of life as text
	replaySentWithin = 20 * time.Second // for a replay to reach the server
	answerStall      = 20 * time.Second // without a byte of its answer
	answerWithin     = 5 * time.Minute  // for an answer to come to its end, however it goes on
	answerYields     = time.Minute      // the same for one to a replay of replaced channels, while those in use are to be read
)

// loop carries out what decide wants, in one goroutine at a time; while nothing
// happens, in none. It alone touches the histories, the timers and the attempts;
// all that happens elsewhere comes to it through its inbox.
type loop struct {
	source  ConfigSource
	opts    *options
	socket  transport.Transport
	poll    transport.Transport
	history transport.Transport // reads the history by websockets, where there are no polls
	events  *emitter            // counts, logs and tells of what happens
	log     *slog.Logger
	queue   *delivery.Queue
	state   *stateBox
	ready   chan struct{}
	stats   *counters // of messages
	acks    *delivery.Acks
	calls   *rpc.Caller
	senders *senders.Book

	confirmer *transport.Confirmer

	ctx        context.Context
	cancel     func()
	unwatch    func() bool // the end of ctx wakes the loop
	bed        doze.Bed
	wake       func() // the bed's
	inbox      chan inbound
	tasks      tasks
	err        error       // why it ends
	lastErrors *lastErrors // why it is not connected

	dedup    *delivery.Dedup
	main     *connection   // what the subscription stands on
	next     *connection   // to take its place once it is connected
	replaced []*connection // replaced, and listened to until their ends are read

	replaying       *attempt        // the replay under way: there is one at a time, over all connections
	waiting         []replayRequest // for their turn, one of a connection
	replayPace      pace.Pace       // of those from cursors
	shortReplayPace pace.Pace       // of short ones
	timers          deadlines
	deferrals       deferrals
	alarm           alarm
	renewal         renewal
	missing         missing
	commands        controlCommands // from the server, not yet carried out

	idling    idling // of websockets, either way
	muted     idling // of websockets that the server sends on and nothing is sent over
	idlePolls idling // of polls that nothing is sent over

	announced     bool      // ready is closed
	reached       bool      // a push server has answered
	noSocket      bool      // the last try by a websocket has met a push server that is none, or not trusted
	noPolls       bool      // the last poll has
	refusals      int       // of a fixed config, in a row
	lastTransport Transport // as the world was last shown
}

// replayRequest is a replay to begin.
type replayRequest struct {
	connection *connection
	short      bool
}

// lingers is how long the loop waits for something before it gives its goroutine
// up, until there is.
const lingers = time.Second

// run lives until the subscription is over, or the loop is asleep, and is called
// again when it has been woken. When it is over, everything it has started has
// stopped.
func (l *loop) run() (asleep bool) {
	defer func() {
		if !asleep {
			l.stop()
		}
	}()
	if l.main == nil {
		l.begin()
	}
	for l.main.status.state != StateClosed {
		if l.step() {
			return true
		}
		l.afterEvent()
	}
	l.deliverReceived()
	l.events.flush()
	return false
}

// idle reports whether there is nothing to do until somebody posts or wakes.
func (l *loop) idle() bool {
	return len(l.inbox) == 0 && len(l.queue.Room) == 0 && len(l.events.wake) == 0 && len(l.alarm.rang) == 0 && l.ctx.Err() == nil
}

// stop ends what the loop has begun.
func (l *loop) stop() {
	l.cancel()
	l.unwatch()
	l.alarm.stop()
	l.tasks.Wait()
}

// begin makes what the loop begins with.
func (l *loop) begin() {
	ctx := l.ctx
	l.unwatch = context.AfterFunc(ctx, l.wake)
	l.alarm = newAlarm(l.wake)
	l.confirmer.Context, l.confirmer.Go = gate.With(ctx, l.opts.shared.Gate, nil), l.tasks.Go
	l.replayPace, l.shortReplayPace = replayPace, shortReplayPace
	l.logRepeats()
	l.dedup = delivery.NewDedup(l.opts.cursor.position, l.acks, l.queue, time.Now(), l.reported)
	l.dedup.Control, l.dedup.Meter = l.takeControl, l.stats
	if l.opts.begun() {
		l.dedup.Reorder.Patience = delivery.HoldFirst
	}
	l.main = &connection{history: l.dedup.First(l.opts.cursor.position, l.opts.begun(), time.Now())}
	l.main.history.Settle = l.opts.settle
	if _, fixed := l.source.(fixedConfig); fixed {
		l.dedup.ClockUnknown()
	}
	l.main.status.anchored = l.main.history.Anchored
	l.handle(l.main, event{kind: evStart}, nil)
}

// emit has an event be counted, logged and told.
func (l *loop) emit(e Event) { l.events.emit(e) }

// reported tells of what delivery has to report.
func (l *loop) reported(e delivery.Event) {
	switch e := e.(type) {
	case delivery.Repeat:
		l.emit(Repeat{ID: e.ID, Count: 1})
	case delivery.Forgotten:
		l.emit(Forgotten{Messages: e.Messages})
	case delivery.Gap:
		l.emit(*gapOf(&e))
	}
}

// deliverReceived hands over what has been received and still waits, for its
// time or for its turn.
func (l *loop) deliverReceived() {
	for _, s := range l.connections() {
		s.takeAllParked(time.Now())
	}
	l.dedup.Reorder.Flush()
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

// connections are all there are, the main one first.
func (l *loop) connections() []*connection {
	all := []*connection{l.main}
	if l.next != nil {
		all = append(all, l.next)
	}
	return append(all, l.replaced...)
}

// all has an event happen to every connection.
func (l *loop) all(e event) {
	for _, s := range l.connections() {
		l.handle(s, e, nil)
	}
}

// connected tells a history since when it is connected, or that it is no more.
// Two connections can be of one history.
func (l *loop) connected(s *connection, before State) {
	switch after := s.status.state; {
	case after == before:
	case after == StateLive:
		s.history.Connected(time.Now())
	case before == StateLive && !slices.ContainsFunc(l.connections(), func(o *connection) bool { return o.history == s.history && o.status.state == StateLive }):
		s.history.Disconnected()
	}
}

// handle has decide decide about a connection, and does it.
func (l *loop) handle(s *connection, e event, cause error) {
	before := s.status
	var actions []action
	s.status, actions = decide(before, e)
	s.cause, s.delay = cause, 0
	l.connected(s, before.state)
	ready := false
	for _, a := range actions {
		if a.kind == actReady {
			ready = true
			continue
		}
		l.do(s, a)
	}
	after := s.status.state
	if after != before.state && after != StateLive && (before.state == StateLive || before.state == StateConnecting) {
		s.timers.disarm(timerStable, timerIdle, timerPong, timerHeartbeat, timerPinged, timerShortReplay, timerHang, timerKeepAlive)
		s.idle, s.mute = silence{}, silence{}
		s.answering = false
	}
	switch {
	case s == l.main:
		l.show(cause)
	case after == StateClosed:
		l.remove(s, cause)
	}
	if ready { // which other connections are told of
		l.established(s)
	}
}

// show tells the world where the main connection stands.
func (l *loop) show(cause error) {
	before, after := l.state.get(), l.main.standing()
	if after == StateDegraded && cause == nil {
		cause = l.main.unread.cause
	}
	switch {
	case after == before && (l.main.status.state != StateLive || l.main.transport() == l.lastTransport):
		return
	case after == StateClosed:
		if l.ctx.Err() == nil {
			cause = l.renewal.ended(cause)
			if l.main.config != nil && !l.reached && netfail.Hopeless(cause) {
				cause = advised(cause)
			}
		}
		l.err = cause
		l.events.flush()
	case after == StateLive:
		l.lastErrors.connecting(nil)
		l.scheduleReturn()
	case cause != nil:
		l.lastErrors.connecting(cause)
	}
	l.state.set(after)
	l.lastTransport = l.main.transport()
	change := StateChange{From: before, To: after, Attempt: l.main.status.attempt, Delay: l.main.delay, Transport: l.lastTransport, Cause: cause}
	l.emit(change)
}

// receive takes what a task has posted. What comes from an attempt that has
// been given up touches nothing.
func (l *loop) receive(in inbound) {
	if in.kind == inConfig {
		l.configured(in.config, in.err)
		return
	}
	if !in.attempt.up {
		return
	}
	switch in.kind {
	case inOpened:
		in.attempt.conn, in.attempt.line = in.conn, in.line
	case inWaits, inBegins:
		l.takesTurn(in.attempt, in.kind == inBegins, time.Now())
		return
	case inDown:
		l.deferrals.note(in.attempt, in.err, time.Now())
	}
	switch {
	case in.attempt.replay:
		l.receiveReplay(in)
	case in.attempt.poll:
		l.receivePoll(in)
	default:
		l.receiveSocket(in)
	}
}

// messages hands a batch to the history until the queue refuses one.
func (l *loop) messages(s *connection, read bool, batch *delivery.Batch, now time.Time, take func(delivery.Message, time.Time) bool) {
	full := false
	l.dedup.Together(func() {
		for i := range *batch {
			d := &(*batch)[i]
			if d.Err == nil {
				if full = !take(d.Message, now); full {
					return
				}
			} else if s.history.Undecodable(d.Message, read, now) {
				l.undecodable(d.Err)
			}
		}
	})
	batch.Recycle()
	if full {
		l.full()
	}
}

// full pauses everything: the queue is the same for all connections.
func (l *loop) full() {
	if l.main.status.state == StateLive {
		l.gap(GapPaused, nil)
	}
	l.waiting = nil
	for _, s := range l.connections() {
		l.abortReplay(s) // before any of them gives back what another one's replay has shown
	}
	for _, s := range l.connections() {
		s.parked, s.parkedSize = fifo.Queue[parkedLive]{}, 0 // replays bring it
		l.handle(s, event{kind: evFull}, nil)
	}
}

func (l *loop) undecodable(err error) { l.emit(Undecodable{Err: err, Count: 1}) }

// afterEvent begins a replay if so much has come, or so badly, that one is due,
// carries commands out, and sets the timer of the messages that wait. Such
// replays keep a distance: sooner they could not move the cursor anyway.
func (l *loop) afterEvent() {
	now := time.Now()
	l.offerCalls()
	if l.main.status.state != StateClosed {
		l.handleControl(now)
	}
	for _, s := range l.connections() {
		s.timers.disarm(timerFar)
		s.history.Prove(now)
		many, confirm := s.history.WantsReplay(), s.history.ConfirmAt
		if (many || s.garbled || !confirm.IsZero()) && s.status.replay == replayIdle && s.status.state == StateLive {
			far := s.replayBegan.Add(s.history.Settle)
			switch {
			case s.garbled:
			case many:
				far = s.replayBegan.Add(s.history.ReplaysApart())
			case far.Before(confirm):
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
	l.timers.arm(timerHold, l.dedup.Reorder.Expire(now))
	l.timers.arm(timerTell, l.events.notices.Next())
}

var (
	errHungUp  = errors.New("the connection was given up")
	errStuck   = errors.New("realtime: the connection is stuck: a ping was not answered")
	errStall   = errors.New("realtime: a replay has stalled")
	errEndless = errors.New("realtime: an answer does not come to its end")
)
