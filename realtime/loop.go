package realtime

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
)

const (
	provedAfter  = 10 * time.Second  // a connection that lasted this long starts the delays afresh
	quietAfter   = 150 * time.Second // the server pings every 120 s
	pongWithin   = 20 * time.Second
	readSent     = 20 * time.Second // for a read to reach the server
	readStall    = 20 * time.Second // without a byte of its answer
	manyMessages = 1000             // that make another read due
)

// loop carries out what decide wants, in one goroutine. It alone touches the session, the timers and the
// links; all that happens elsewhere comes to it through its inbox.
type loop struct {
	source  ConfigSource
	socket  transport
	poll    transport
	backoff func(attempt int) time.Duration
	observe func(Event)
	log     *slog.Logger
	queue   *queue
	state   *stateBox
	ready   chan struct{}

	ctx     context.Context
	inbox   chan inbound
	tasks   sync.WaitGroup
	status  status
	err     error // why it ends
	trouble error // why it is not connected

	endpoint endpoint
	session  *session
	links    [roles]*link
	timers   timers
	readFrom time.Time // when the last read began
	silent   int       // reads in a row without an answer
	garbled  bool      // a live frame could not be read to its end, since the last read began
	cause    error     // of the coming state change
	delay    time.Duration
}

// run lives until the subscription is over and returns why. When it returns, everything it has started has
// stopped.
func (l *loop) run(ctx context.Context, from Cursor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.tasks.Wait()
	defer cancel()
	l.ctx = ctx
	l.inbox = make(chan inbound)
	l.session = newSession(from, l.queue, time.Now(), l.observe)
	l.status.anchored = l.session.anchored
	l.timers.init()
	defer l.timers.stop()

	l.handle(event{kind: evStart}, nil)
	for l.status.state != StateClosed {
		select {
		case in := <-l.inbox:
			l.receive(in)
		case <-l.queue.room:
			l.handle(event{kind: evRoom}, nil)
		case <-l.timers.c():
			l.expire()
		case <-ctx.Done():
			l.handle(event{kind: evStop}, stopCause(ctx))
		}
		l.afterEvent()
	}
	return l.err
}

// stopCause is what went wrong, nil if the user wanted no more.
func stopCause(ctx context.Context) error {
	switch cause := context.Cause(ctx); cause {
	case errClosed, errLeft:
		return nil
	default:
		return cause
	}
}

// handle has decide decide, and does it.
func (l *loop) handle(e event, cause error) {
	before := l.status
	var actions []action
	l.status, actions = decide(before, e)
	l.cause, l.delay = cause, 0
	for _, a := range actions {
		l.do(a)
	}
	after := l.status.state
	if after == before.state {
		return
	}
	if before.state == StateLive || before.state == StateConnecting {
		if after != StateLive {
			l.timers.disarm(timerProved, timerQuiet, timerPong)
		}
	}
	switch {
	case after == StateClosed:
		l.err = cause
	case after == StateLive:
		l.trouble = nil
	case cause != nil:
		l.trouble = cause
	}
	l.state.set(after)
	change := StateChange{From: before.state, To: after, Attempt: l.status.attempt, Delay: l.delay, Cause: cause}
	l.logChange(change)
	l.observe(change)
}

