package realtime

import (
	"context"
	"crypto/x509"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// movable is a source whose config can be exchanged.
type movable struct {
	at atomic.Pointer[b24pull.Client]
}

func (m *movable) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	return m.at.Load().GetApplicationConfig(ctx, cache)
}

// trusting is a client that trusts several portals.
func trusting(portals ...*pulltest.Portal) *http.Client {
	roots := x509.NewCertPool()
	for _, p := range portals {
		roots.AddCert(p.Certificate())
	}
	transport := portals[0].HTTPClient().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = roots
	return &http.Client{Transport: transport}
}

// TestUnreachable_ServerMoves: a server that is gone is not connected to for
// ever: another config is asked for.
func TestUnreachable_ServerMoves(t *testing.T) {
	t.Parallel()
	for _, transport := range []Transport{TransportAuto, TransportWebSocket, TransportLongPolling} {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				next := pulltest.NewPortal(pulltest.WithNetwork(l.network))
				t.Cleanup(next.Close)
				both := trusting(l.portal, next)
				t.Cleanup(both.CloseIdleConnections)
				source := new(movable)
				source.at.Store(client(t, l.portal))
				l.subscribe(source, WithTransport(transport), WithHTTPClient(both))
				l.run(nil)
				<-l.sub.Ready()
				time.Sleep(time.Minute)
				source.at.Store(client(t, next))
				l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(http.StatusNotFound))
				l.portal.Cut()
				time.Sleep(5 * time.Minute)
				if s := l.sub.State(); s != StateLive {

					t.Fatalf("the state is %v", s)
				}
				next.Emit(pulltest.Message{Command: "here"})
				time.Sleep(5 * time.Second)
				l.want("here")
				if r := lifeEvents[Renewal](l); len(r) != 1 || r[0] != (Renewal{Reason: RenewUnreachable, Changed: true, Count: 1}) {
					t.Errorf("renewals %+v", r)
				}
			})
		})
	}
}

// TestUnreachable_ServerComesBack: where the portal does not answer either, or
// has no other config, the present one is used on.
func TestUnreachable_ServerComesBack(t *testing.T) {
	t.Parallel()
	begin := map[string]func(l *life){
		"the portal does not answer": func(l *life) { l.subscribe(nil) },
		"there is no other config":   func(l *life) { l.fixed() },
	}
	for name, begin := range begin {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				begin(l)
				l.run(nil)
				<-l.sub.Ready()
				l.tickFor(time.Minute, 5*time.Second)
				l.portal.Misbehave(pulltest.REST|pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
				l.portal.Cut()
				l.tickFor(30*time.Minute, 5*time.Second)
				l.portal.Behave(pulltest.WebSockets | pulltest.Polls)
				l.tickFor(2*time.Minute, 5*time.Second)
				time.Sleep(5 * time.Second)
				if s := l.sub.State(); s != StateLive {
					t.Errorf("the state is %v", s)
				}
				l.wantTicks()
				if r := lifeEvents[Renewal](l); len(r) > 0 {
					t.Errorf("renewals %+v", r)
				}
			})
		})
	}
}

// TestUnreachable_PollsHiccup: where websockets do not get through, polls that
// fail for a moment are back at once.
func TestUnreachable_PollsHiccup(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.fallBack()
		time.Sleep(2 * time.Minute)
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.Cut()
		time.Sleep(4 * time.Second) // two polls have failed
		l.portal.Behave(pulltest.Polls)
		l.tickFor(45*time.Second, time.Second)
		if s := l.sub.State(); s != StateLive || l.shown() != TransportLongPolling {
			t.Errorf("it is %v by %v", s, l.shown())
		}
		time.Sleep(5 * time.Second)
		l.wantTicks()
	})
}
