package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// arrivals notes when requests come, by kind.
type arrivals struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (a *arrivals) note() pulltest.Option {
	a.at = make(map[string][]time.Time)
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			a.at[requestKind(r)] = append(a.at[requestKind(r)], time.Now())
			a.mu.Unlock()
			next.ServeHTTP(w, r)
		})
	})
}

// take returns when requests of a kind came since the last take.
func (a *arrivals) take(kind string) []time.Time {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.at[kind]
	a.at[kind] = nil
	return at
}

// serviceOf is what a transport asks, as pulltest and requestKind call it.
func serviceOf(transport Transport) (pulltest.Service, string) {
	if transport == TransportLongPolling {
		return pulltest.Polls, "poll"
	}
	return pulltest.WebSockets, "websocket"
}

// onVersionsAndTransports runs a scenario for each version and transport.
func onVersionsAndTransports(t *testing.T, scenario func(t *testing.T, l *life, version int, transport Transport)) {
	t.Helper()
	for _, version := range versions {
		for _, transport := range both {
			t.Run(fmt.Sprint("version ", version, " ", transport), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { scenario(t, l, version, transport) })
			})
		}
	}
}

// keptAway checks that no two requests came closer than the server allowed, and
// that they did come. A poll and a replay that begin at once are one.
func keptAway(t *testing.T, what string, at []time.Time, least, most time.Duration) {
	t.Helper()
	at = slices.CompactFunc(at, time.Time.Equal)
	if len(at) < 3 {
		t.Errorf("%s: %d requests", what, len(at))
	}
	for i := range max(len(at)-1, 0) {
		if d := at[i+1].Sub(at[i]); d < least || d > most {
			t.Errorf("%s: request %d of %d came %v after the one before, want %v to %v", what, i+1, len(at), d, least, most)
			return
		}
	}
}

// TestRetryAfter: a refusal that says when to come again is obeyed, by seconds
// and by date, up to a quarter of an hour, also where the user's own delays are
// shorter; what makes no sense is ignored.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		status      int
		value       func() string
		least, most time.Duration // between two attempts; with delays of a second
	}{
		{"seconds", 503, func() string { return "90" }, 90 * time.Second, 109 * time.Second},
		{"too many", 429, func() string { return "90" }, 90 * time.Second, 109 * time.Second},
		{"of a gateway", 502, func() string { return " 90 " }, 90 * time.Second, 109 * time.Second},
		{"huge", 503, func() string { return "99999999999999999999999" }, 15 * time.Minute, 18*time.Minute + time.Second},
		{"negative", 503, func() string { return "-90" }, time.Second, time.Second},
		{"none", 503, func() string { return "0" }, time.Second, time.Second},
		{"words", 503, func() string { return "soon" }, time.Second, time.Second},
		{"a date past", 503, func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, time.Second, time.Second},
		{"a far date", 503, func() string { return time.Now().Add(9000 * time.Hour).UTC().Format(http.TimeFormat) }, 15 * time.Minute, 18*time.Minute + time.Second},
	}
	onVersionsAndTransports(t, func(t *testing.T, l *life, version int, transport Transport) {
		var came arrivals
		service, kind := serviceOf(transport)
		l.start([]pulltest.Option{pulltest.WithVersion(version), came.note()}, WithTransport(transport), WithBackoff(func(int) time.Duration { return time.Second }))
		for _, tt := range tests {
			time.Sleep(2 * time.Minute)
			before := len(l.changes(StateWaiting))
			l.portal.Misbehave(service, pulltest.Refuse(tt.status).WithRetryAfter(tt.value()))
			came.take(kind)
			l.portal.Cut()
			time.Sleep(4 * tt.most)
			at := came.take(kind)
			if tt.most < time.Minute && transport == TransportLongPolling {
				at = nil // reads come in between
			} else {
				keptAway(t, tt.name, at, tt.least, tt.most)
			}
			for i, c := range l.changes(StateWaiting)[before:] {
				var refused *StatusError
				if !errors.As(c.Cause, &refused) || refused.Status != tt.status {
					continue // the cut
				}
				if c.Delay < tt.least || c.Delay > tt.most || refused.RetryAfter > 15*time.Minute || (refused.RetryAfter > 0) != (tt.least > time.Second) {
					t.Errorf("%s: attempt %d after %v, RetryAfter is %v", tt.name, i, c.Delay, refused.RetryAfter)
				}
			}
			l.portal.Behave(service)
			time.Sleep(tt.most + 20*time.Second)
			if s := l.sub.State(); s != StateLive {
				t.Fatalf("%s: state is %v", tt.name, s)
			}
			l.tick()
			time.Sleep(10 * time.Second)
		}
		l.wantTicks()
	})
}