func (l *loop) do(a action) {
	now := time.Now()
	switch a {
	case doFetch:
		l.fetch(!l.status.stale)
	case doDial:
		l.timers.disarm(timerRetry)
		l.connect(roleLive, l.socket, l.endpoint.socket)
	case doHangUp:
		l.links[roleLive].hangUp(closeNormal)
	case doDrop:
		l.links[roleLive].hangUp(closeStuck)
	case doPing:
		l.links[roleLive].ping()
		l.timers.arm(timerPong, now.Add(pongWithin))
		l.timers.arm(timerQuiet, now.Add(quietAfter))
	case doWait:
		l.delay = l.backoff(l.status.attempt)
		l.timers.arm(timerRetry, now.Add(l.delay))
	case doWaitLong:
		l.delay = spread(crowdedDelay)
		l.timers.arm(timerRetry, now.Add(l.delay))
	case doHold:
		l.session.order.hold()
	case doRelease:
		l.session.order.release()
	case doRead:
		l.read(now)
	case doReadWait:
		delay := readBackoff(l.status.readAttempt)
		if classify(l.cause) == failCrowded {
			delay = spread(crowdedDelay)
		}
		l.timers.arm(timerReadRetry, now.Add(delay))
	case doAbortRead:
		l.timers.disarm(timerReadRetry)
		l.abortRead()
	case doGiveBack:
		l.session.giveBack()
	case doReady:
		close(l.ready)
	}
}

func (l *loop) fetch(cache bool) {
	l.timers.disarm(timerRetry)
	l.tasks.Go(func() {
		cfg, err := l.source.GetApplicationConfig(l.ctx, cache)
		l.post(inbound{kind: inConfig, config: cfg, err: err})
	})
}

func (l *loop) configured(cfg *b24pull.Config, err error) {
	var ep endpoint
	if err == nil {
		ep, err = newEndpoint(cfg)
	}
	if err != nil {
		l.handle(event{kind: evConfigFailed, failure: classify(err)}, err)
		return
	}
	l.endpoint = ep
	l.handle(event{kind: evConfig}, nil)
}

// read begins a read.
func (l *loop) read(now time.Time) {
	l.readFrom, l.garbled = now, false
	after := l.session.beginRead(now, l.endpoint.poll.url)
	l.timers.arm(timerRead, now.Add(readSent))
	l.connect(roleRead, l.poll, l.endpoint.poll.after(after))
}

// abortRead breaks off the read that is under way, if any.
func (l *loop) abortRead() {
	l.timers.disarm(timerRead)
	if l.links[roleRead].isUp() {
		l.links[roleRead].hangUp(closeNormal)
		l.session.endRead(readBroken, true, time.Now())
	}
}

// receive takes what a task has posted. What comes from a link that has been replaced or closed touches
// nothing.
func (l *loop) receive(in inbound) {
	if in.kind == inConfig {
		l.configured(in.config, in.err)
		return
	}
	link := l.links[in.role]
	if !link.isUp() || link.generation != in.generation {
		return
	}
	if in.kind == inOpened {
		link.conn = in.conn
	}
	if in.role == roleRead {
		l.receiveRead(in)
		return
	}
	l.receiveLive(in)
}

func (l *loop) receiveLive(in inbound) {
	now := time.Now()
	switch in.kind {
	case inOpened:
		l.timers.arm(timerProved, now.Add(provedAfter))
		l.timers.arm(timerQuiet, now.Add(quietAfter))
		l.handle(event{kind: evOpened}, nil)
	case inPing:
		l.handle(event{kind: evPing}, nil)
	case inPong:
		l.handle(event{kind: evPong}, nil)
		if l.status.pings == 0 {
			l.timers.disarm(timerPong)
		}
	case inMessages:
		l.messages(in.batch, now, l.session.live)
	case inGarbled:
		l.undecodable(in.err)
		l.garbled = true
	case inDown:
		l.links[roleLive].hangUp(closeNormal)
		l.handle(event{kind: evLost, failure: classify(in.err)}, in.err)
	}
}

func (l *loop) receiveRead(in inbound) {
	now := time.Now()
	switch in.kind {
	case inSent:
		l.links[roleRead].sent = true
		l.timers.arm(timerRead, now.Add(l.session.readPatience()))
	case inOpened:
		l.silent = 0
		l.timers.arm(timerRead, now.Add(readStall))
	case inProgress:
		l.timers.arm(timerRead, now.Add(readStall))
	case inMessages:
		l.messages(in.batch, now, l.session.history)
	case inGarbled:
		l.undecodable(in.err)
		l.readOver(readBroken, in.err)
	case inDown:
		switch {
		case in.err == io.EOF && !l.session.endAnswer(now):
			l.handle(event{kind: evFull}, nil)
		case in.err == io.EOF:
			l.readOver(readEnded, nil)
		case errors.Is(in.err, errSilent):
			l.readOver(readSilent, nil)
		default:
			l.readOver(readBroken, in.err)
		}
	}
}

