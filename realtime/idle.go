package realtime

import (
	"errors"
	"net/http"
	"time"
)

const (
	// idleCuts is how many connections in a row have to be cut while idle, at
	// about the same age of silence, for a middle box to be suspected that ends
	// what is idle.
	idleCuts = 3
	// idleLeast is the shortest silence that a cut is put down to. Of polls it
	// is longer: a server that is down fails them after some seconds as well,
	// and is not to be asked again at once.
	idleLeast     = 4 * time.Second
	idleLeastPoll = 10 * time.Second
	// idleRow is how long ago the last such cut may be for another to be one in
	// a row.
	idleRow = time.Hour
	// idleMemory is how long pings of our own go on before it is tried whether
	// they are still needed. Then one more cut at that age is enough.
	idleMemory = 24 * time.Hour
	// adaptive stands for a ping interval that the user has not set.
	adaptive time.Duration = -1
)

// idling learns from connections that are cut how long they may be silent.
// Middle boxes end what is idle for longer: nginx after 60 s, if nobody has
// told it otherwise.
type idling struct {
	age      time.Duration // of silence, at which the last connections were cut
	cuts     int           // so many in a row
	last     time.Time     // when the last of them was
	interval time.Duration // of pings that keep the silence shorter; 0: none are needed
	learned  time.Time     // when that was found
}

// cut notes that a connection broke off after some silence, and returns how
// many did so in a row at about this age.
func (i *idling) cut(silence time.Duration, now time.Time) int {
	switch {
	case silence < idleLeast:
		return 0
	case alike(silence, i.age) && now.Sub(i.last) <= idleRow:
		i.cuts++
		i.age = min(i.age, silence)
	default:
		i.age, i.cuts = silence, 1
	}
	i.last = now
	if i.cuts >= idleCuts {
		i.interval, i.learned = i.age*2/3, now
	}
	return i.cuts
}

// alike reports whether two silences are about as long.
func alike(a, b time.Duration) bool { return (a - b).Abs() <= max(2*time.Second, b/10) }

// survived notes that a connection was silent for some time and went on: what
// was cut well before that age was not cut for being idle.
func (i *idling) survived(silence time.Duration) {
	if i.cuts > 0 && silence > i.age+i.age/5 {
		i.age, i.cuts = 0, 0
	}
}

// every is how often to ping; 0: not at all.
func (i *idling) every(now time.Time) time.Duration {
	if i.interval > 0 && now.Sub(i.learned) >= idleMemory {
		i.interval, i.cuts, i.last = 0, idleCuts-1, now
	}
	return i.interval
}

// silence is how long a websocket has been silent.
type silence struct {
	since time.Time     // zero: there is no websocket
	asked time.Duration // how long it was before the ping that is not answered yet
}

// sends notes that such a ping goes out.
func (s *silence) sends(now time.Time) { s.asked = now.Sub(s.since) }

// longest is how long it has been silent and was still there when something
// came.
func (s *silence) longest(now time.Time) time.Duration {
	if s.since.IsZero() {
		return 0
	}
	return max(s.asked, now.Sub(s.since))
}

// keepAlive sets the time of the next ping of our own.
func (l *loop) keepAlive(s *connection, now time.Time) {
	every := l.opts.pingInterval
	if every == adaptive {
		every = l.idling.every(now)
		if muted := l.muted.every(now); every == 0 || muted > 0 && muted < every {
			every = muted
		}
	}
	s.timers.disarm(timerKeepAlive)
	if every > 0 {
		s.timers.arm(timerKeepAlive, now.Add(every))
	}
}

// ping sends a ping of our own.
func (l *loop) ping(s *connection, now time.Time) {
	s.live.ping()
	if !s.timers.armed(timerPong) {
		s.timers.arm(timerPong, now.Add(pongWithin))
		s.idle.sends(now)
		s.mute.sends(now)
	}
	s.idle.since, s.mute.since = now, now
	l.keepAlive(s, now)
}

// heard notes that something has come over a websocket, and whether it was
// answered.
func (l *loop) heard(s *connection, kind inboundKind, now time.Time) {
	l.idling.survived(s.idle.longest(now))
	l.muted.survived(s.mute.longest(now))
	s.idle = silence{since: now}
	s.mute.asked, s.heardAt = 0, now
	if kind == inOpened || kind == inPing || kind == inHeartbeat || kind == inMessages && s.endpoint.socket.RPC {
		s.mute.since = now
	}
}

// broken notes that a websocket broke off.
func (l *loop) broken(s *connection, why failure, now time.Time) {
	if s.status.state == StateLive && why == failPassing {
		l.idling.cut(now.Sub(s.idle.since), now)
		l.muted.cut(now.Sub(s.mute.since), now)
	}
}

// unanswered notes that a ping was not answered: some middle boxes do not tell
// that they have forgotten a connection.
func (l *loop) unanswered(s *connection, now time.Time) {
	if s.status.state == StateLive && !s.status.polling {
		l.idling.cut(s.idle.asked, now)
		l.muted.cut(s.mute.asked, now)
	}
}

// idlePoll looks whether a poll that has failed was ended by a middle box
// because nothing was sent over it: such failures come again and again at the
// same age. If the server has answered a replay meanwhile, that is no failure
// at all; or else it is none that calls for a longer delay each time.
func (l *loop) idlePoll(s *connection, err error, now time.Time) (harmless bool) {
	s.firstDelay = false
	hung := now.Sub(s.hungAt)
	if s.status.state != StateLive || s.answering || hung < idleLeastPoll || !mayBeIdle(err) {
		return false
	}
	s.firstDelay = l.idlePolls.cut(hung, now) > 1
	return s.firstDelay && s.answeredAt.After(s.hungAt)
}

// mayBeIdle reports whether an error is what a middle box may make of a poll
// that is silent for too long.
func mayBeIdle(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return classify(err) == failPassing
}
