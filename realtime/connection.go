package realtime

import (
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/fifo"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// pollReplayEvery is how often the history is read from the cursor beside
	// polls.
	pollReplayEvery = 30 * time.Second
	// pollWithin is how long a poll may hang: servers hold it for 40 s.
	pollWithin = time.Minute
	// pollStableAfter is how long a poll has to hang, without an answer, for
	// polls to be trusted: longer than gateways wait that give up.
	pollStableAfter = 35 * time.Second
	// shortReplayAfter is how long a poll hangs before a short replay looks for
	// what was published while the server took it up: that is kept, and not
	// sent.
	shortReplayAfter = 500 * time.Millisecond
	// pollDistance is between polls that bring nothing.
	pollDistance = time.Second
	// pingDistance is between two pings of the server that replays follow: as
	// long as live messages wait for one.
	pingDistance = delivery.HoldMax
)

// connection is one config's channels and the connection to them, on the loop's
// side.
type connection struct {
	status      status
	config      *b24pull.Config
	endpoint    endpoint
	history     *delivery.History
	live        *attempt
	timers      deadlines
	replayBegan time.Time // when its last replay began
	garbled     bool      // a live frame could not be read to its end, since the last replay began
	cause       error     // of what is being done
	delay       time.Duration
	reason      RenewReason // why it takes the place of another
	lacks       bool        // the portal's config lacked a channel, and where a token names the channels it is not connected to it

	idle       silence   // of the websocket, either way
	mute       silence   // of what we send over it
	heardAt    time.Time // when something last came over the websocket
	answeredAt time.Time // when a replay last brought an answer of the server's
	firstDelay bool      // what has just failed calls for no longer delay than the first

	way    replayWay // how its history is read
	unread unread    // since when it cannot be

	believed   bool              // a poll has hung, or been answered, as those of a push server are
	strays     delivery.Strays   // of the present poll
	past       delivery.PastPoll // of the present poll
	hung       bool              // the present poll was not answered at once
	unanswered bool              // the last that hung to the end was not answered at all, and nothing has been since
	stale      int               // polls in a row that brought nothing but what was known
	hungAt     time.Time         // of the present poll
	hungFrom   wire.Mid
	hungNews   int       // what had come before it
	answering  bool      // it brings its answer
	answers    int       // messages of it
	polls      pace.Pace // of polls that bring news
	overtaken  pace.Pace // of those that a replay was faster than

	pinged time.Time // when the last ping of the server was taken that a replay follows

	parked     fifo.Queue[parkedLive] // live messages of replaced channels, for their time
	parkedSize int
}

// Live messages of channels that have been replaced wait for a moment: most of
// them come over the new connection as well, in the order of what else comes
// there, and the server gathers for each connection on its own.
const (
	parkFor        = time.Second
	maxParked      = 1024
	maxParkedBytes = 4 << 20
)

// parkedLive is a message that waits, and until when.
type parkedLive struct {
	message delivery.Message
	until   time.Time
}

// park takes a live message of a replaced channel.
func (l *loop) park(s *connection) func(delivery.Message, time.Time) bool {
	return func(m delivery.Message, now time.Time) bool {
		s.parked.Push(parkedLive{m, now.Add(parkFor)})
		s.parkedSize += m.Size
		if !s.timers.armed(timerParked) {
			s.timers.arm(timerParked, now.Add(parkFor))
		}
		for s.parked.Len() > maxParked || s.parkedSize > maxParkedBytes {
			if !s.history.Live(s.unpark(), now) {
				return false
			}
		}
		return true
	}
}

func (s *connection) unpark() delivery.Message {
	first, _ := s.parked.Pop()
	s.parkedSize -= first.message.Size
	return first.message
}

// takeParked takes the messages that have waited until now.
func (l *loop) takeParked(s *connection, now time.Time) {
	for s.parked.Len() > 0 && !s.parked.First().until.After(now) {
		if !s.history.Live(s.unpark(), now) {
			l.full()
			return
		}
	}
	if s.parked.Len() > 0 {
		s.timers.arm(timerParked, s.parked.First().until)
	}
}

// takeAllParked takes all that is parked, at the end.
func (s *connection) takeAllParked(now time.Time) {
	for s.parked.Len() > 0 {
		s.history.Lastly(s.unpark(), now)
	}
}

// taker is what takes the live messages of a connection.
func (l *loop) taker(s *connection) func(delivery.Message, time.Time) bool {
	if s.status.replaced {
		return l.park(s)
	}
	return s.history.Live
}

// standing is the state as the world sees it: decide knows nothing of how the
// history is read.
func (s *connection) standing() State {
	if s.status.state == StateLive && s.unread.lost() {
		return StateDegraded
	}
	return s.status.state
}

func (s *connection) transport() Transport {
	switch {
	case s.endpoint.server == "":
		return TransportAuto
	case s.status.polling:
		return TransportLongPolling
	default:
		return TransportWebSocket
	}
}

// watch sets the time by which the server should have pinged, or a poll should
// be followed by a replay.
func (s *connection) watch(now time.Time) {
	if s.status.polling {
		s.timers.arm(timerIdle, now.Add(pollReplayEvery))
		return
	}
	s.timers.arm(timerIdle, now.Add(idleAfter))
}