// readOver closes the read and decides what comes after.
func (l *loop) readOver(how readOutcome, cause error) {
	l.timers.disarm(timerRead)
	l.links[roleRead].hangUp(closeNormal)
	owed := l.status.due || l.status.pings > 0
	result, again := l.session.endRead(how, owed, time.Now())
	result.Err = cause
	l.logRead(result)
	l.observe(result)
	if how == readBroken {
		l.handle(event{kind: evReadBroken, failure: classify(cause)}, cause)
		return
	}
	l.handle(event{kind: evReadEnded, again: again}, nil)
}

// messages hands a batch to the session until the queue refuses one.
func (l *loop) messages(batch *[]decoded, now time.Time, take func(Message, time.Time) bool) {
	for _, d := range *batch {
		if d.err != nil {
			if l.session.undecodable(d.message, now) {
				l.undecodable(d.err)
			}
			continue
		}
		if !take(d.message, now) {
			l.handle(event{kind: evFull}, nil)
			break
		}
	}
	recycle(batch)
}

func (l *loop) undecodable(err error) {
	l.log.Warn("undecodable", "err", err)
	l.observe(Undecodable{Err: err})
}

// afterEvent begins a read if so much has come, or so badly, that one is due, and sets the timer of the messages
// that wait. Such reads keep a distance: sooner they could not move the cursor anyway.
func (l *loop) afterEvent() {
	now := time.Now()
	l.timers.disarm(timerFar)
	many := l.session.since >= manyMessages
	if (many || l.garbled) && l.status.read == readIdle && l.status.state == StateLive {
		far := l.readFrom.Add(l.session.settle)
		switch {
		case now.Before(far):
			l.timers.arm(timerFar, far)
		case many:
			l.handle(event{kind: evMany}, nil)
		default:
			l.handle(event{kind: evGarbled}, nil)
		}
	}
	l.timers.arm(timerHold, l.session.order.expire(now))
}

// expire handles the timers that are due.
func (l *loop) expire() {
	now := time.Now()
	if l.timers.due(timerProved, now) {
		l.handle(event{kind: evProved}, nil)
	}
	if l.timers.due(timerQuiet, now) {
		l.handle(event{kind: evQuiet}, nil)
	}
	if l.timers.due(timerPong, now) {
		l.handle(event{kind: evStuck}, errStuck)
	}
	if l.timers.due(timerRetry, now) {
		l.handle(event{kind: evRetry}, nil)
	}
	if l.timers.due(timerReadRetry, now) {
		l.handle(event{kind: evReadRetry}, nil)
	}
	if l.timers.due(timerRead, now) {
		l.readTimeout()
	}
}

// readTimeout: a read that the server has but does not answer has nothing to read. From a cursor there should
// be, so there the answer must stay out repeatedly. Any other read has stalled.
func (l *loop) readTimeout() {
	link := l.links[roleRead]
	if !link.sent || link.conn != nil {
		l.readOver(readBroken, errStall)
		return
	}
	if l.silent++; l.silent < patience && !l.session.chain.from.isZero() {
		l.readOver(readBroken, errNoAnswer)
		return
	}
	l.silent = 0
	l.readOver(readSilent, nil)
}

var (
	errStuck    = errors.New("realtime: the connection is stuck: a ping was not answered")
	errStall    = errors.New("realtime: a read has stalled")
	errNoAnswer = errors.New("realtime: a read was not answered")
)