// TestRetryAfter_Date: a date is that of the server's clock.
func TestRetryAfter_Date(t *testing.T) {
	t.Parallel()
	for _, shift := range []time.Duration{-time.Hour, 0, time.Hour} {
		for _, transport := range both {
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				var came arrivals
				service, kind := serviceOf(transport)
				l.start([]pulltest.Option{pulltest.WithClockShift(shift), came.note()}, WithTransport(transport))
				time.Sleep(time.Minute)
				over := time.Now().Add(5 * time.Minute)
				l.portal.Misbehave(service, pulltest.Refuse(503).WithRetryAfter(over.Add(shift).UTC().Format(http.TimeFormat)))
				came.take(kind)
				l.portal.Cut()
				time.Sleep(20 * time.Minute)
				at := came.take(kind)
				if len(at) < 2 || at[1].Before(over.Add(-time.Second)) || at[1].After(over.Add(70*time.Second)) {
					t.Errorf("shift %v, %v: the second of %d attempts came %v after the first", shift, transport, len(at), at[min(1, len(at)-1)].Sub(at[0]))
				}
			})
		}
	}
}

// TestRetryAfter_OfReplays: replays that are refused keep the distance too,
// whatever else makes one due meanwhile: pings, many messages, or another
// connection.
func TestRetryAfter_OfReplays(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		var came arrivals
		l.start([]pulltest.Option{pulltest.WithVersion(version), came.note()}, WithTransport(TransportWebSocket))
		time.Sleep(time.Minute)
		l.portal.Misbehave(pulltest.Polls, pulltest.Refuse(503).WithRetryAfter("300"))
		came.take("poll")
		for round := range 16 {
			l.portal.CutWebSockets()
			l.portal.Ping()
			l.tickFor(time.Minute, time.Second)
			l.portal.Ping()
			time.Sleep(10 * time.Millisecond)
			now := fmt.Sprint("round ", round)
			l.emit(now)
			time.Sleep(time.Second)
			if !slices.Contains(l.commands(), now) {
				t.Error("a message waits for a replay that is far away")
			}
		}
		keptAway(t, "reads", came.take("poll"), 300*time.Second, 15*time.Minute) // websockets read in between
		if n := len(l.changes(StateLive)); n < 10 {
			t.Errorf("live %d times", n)
		}
		l.portal.Behave(pulltest.Polls)
		time.Sleep(10 * time.Minute)
		l.wantTicksOnce()
	})
}

// TestRetryAfter_OfReplaysBesidePolls: where replays are refused and live polls
// are not, these go on, and what they bring does not wait.
func TestRetryAfter_OfReplaysBesidePolls(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		var mu sync.Mutex
		var hanging int
		var refused []time.Time
		refuse := false
		second := pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requestKind(r) != "poll" {
					next.ServeHTTP(w, r)
					return
				}
				mu.Lock()
				read := refuse && hanging > 0
				if read {
					refused = append(refused, time.Now())
				}
				hanging++
				mu.Unlock()
				if read {
					w.Header().Set("Retry-After", "300")
					w.WriteHeader(http.StatusServiceUnavailable)
				} else {
					next.ServeHTTP(w, r)
				}
				mu.Lock()
				hanging--
				mu.Unlock()
			})
		})
		l.start([]pulltest.Option{pulltest.WithVersion(version), second}, WithTransport(TransportLongPolling))
		time.Sleep(time.Minute)
		mu.Lock()
		refuse = true
		mu.Unlock()
		late := 0
		for range 120 {
			time.Sleep(9 * time.Second)
			l.tick()
			time.Sleep(time.Second)
			if lost, _, _ := l.ticked(); lost > 0 {
				late++
			}
		}
		if late > 15 { // beside the replays that are tried
			t.Errorf("%d of 120 messages waited", late)
		}
		mu.Lock()
		refuse = false
		at := refused
		mu.Unlock()
		keptAway(t, "reads", at, 300*time.Second, 361*time.Second)
		time.Sleep(10 * time.Minute)
		l.wantTicksOnce()
	})
}

// TestRetryAfter_OfReplaysByWebSocket: a replay by a websocket that is refused
// for some time puts off the next one, by whatever way.
func TestRetryAfter_OfReplaysByWebSocket(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var came arrivals
		l.start([]pulltest.Option{came.note()}, WithTransport(TransportWebSocket))
		time.Sleep(time.Minute)
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.Misbehave(pulltest.WebSockets, pulltest.Refuse(503).WithRetryAfter("300"))
		came.take("poll")
		came.take("websocket")
		l.tickFor(time.Hour, 10*time.Second) // over the websocket that is open
		sockets, polls := came.take("websocket"), came.take("poll")
		if len(sockets) < 2 || len(polls) < 5 {
			t.Fatalf("%d reads by websocket, %d by polls", len(sockets), len(polls))
		}
		for _, at := range sockets {
			i := slices.IndexFunc(polls, at.Before)
			if i >= 0 && polls[i].Sub(at) < 300*time.Second {
				t.Errorf("a poll came %v after a refused websocket", polls[i].Sub(at))
			}
		}
		l.portal.Behave(pulltest.Polls | pulltest.WebSockets)
		time.Sleep(10 * time.Minute)
		l.wantTicksOnce()
	})
}

