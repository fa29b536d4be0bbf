package realtime

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// fixed subscribes to a config that was obtained before.
func (l *life) fixed(opts ...Option) {
	l.t.Helper()
	cfg, err := client(l.t, l.portal).GetApplicationConfig(l.t.Context(), true)
	if err != nil {
		l.t.Fatal(err)
	}
	l.subscribe(FromConfig(cfg), append(opts, WithHTTPClient(l.portal.HTTPClient()))...)
}

// TestFixed_ConfigEnds: at its end, not before, and when all that was sent
// until then has been read.
func TestFixed_ConfigEnds(t *testing.T) {
	t.Parallel()
	faults := map[string]func(l *life){
		"undisturbed":    func(*life) {},
		"in a ping hole": func(l *life) { l.network.SetLatency(3 * time.Second); l.portal.Ping() },
		"cut":            func(l *life) { l.portal.Cut() },
		"cut for long":   func(l *life) { l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway); l.portal.Cut() },
	}
	for name, happens := range faults {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(pulltest.WithChannelLife(time.Hour))
				began := time.Now()
				l.fixed()
				l.run(nil)
				<-l.sub.Ready()
				l.tickFor(59*time.Minute, 10*time.Second)
				time.Sleep(time.Hour - time.Since(began) - time.Second)
				if s := l.sub.State(); s != StateLive {
					t.Fatalf("before its end the state is %v", s)
				}
				happens(l)
				l.tick()
				l.tick()
				<-l.done
				if took := time.Since(began); took < time.Hour || took > time.Hour+20*time.Second {
					t.Errorf("ended after %v", took)
				}
				l.ended(ErrConfigExpired)
				l.wantTicks()
			})
		})
	}
}

// TestFixed_ConfigPastItsEnd: one that has ended is tried, in case a clock is
// wrong, and ends soon.
func TestFixed_ConfigPastItsEnd(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithChannelLife(time.Hour))
		l.fixed()
		time.Sleep(2 * time.Hour)
		began := time.Now()
		l.run(nil)
		<-l.done
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("ended after %v", took)
		}
		l.ended(ErrConfigExpired)
	})
}

// TestFixed_ConfigCannotBeRead: where the end of a fixed config is refused, as
// with a token that has expired, or cannot be reached, that is told with the
// error.
func TestFixed_ConfigCannotBeRead(t *testing.T) {
	t.Parallel()
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithVersion(5), pulltest.WithTokenLife(time.Hour))
		l.fixed()
		l.run(nil)
		<-l.sub.Ready()
		<-l.done
		l.ended(ErrConfigExpired)
	})
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithChannelLife(time.Hour))
		l.fixed()
		l.run(nil)
		<-l.sub.Ready()
		l.portal.Misbehave(pulltest.Polls|pulltest.WebSockets, pulltest.BadGateway)
		<-l.done
		l.ended(ErrConfigExpired)
		var status *StatusError
		if !errors.As(l.err, &status) || status.Status != http.StatusBadGateway {
			t.Errorf("Run returned %v, which does not tell why its end could not be read", l.err)
		}
	})
}

// TestFixed_ConfigOutlivesCommands: config_expire and server_restart ask for
// another config; where there is none, the present one is used up to its end.
func TestFixed_ConfigOutlivesCommands(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.open(pulltest.WithVersion(version), pulltest.WithChannelLife(time.Hour))
		began := time.Now()
		l.fixed()
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(10 * time.Second)
		l.portal.RestartServer(5 * time.Second)
		l.tickFor(10*time.Minute, 5*time.Second)
		l.portal.ExpireConfig()
		l.tickFor(10*time.Minute, 5*time.Second)
		l.wantTicks()
		if s := l.sub.State(); s != StateLive {
			t.Fatalf("state is %v, Run returned %v", s, l.err)
		}
		<-l.done
		if took := time.Since(began); took < time.Hour {
			t.Errorf("ended after %v", took)
		}
		l.ended(ErrConfigExpired)
	})
}
