package realtime

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// shown is the transport as the state changes have told it.
func (l *life) shown() Transport {
	changes := lifeEvents[StateChange](l)
	return changes[len(changes)-1].Transport
}

const failures = 5 // of websockets, before long polling is tried

// fallBack makes websockets fail until long polling stands in for them.
func (l *life) fallBack(portal ...pulltest.Option) {
	l.t.Helper()
	l.start(portal)
	time.Sleep(time.Minute)
	l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway)
	l.portal.CutWebSockets()
	l.tickFor(3*time.Minute, 5*time.Second) // 0.5 + 5 + 25 + 45 + 60 s
	if s := l.sub.State(); s != StateLive || l.shown() != TransportLongPolling {
		l.t.Fatalf("after three minutes it is %v by %v", s, l.shown())
	}
}

// TestTransports_FallsBackToPolling: after five failures, not before; nothing
// is lost on the way.
func TestTransports_FallsBackToPolling(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.fallBack(pulltest.WithVersion(version))
		for _, c := range l.changes(StateWaiting) {
			want := TransportWebSocket
			if c.Attempt >= failures {
				want = TransportLongPolling
			}
			if c.Transport != want {
				t.Errorf("attempt %d by %v", c.Attempt+1, c.Transport)
			}
		}
		if waits := l.changes(StateWaiting); len(waits) != failures {
			t.Errorf("%d failures", len(waits))
		}
		l.tickFor(5*time.Minute, 5*time.Second)
		l.wantTicks()
	})
}

// TestTransports_ReturnsToWebSocket: 10 to 30 minutes later, beside the polls;
// a websocket that does not last changes nothing.
func TestTransports_ReturnsToWebSocket(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.fallBack(pulltest.WithVersion(version))
		before := l.portal.Stats().WebSockets
		states := countEvents[StateChange](l)
		l.portal.Behave(pulltest.WebSockets)

		began := time.Now() // at most three minutes later
		for l.portal.Stats().WebSockets == before {
			if time.Since(began) > 31*time.Minute {
				t.Fatal("websockets are not tried again")
			}
			l.tick()
			time.Sleep(5 * time.Second)
		}
		if took := time.Since(began); took < 7*time.Minute {
			t.Errorf("tried again after %v", took)
		}
		time.Sleep(3 * time.Second)
		l.portal.CutWebSockets()
		l.tickFor(9*time.Minute, 5*time.Second)
		if n := countEvents[StateChange](l) - states; n > 0 || l.portal.Stats().WebSockets != before+1 {
			t.Errorf("a trial that fails makes %d state changes and %d websockets", n, l.portal.Stats().WebSockets-before)
		}
		l.tickFor(23*time.Minute, shorter(5*time.Second, 15*time.Second))
		if s := l.sub.State(); s != StateLive || l.shown() != TransportWebSocket || l.portal.Stats().WebSockets != before+2 {
			t.Errorf("half an hour later it is %v by %v", s, l.shown())
		}
		changes := lifeEvents[StateChange](l)
		if last := changes[len(changes)-1]; last.From != StateLive || last.To != StateLive || last.Cause != nil {
			t.Errorf("the return is told as %+v", last)
		}
		polls := l.portal.Stats().Polls
		l.tickFor(100*time.Second, time.Second)
		if n := l.portal.Stats().Polls - polls; n > 3 { // the replays after pings, in tag versions by timer
			t.Errorf("%d polls beside a websocket", n)
		}
		if len(l.changes(StateWaiting)) != failures {
			t.Error("the connection was lost on the way back")
		}
		l.wantTicks()
	})
}

// TestTransports_PollingFailsToo: where neither works, both are tried, and
// whichever works first is used.
func TestTransports_PollingFailsToo(t *testing.T) {
	t.Parallel()
	for _, works := range both {
		t.Run(works.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(nil)
				time.Sleep(time.Minute)
				l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
				l.portal.Cut()
				l.tickFor(15*time.Minute, time.Second)
				tried := map[Transport]int{}
				for _, c := range l.changes(StateConnecting) {
					tried[c.Transport]++
				}
				if tried[TransportWebSocket] < 5 || tried[TransportLongPolling] < 4 {
					t.Errorf("tried %v", tried)
				}
				service := pulltest.WebSockets
				if works == TransportLongPolling {
					service = pulltest.Polls
				}
				l.portal.Behave(service)
				l.tickFor(5*time.Minute, time.Second)
				if s := l.sub.State(); s != StateLive || l.shown() != works {
					t.Errorf("it is %v by %v", s, l.shown())
				}
				l.portal.Behave(pulltest.Polls)
				time.Sleep(5 * time.Minute)
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 { // without polls there are no replays, so there is no order
					t.Errorf("lost %d, repeated %d", lost, repeated)
				}
			})
		})
	}
}

// TestTransports_ForcedTransport: what the user wants is used and nothing else,
// however it fails.
func TestTransports_ForcedTransport(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				service := pulltest.WebSockets
				if transport == TransportLongPolling {
					service = pulltest.Polls
				}
				l.start(nil, WithTransport(transport))
				time.Sleep(time.Minute)
				l.portal.Misbehave(service, pulltest.BadGateway)
				l.portal.Cut()
				time.Sleep(20 * time.Minute)
				l.portal.Behave(service)
				time.Sleep(time.Hour)
				synctest.Wait()
				for _, c := range lifeEvents[StateChange](l) {
					if c.From != StateIdle && c.From != StateConfiguring && c.Transport != transport {
						t.Errorf("from %v to %v by %v", c.From, c.To, c.Transport)
					}
				}
				s := l.portal.Stats()
				if s := l.sub.State(); s != StateLive {
					t.Errorf("state is %v", s)
				}
				if transport == TransportLongPolling && s.WebSockets > 0 {
					t.Errorf("%d websockets", s.WebSockets)
				}
			})
		})
	}
}
