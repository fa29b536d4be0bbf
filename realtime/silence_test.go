package realtime

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// box is what stands before the polls of a server, and answers in its place
// while it is told to.
type box struct {
	answer  atomic.Pointer[boxAnswer]
	every   int          // so many polls in a row, the last is let through; 0: none
	polls   atomic.Int64 // so many there were
	refuses atomic.Int64 // the status that websockets are refused with; 0: they are not
}

// boxAnswer is an answer that comes after a while; one without a status never
// does.
type boxAnswer struct {
	after  time.Duration
	status int
	text   string
	header map[string]string
}

var silences = map[string]boxAnswer{
	"hang":        {},
	"304 at 5 s":  {after: 5 * time.Second, status: http.StatusNotModified},
	"304 at 12 s": {after: 12 * time.Second, status: http.StatusNotModified},
	"304 at 39 s": {after: 39 * time.Second, status: http.StatusNotModified},
	"epoch at 39 s": {after: 39 * time.Second, status: http.StatusNotModified, header: map[string]string{
		"Expires": "Thu, 01 Jan 1970 00:00:01 GMT", "Etag": `W/"5f3c-0d1b"`, "Last-Modified": "Mon, 23 Nov 2026 09:00:34 GMT"}},
	"page at 5 s":   {after: 5 * time.Second, status: http.StatusOK, text: "<html>"},
	"empty at 39 s": {after: 39 * time.Second, status: http.StatusOK},
}

func (b *box) option() pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if websocket.IsWebSocketUpgrade(r) {
				if status := b.refuses.Load(); status != 0 {
					w.WriteHeader(int(status))
					return
				}
			} else if requestKind(r) == "poll" {
				n := b.polls.Add(1)
				if a := b.answer.Load(); a != nil && (b.every == 0 || n%int64(b.every) != 0) {
					a.write(w, r)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
}

func (a *boxAnswer) write(w http.ResponseWriter, r *http.Request) {
	if a.status == 0 {
		<-r.Context().Done()
		return
	}
	select {
	case <-r.Context().Done():
		return
	case <-time.After(a.after):
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.text)
}

// onSilences runs a test for each version and silence, for some of
// them on each version.
func onSilences(t *testing.T, test func(t *testing.T, l *life, version int, a boxAnswer)) {
	for version := 1; version <= 5; version++ {
		for n, name := range slices.Sorted(maps.Keys(silences)) {
			a := silences[name]
			if !resttest.Thorough && n%3 != version%3 {
				continue
			}
			t.Run(fmt.Sprint("version ", version, " ", name), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { test(t, l, version, a) })
			})
		}
	}
}

// wantToldIfLost checks that nothing has come twice, nothing that is old, and
// that what is lost is told of.
func (l *life) wantToldIfLost(when string) (lost int) {
	l.t.Helper()
	l.wantNoOld()
	lost, repeated, _ := l.ticked()
	if gaps := countEvents[Gap](l); repeated > 0 || lost > 0 && gaps == 0 {
		l.t.Errorf("%s: lost %d, repeated %d of %d, %d gaps, %v", when, lost, repeated, l.ticks, gaps, l.sub.State())
	}
	return lost
}

// wantUnread checks that it is told for how long the history could not be read,
// where there is no other way to read it.
func (l *life) wantUnread(when string, hopeless bool) {
	l.t.Helper()
	state, gaps := l.sub.State(), countEvents[Gap](l)
	switch {
	case hopeless && (state == StateLive || gaps == 0 || l.sub.Stats().BrokenReplays == 0):
		l.t.Errorf("%s: it is %v, %d gaps", when, state, gaps)
	case !hopeless && (state != StateLive || gaps > 0):
		l.t.Errorf("%s: it is %v, %d gaps", when, state, gaps)
	}
}

// TestSilence_Later: that polls are silent, or say nothing of worth, is no sign
// that what was kept has expired. Where there is another way to read nothing is
// lost, and where there is none it is said.
func TestSilence_Later(t *testing.T) {
	t.Parallel()
	onSilences(t, func(t *testing.T, l *life, version int, a boxAnswer) {
		var b box
		l.withOld(pulltest.WithVersion(version), b.option())
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		l.cutAndTick(3)
		b.answer.Store(&a)
		l.cutAndTick(20)
		time.Sleep(3 * time.Minute)
		if lost := l.wantToldIfLost("meanwhile"); version >= 3 && lost > 0 {
			t.Errorf("lost %d", lost)
		}
		l.wantUnread("meanwhile", version < 3)
		b.answer.Store(nil)
		time.Sleep(3 * time.Minute)
		if lost := l.wantToldIfLost("in the end"); lost > 0 || l.sub.State() != StateLive {
			t.Errorf("lost %d, it is %v", lost, l.sub.State())
		}
	})
}

// TestSilence_AtRestart: a subscription that goes on from a cursor is not ready
// before something has shown what became of the message that it stands on.
func TestSilence_AtRestart(t *testing.T) {
	t.Parallel()
	onSilences(t, func(t *testing.T, l *life, version int, a boxAnswer) {
		var b box
		l.withOld(pulltest.WithVersion(version), b.option())
		store := new(MemoryStore)
		before := l.goOn(store, nil)
		<-before.sub.Ready()
		before.emit("before")
		time.Sleep(time.Minute)
		if err := before.stop(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			l.tick()
		}
		time.Sleep(10 * time.Second)
		b.answer.Store(&a)
		l.subscribe(nil, WithCursorStore(store), WithBackoff(soon))
		l.run(nil)
		time.Sleep(3 * time.Second)
		l.cutAndTick(10)
		time.Sleep(3 * time.Minute)
		if ready := l.isReady(); ready != (version >= 3) {
			t.Errorf("ready is %v", ready)
		}
		if lost := l.wantToldIfLost("meanwhile"); version >= 3 && lost > 0 {
			t.Errorf("lost %d", lost)
		}
		l.wantUnread("meanwhile", version < 3)
		b.answer.Store(nil)
		time.Sleep(3 * time.Minute)
		if lost := l.wantToldIfLost("in the end"); lost > 0 || !l.isReady() {
			t.Errorf("lost %d, ready is %v", lost, l.isReady())
		}
	})
}

