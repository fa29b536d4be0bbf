package realtime

import (
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// trouble makes one of the things happen that happen to a subscription.
func (s *storm) trouble() {
	p := s.portal
	switch s.random.IntN(8) {
	case 0:
		p.CutWebSockets()
	case 1:
		p.CutPolls()
	case 2, 3:
		p.Ping()
	case 4:
		if s.restarts {
			s.restart()
			return
		}
		p.Cut()
	case 5:
		if s.replaces {
			s.replace()
			return
		}
		p.Cut()
	default:
		if s.harsh {
			s.fault()
			return
		}
		p.Cut()
	}
}

// fault is trouble that leaves the order of messages in doubt.
func (s *storm) fault() {
	p := s.portal
	switch s.random.IntN(6) {
	case 0:
		p.Silence(s.random.IntN(s.processes), s.upTo(20*time.Second))
	case 1:
		codes := []int{1000, 1001, 1011, 3000, 4010, 4011, 4016, 4019, 4029}
		p.CloseWebSockets(codes[s.random.IntN(len(codes))], "")
	case 2:
		s.network.SetLatency(s.upTo(2 * time.Second))
		time.AfterFunc(s.upTo(20*time.Second), func() { s.network.SetLatency(20 * time.Millisecond) })
	case 3:
		if s.chance(2) {
			p.ExpireConfig()
		} else {
			p.RestartServer(s.upTo(20 * time.Second))
		}
	default:
		s.misbehave()
	}
}

// misbehave has one of the portal's services fail for a while.
func (s *storm) misbehave() {
	service := pulltest.Service(1 << s.random.IntN(3))
	faults := []pulltest.Fault{
		pulltest.BadGateway, pulltest.Stall, pulltest.GarbleFrame, pulltest.Refuse(503), pulltest.Refuse(429),
		pulltest.Delay(s.upTo(20 * time.Second)),
	}
	if service == pulltest.Polls {
		faults = append(faults, pulltest.WebPage, pulltest.LoginForm, pulltest.ForeignJSON, pulltest.EmptyAnswer, pulltest.InstantNotModified,
			pulltest.Compressed("gzip"), pulltest.Compressed("br"))
	}
	if service == pulltest.WebSockets && s.polls { // else they are the history, which cannot be refused or damaged without loss
		faults = append(faults, pulltest.Refuse(400), pulltest.Garble)
	}
	s.portal.Misbehave(service, faults[s.random.IntN(len(faults))])
	time.AfterFunc(s.upTo(20*time.Second), func() { s.portal.Behave(service) })
}

// restart stops the subscription at one of the next messages; another one goes
// on.
func (s *storm) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopAt = s.handled + s.random.IntN(20)
}

// replace puts a new channel in the place of one.
func (s *storm) replace() {
	s.mu.Lock()
	renewed := s.renewed
	s.mu.Unlock()
	if !s.replaced.IsZero() && (renewed == s.known || time.Since(s.replaced) < time.Minute) {
		return // else there would be channels that the subscription has never known
	}
	s.known, s.replaced, s.old = renewed, time.Now(), pulltest.Target(s.random.IntN(2))
	switch s.random.IntN(3) {
	case 0:
		s.portal.ReplaceChannel(s.old)
		s.portal.ExpireConfig() // the other channel tells
	case 1:
		s.portal.ExpireChannel(s.old, "reconnect")
	default:
		s.portal.ExpireChannel(s.old, "get_config")
	}
}