// wantTicksOnce checks that all numbered messages have come, once.
func (l *life) wantTicksOnce() {
	l.t.Helper()
	if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
		l.t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
	}
}

// TestRetryAfter_OfConfigs: a portal that refuses the config with a time to
// wait is asked again no sooner.
func TestRetryAfter_OfConfigs(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var came arrivals
		l.open(came.note())
		l.portal.Misbehave(pulltest.REST, pulltest.Refuse(503).WithRetryAfter("200"))
		l.subscribe(nil)
		l.run(nil)
		time.Sleep(15 * time.Minute)
		keptAway(t, "configs", came.take("config"), 200*time.Second, 241*time.Second)
		l.portal.Behave(pulltest.REST)
		<-l.sub.Ready()
		l.portal.Misbehave(pulltest.REST, pulltest.Refuse(503).WithRetryAfter("200"))
		came.take("config")
		l.portal.ExpireConfig() // a renewal, beside the connection
		time.Sleep(20 * time.Minute)
		keptAway(t, "renewals", came.take("config"), 200*time.Second, 241*time.Second)
	})
}

// TestRetryAfter_RefusalsOverSockets: what a refusal says arrives over real
// connections, too.
func TestRetryAfter_RefusalsOverSockets(t *testing.T) {
	for _, transport := range both {
		for _, tt := range []struct {
			fault pulltest.Fault
			least time.Duration
			text  string
		}{
			{pulltest.Refuse(503).WithRetryAfter("120"), 2 * time.Minute, "503"},
			{pulltest.Redirect(301, "https://push.new.example/"), 0, "https://push.new.example"},
			{pulltest.LoginPage, 0, "/auth/"},
		} {
			portal := pulltest.NewPortal()
			defer portal.Close()
			service, _ := serviceOf(transport)
			portal.Misbehave(service, tt.fault)
			waits := make(chan StateChange, 100)
			sub, err := Subscribe(client(t, portal), WithTransport(transport), WithObserver(func(e Event) {
				if c, ok := e.(StateChange); ok && c.To == StateWaiting {
					waits <- c
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() {
				ended <- sub.Run(t.Context(), HandlerFunc(func(context.Context, Message) error { return nil }))
			}()
			var refused *StatusError
			if c := <-waits; !errors.As(c.Cause, &refused) || refused.RetryAfter != tt.least || c.Delay < tt.least || !strings.Contains(refused.Error(), tt.text) {
				t.Errorf("%v: waits %v after: %v", transport, c.Delay, c.Cause)
			}
			sub.Close()
			<-ended
		}
	}
}

// TestRetryAfter_ServerRedirects: a login page and a new address are named, and
// nothing that the address bears.
func TestRetryAfter_ServerRedirects(t *testing.T) {
	t.Parallel()
	onVersionsAndTransports(t, func(t *testing.T, l *life, version int, transport Transport) {
		service, _ := serviceOf(transport)
		for _, tt := range []struct {
			fault pulltest.Fault
			want  []string
		}{
			{pulltest.LoginPage, []string{"302", "/auth/", "login page", "expired licence"}},
			{pulltest.Redirect(307, "https://sso.example/saml2/login?s3cr3t"), []string{"307", "/saml2/login", "sso.example", "login page"}},
			{pulltest.Redirect(301, "https://push.new.example/sub/?CHANNEL_ID=s3cr3t"), []string{"301", "https://push.new.example", "moved"}},
			{pulltest.Redirect(308, "https://push.new.example/sub/s3cr3t"), []string{"308", "https://push.new.example", "moved"}},
		} {
			if l.portal == nil {
				l.open(pulltest.WithVersion(version))
				l.portal.Misbehave(service, tt.fault)
				l.subscribe(nil, WithTransport(transport))
				l.run(nil)
			}
			before := len(l.changes(StateWaiting))
			l.portal.Misbehave(service, tt.fault)
			l.portal.Cut()
			time.Sleep(3 * time.Minute)
			var refused *StatusError
			changes := l.changes(StateWaiting)[before:]
			if len(changes) == 0 || !errors.As(changes[len(changes)-1].Cause, &refused) {
				t.Fatalf("no refusal in %d changes", len(changes))
			}
			for _, want := range tt.want {
				if !strings.Contains(refused.Error(), want) {
					t.Errorf("%q is not in: %v", want, refused)
				}
			}
			for _, secret := range []string{"?", "CHANNEL", "backurl", pulltest.SecretMark, "s3cr" + "3t"} {
				if strings.Contains(refused.Error(), secret) {
					t.Error("the error tells what the address bears")
				}
			}
		}
	})
}