// TestSilence_SilentStart: silence makes a subscription ready, since a server
// that keeps nothing is silent as well. Before long such a server says so. What
// says no such thing is found out, and what is old does not arrive as new,
// whatever the polls are for.
func TestSilence_SilentStart(t *testing.T) {
	t.Parallel()
	for _, transport := range []Transport{TransportAuto, TransportWebSocket, TransportLongPolling} {
		t.Run(transport.String(), func(t *testing.T) {
			onSilences(t, func(t *testing.T, l *life, version int, a boxAnswer) {
				var b box
				l.withOld(pulltest.WithVersion(version), b.option())
				b.answer.Store(&a)
				l.subscribe(nil, WithBackoff(soon), WithTransport(transport))
				l.run(nil)
				time.Sleep(5 * time.Second)
				ready := l.isReady()
				l.cutAndTick(5)
				time.Sleep(180 * time.Second)
				switch {
				case !ready:
				case transport == TransportLongPolling: // what polls do not say they do not bring either
					if s := l.sub.State(); s == StateLive {
						t.Errorf("it is %v", s)
					}
				case version < 5:
					l.wantToldIfLost("meanwhile")
					l.wantUnread("meanwhile", version < 3)
				default:
					l.wantToldIfLost("meanwhile")
				}
				b.answer.Store(nil)
				time.Sleep(5 * time.Minute)
				l.wantNoOld()
				if !l.isReady() || l.sub.State() != StateLive {
					t.Errorf("in the end ready is %v, it is %v", l.isReady(), l.sub.State())
				}
				if ready {
					lost := l.wantToldIfLost("in the end")
					if lost > 0 && version < 5 { // whose messages bear no times
						t.Errorf("lost %d", lost)
					}
				}
			})
		})
	}
}

// TestSilence_ByTurns: polls that are silent by turns with good ones show the
// history; what is old stays old.
func TestSilence_ByTurns(t *testing.T) {
	t.Parallel()
	for _, transport := range []Transport{TransportAuto, TransportLongPolling} {
		t.Run(transport.String(), func(t *testing.T) {
			onSilences(t, func(t *testing.T, l *life, version int, a boxAnswer) {
				b := box{every: 2}
				l.withOld(pulltest.WithVersion(version), b.option())
				b.polls.Store(0)
				b.answer.Store(&a)
				l.subscribe(nil, WithBackoff(soon), WithTransport(transport))
				l.run(nil)
				<-l.sub.Ready()
				for range 20 {
					l.portal.Cut()
					l.tick()
					time.Sleep(5 * time.Second)
				}
				l.tickFor(3*time.Minute, 5*time.Second)
				time.Sleep(2 * time.Minute)
				l.wantToldIfLost("meanwhile")
				b.answer.Store(nil)
				time.Sleep(5 * time.Minute)
				if lost := l.wantToldIfLost("in the end"); lost > 0 {
					t.Errorf("lost %d", lost)
				}
			})
		})
	}
}

// TestSilence_FullQueueInSilence: what a full queue has left out is not taken
// for expired.
func TestSilence_FullQueueInSilence(t *testing.T) {
	t.Parallel()
	onSilences(t, func(t *testing.T, l *life, version int, a boxAnswer) {
		var b box
		l.withOld(pulltest.WithVersion(version), b.option())
		l.subscribe(nil, WithBackoff(soon))
		l.sub.queue.MaxMessages = 5
		l.run(func(context.Context, Message) error {
			time.Sleep(time.Second)
			return nil
		})
		<-l.sub.Ready()
		b.answer.Store(&a)
		for range 10 {
			l.portal.CutWebSockets()
			for range 10 {
				l.tick()
			}
			time.Sleep(3 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		if lost := l.wantToldIfLost("meanwhile"); version >= 3 && lost > 0 {
			t.Errorf("lost %d", lost)
		}
		b.answer.Store(nil)
		time.Sleep(5 * time.Minute)
		if lost := l.wantToldIfLost("in the end"); lost > 0 {
			t.Errorf("lost %d", lost)
		}
	})
}

// gateway gives polls up that hang for too long.
func gateway(limit time.Duration) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requestKind(r) != "poll" || websocket.IsWebSocketUpgrade(r) {
				next.ServeHTTP(w, r)
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), limit)
			defer cancel()
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r.WithContext(ctx))
			if ctx.Err() != nil {
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		})
	})
}

// TestSilence_OversizedHistory: a history of one message that is too long to be
// read is one all the same.
func TestSilence_OversizedHistory(t *testing.T) {
	skipLong(t)
	t.Parallel()
	for version := 1; version <= 5; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(pulltest.WithVersion(version))
				l.portal.Emit(pulltest.Message{Command: "old", Params: strings.Repeat("x", wire.MaxMessageSize)})
				time.Sleep(time.Minute)
				l.subscribe(nil, WithBackoff(soon))
				l.run(nil)
				time.Sleep(30 * time.Second)
				if !l.isReady() || l.sub.State() != StateLive {
					t.Fatalf("ready is %v, it is %v", l.isReady(), l.sub.State())
				}
				l.cutAndTick(10)
				time.Sleep(5 * time.Minute)
				l.wantNoOld()
				l.wantTicks()
			})
		})
	}
}