// do carries an action out.
func (l *loop) do(s *connection, a action) {
	now := time.Now()
	switch a.kind {
	case actFetch:
		s.timers.disarm(timerRetry)
		if a.stale && !a.suspect {
			l.renewal.refused.note(now)
		}
		if a.stale && l.renewal.reason == 0 {
			l.renewal.reason = RenewRefused
			if a.suspect {
				l.renewal.reason = RenewUnreachable
			}
		}
		l.fetch(!a.stale)
	case actDial:
		s.timers.disarm(timerRetry)
		l.dial(s, now)
	case actHangUp:
		switch {
		case a.stuck:
			s.live.hangUp(transport.CloseStuck)
		case s.status.replaced:
			s.live.leave(transport.CloseNormal)
		default:
			s.live.hangUp(transport.CloseNormal)
		}
	case actPing:
		l.ping(s, now)
		if !a.replayless {
			s.watch(now)
		}
	case actWait:
		l.wait(s, a, now)
	case actHold:
		if !l.replaysLater(s, now) {
			l.dedup.Reorder.Hold()
		}
	case actRelease:
		l.dedup.Reorder.Release()
	case actReplay:
		l.beginReplay(replayRequest{connection: s, short: a.short}, now)
	case actReplayWait:
		delay := replayBackoff(a.attempt)
		if classify(s.cause) == failCrowded {
			delay = spread(crowdedDelay)
		}
		s.timers.arm(timerReplayRetry, now.Add(reserve(delay, s.cause)))
		if retryAfter(s.cause) > 0 {
			l.dedup.Reorder.Release()
		}
	case actAbortReplay:
		s.timers.disarm(timerReplayRetry)
		l.abortReplay(s)
	case actGiveBack:
		l.dedup.GiveBack()
	}
}

// wait starts the delay before the next attempt.
func (l *loop) wait(s *connection, a action, now time.Time) {
	if a.crowded {
		s.delay = reserve(spread(crowdedDelay), s.cause)
	} else {
		attempt := a.attempt
		if s.firstDelay {
			attempt, s.firstDelay = 1, false
		}
		s.delay = reserve(l.opts.backoff(attempt), s.cause)
		if a.unset {
			s.delay = max(s.delay, l.renewal.putOff(now))
		}
	}
	s.timers.arm(timerRetry, now.Add(s.delay))
}

// dial opens the live connection, or begins another poll.
func (l *loop) dial(s *connection, now time.Time) {
	s.live.hangUp(transport.CloseNormal)
	if until := l.deferrals.until(s, s.status.polling); s.status.state == StateConnecting && now.Before(until) {
		s.timers.arm(timerHang, until)
		return
	}
	l.dedup.Reorder.Sorted = l.main.status.polling
	s.history.Hangs = s.status.polling
	if s.status.polling {
		s.hungAt, s.hungFrom, s.hungNews, s.answers = now, s.history.Highest, s.history.News, 0
		s.strays, s.past, s.hung = delivery.Strays{}, delivery.PastPoll{}, false
		s.timers.arm(timerPong, now.Add(pollWithin))
		s.timers.disarm(timerShortReplay)
		s.live = l.connect(&attempt{connection: s, poll: true}, l.poll, s.endpoint.after(s.endpoint.poll, s.hungFrom))
		return
	}
	s.live = l.connect(&attempt{connection: s}, l.socket, s.endpoint.socket)
}

func (l *loop) receiveSocket(in inbound) {
	s, now := in.attempt.connection, time.Now()
	if in.kind != inDown {
		l.heard(s, in.kind, now)
	}
	switch in.kind {
	case inOpened:
		l.refusals = 0
		l.keepAlive(s, now)
		s.timers.arm(timerStable, now.Add(stableAfter))
		s.watch(now)
		l.opened(s)
	case inPing:
		s.watch(now)
		l.pinged(s, now)
	case inPong:
		l.handle(s, event{kind: evPong}, nil)
		s.timers.disarm(timerPong)
		if s.status.pings > 0 {
			s.timers.arm(timerPong, now.Add(pongWithin))
		}
	case inHeartbeat:
		s.timers.arm(timerHeartbeat, now.Add(heartbeatWithin))
	case inMessages:
		l.messages(s, false, in.batch, now, l.taker(s))
	case inGarbled:
		l.undecodable(in.err)
		s.garbled = true
	case inDown:
		s.live.hangUp(transport.CloseNormal)
		why := l.failureOf(in.err, false)
		if isPage(in.err) {
			s.history.Deceive(now)
		}
		l.broken(s, why, now)
		l.handle(s, event{kind: evLost, failure: why}, in.err)
	}
}

// opened: a connection stands. It has a replay follow, whatever the pace of
// replays: connections have one of their own.
func (l *loop) opened(s *connection) {
	l.replayPace, l.reached = replayPace, true
	l.handle(s, event{kind: evOpened}, nil)
}

// pinged: the server has pinged. One replay follows all the pings of a while,
// after the last.
func (l *loop) pinged(s *connection, now time.Time) {
	if next := s.pinged.Add(pingDistance); now.Before(next) {
		s.timers.arm(timerPinged, next)
		if !l.replaysLater(s, now) {
			l.dedup.Reorder.Hold()
		}
		return
	}
	s.pinged = now
	l.handle(s, event{kind: evPing}, nil)
}
