package realtime

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// falseAnswers are what stands in the place of polls, and says that all is
// well.
var falseAnswers = map[string]pulltest.Fault{
	"web page":     pulltest.WebPage,
	"login form":   pulltest.LoginForm,
	"foreign JSON": pulltest.ForeignJSON,
	"empty":        pulltest.EmptyAnswer,
	"instant 304":  pulltest.InstantNotModified,
	"blank":        pulltest.FalseAnswer(http.StatusOK, "text/plain", " \n\n"),
	"array":        pulltest.FalseAnswer(http.StatusOK, "application/json", "[]"),
	"object":       pulltest.FalseAnswer(http.StatusOK, "application/json", "{}"),
	"null":         pulltest.FalseAnswer(http.StatusOK, "application/json", "null"),
	"foreign call": pulltest.FalseAnswer(http.StatusOK, "application/json", `[{"jsonrpc":"2.0","method":"eth_subscription","params":{"result":1}}]`),
	"protobuf":     pulltest.FalseAnswer(http.StatusOK, "application/octet-stream", "\x0a\x04\x12\x02\x0a\x00\x18\x05"),
	"ping":         pulltest.FalseAnswer(http.StatusOK, "text/plain", "ping"),
	"empty call":   pulltest.FalseAnswer(http.StatusOK, "application/json", `{"jsonrpc":"2.0","method":"incoming.message","params":{}}`),
	"marked page":  pulltest.FalseAnswer(http.StatusOK, "text/html", "#!NGINXNMS!#<html>#!NGINXNME!#"),
	"marked text":  pulltest.FalseAnswer(http.StatusOK, "text/plain", `#!NGINXNMS!#{"id":1,"text":{"module_id":"main","command":"old","params":{}}}#!NGINXNME!#`),
	"no place":     pulltest.FalseAnswer(http.StatusOK, "application/octet-stream", "\x0a\x04\x0a\x02\x0a\x00"),
	"no content":   pulltest.FalseAnswer(http.StatusNoContent, "", ""),
	"redirect":     pulltest.FalseAnswer(http.StatusFound, "text/html", "<a href=/login/>Found</a>"),
	"not found":    pulltest.FalseAnswer(http.StatusNotFound, "text/html", "<h1>Not Found</h1>"),
}

// withOld publishes what stood before the beginning, the last of it in a burst.
func (l *life) withOld(opts ...pulltest.Option) {
	l.open(opts...)
	for range 50 {
		l.emit("old")
		time.Sleep(time.Minute)
	}
	for range 50 {
		l.emit("old")
	}
	time.Sleep(10 * time.Second)
}

// cutAndTick publishes a message just after each of so many cuts.
func (l *life) cutAndTick(cuts int) {
	for range cuts {
		l.portal.CutWebSockets()
		l.tick()
		time.Sleep(3 * time.Second)
	}
}

func (l *life) isReady() bool {
	select {
	case <-l.sub.Ready():
		return true
	default:
		return false
	}
}

// wantDegraded checks whether it is said that the history cannot be read, and
// why.
func (l *life) wantDegraded(want bool, fault pulltest.Fault) {
	l.t.Helper()
	state, changes := l.sub.State(), l.changes(StateDegraded)
	if degraded := state == StateDegraded; degraded != want || want && len(changes) == 0 {
		l.t.Errorf("it is %v", state)
	}
	for _, c := range changes {
		if !isAnswered(c.Cause) {
			l.t.Errorf("the cause is %v", c.Cause)
		}
	}
}

func (l *life) wantNoOld() {
	l.t.Helper()
	old := 0
	for _, command := range l.commands() {
		if command == "old" {
			old++
		}
	}
	if old > 0 {
		l.t.Errorf("%d messages from before the beginning arrived", old)
	}
}

// onFalseAnswers runs a test for each version and false answer, for
// some of them on each version unless B24PULL_LONG is set.
func onFalseAnswers(t *testing.T, test func(t *testing.T, l *life, version int, fault pulltest.Fault)) {
	for version := 1; version <= 5; version++ {
		for n, name := range slices.Sorted(maps.Keys(falseAnswers)) {
			fault := falseAnswers[name]
			if !resttest.Thorough && n%5 != version-1 {
				continue
			}
			t.Run(fmt.Sprint("version ", version, " ", name), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { test(t, l, version, fault) })
			})
		}
	}
}

// TestProof_FalseFirstMinute: false answers say nothing of the history. What is
// old stays old, and what is published once the connection is live arrives.
func TestProof_FalseFirstMinute(t *testing.T) {
	t.Parallel()
	onFalseAnswers(t, func(t *testing.T, l *life, version int, fault pulltest.Fault) {
		l.withOld(pulltest.WithVersion(version))
		l.portal.Misbehave(pulltest.Polls, fault)
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		time.Sleep(5 * time.Second)
		if ready := l.isReady(); ready != (version >= 3) {
			t.Errorf("ready is %v", ready)
		}
		l.wantDegraded(version < 3, fault)
		l.cutAndTick(20)
		l.portal.Behave(pulltest.Polls)
		time.Sleep(time.Minute)
		if !l.isReady() {
			t.Error("it is not ready")
		}
		l.cutAndTick(5)
		time.Sleep(5 * time.Minute)
		l.wantNoOld()
		if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
			t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
		}
		if gaps := countEvents[Gap](l); version >= 3 && gaps > 0 || version < 3 && gaps == 0 {
			t.Errorf("%d gaps", gaps)
		}
	})
}

// TestProof_FalseFromAMomentOn: where there is another way to read, nothing is
// lost; where there is none, it is said.
func TestProof_FalseFromAMomentOn(t *testing.T) {
	t.Parallel()
	onFalseAnswers(t, func(t *testing.T, l *life, version int, fault pulltest.Fault) {
		l.withOld(pulltest.WithVersion(version))
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		l.cutAndTick(3)
		l.portal.Misbehave(pulltest.Polls, fault)
		l.cutAndTick(20)
		time.Sleep(5 * time.Minute)
		l.wantNoOld()
		l.wantDegraded(version < 3, fault)
		lost, repeated, _ := l.ticked()
		gaps := countEvents[Gap](l)
		if repeated > 0 || version >= 3 && lost+gaps > 0 || version < 3 && gaps == 0 {
			t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, gaps)
		}
		l.portal.Behave(pulltest.Polls)
		time.Sleep(time.Minute)
		if s := l.sub.State(); s != StateLive {
			t.Errorf("in the end it is %v", s)
		}
		if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
			t.Errorf("in the end lost %d, repeated %d of %d", lost, repeated, l.ticks)
		}
	})
}

// TestProof_SlowFalseAnswers: something false that takes its time is taken for
// an empty history at first. What was old stays old all the same.
func TestProof_SlowFalseAnswers(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var slow atomic.Bool
				slow.Store(true)
				l.withOld(pulltest.WithVersion(version), slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if !slow.Load() || websocket.IsWebSocketUpgrade(r) {
						next.ServeHTTP(w, r)
						return
					}
					time.Sleep(3 * time.Second)
					fmt.Fprint(w, "<html>")
				}))
				l.subscribe(nil, WithBackoff(soon))
				l.run(nil)
				<-l.sub.Ready()
				l.cutAndTick(40)
				slow.Store(false)
				time.Sleep(5 * time.Minute)
				l.wantNoOld()
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
				}
			})
		})
	}
}

// TestProof_GapUnread: that the history could not be read for a moment is no
// loss if it still reaches back when it can be read again. What takes longer is
// a Gap, once.
func TestProof_GapUnread(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithBackoff(soon))
				l.tickFor(3*time.Minute, 10*time.Second)
				l.portal.Misbehave(pulltest.Polls, pulltest.EmptyAnswer)
				l.cutAndTick(16)
				l.portal.Behave(pulltest.Polls)
				time.Sleep(time.Minute)
				if len(l.changes(StateDegraded)) == 0 || l.sub.State() != StateLive {
					t.Errorf("it is %v", l.sub.State())
				}
				l.wantTicks()
				l.portal.Misbehave(pulltest.Polls, pulltest.EmptyAnswer)
				l.portal.CutWebSockets()
				time.Sleep(10 * time.Minute)
				if gaps := lifeEvents[Gap](l); len(gaps) != 1 || gaps[0].Reason != GapUnread || !isFalse(gaps[0].Err) {
					t.Errorf("gaps after 10 minutes: %+v", gaps)
				}
				l.portal.Behave(pulltest.Polls)
				time.Sleep(time.Minute)
				l.tick()
				time.Sleep(time.Second)
				l.mu.Lock()
				defer l.mu.Unlock()
				if last := l.messages[len(l.messages)-1]; last.Gap == nil || last.Gap.Reason != GapUnread {
					t.Errorf("the next message bears the gap %+v", last.Gap)
				}
			})
		})
	}
}

// TestProof_FalseSockets: the first frame of a websocket that is to read the
// history proves itself, or the replay has failed.
func TestProof_FalseSockets(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		for _, frame := range []string{"", " ", "<html>", "[]", "{}", `{"jsonrpc":"2.0","method":"other"}`, "\x0a\x04\x12\x02\x0a\x00",
			`{"jsonrpc":"2.0","method":"incoming.message","params":{}}`, "#!NGINXNMS!#<html>#!NGINXNME!#", "\x0a\x04\x0a\x02\x0a\x00"} {
			t.Run(fmt.Sprintf("version %d %q", version, frame), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.withOld(pulltest.WithVersion(version), pulltest.WithHandler(func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if !websocket.IsWebSocketUpgrade(r) || !strings.Contains(r.URL.RawQuery, "mid=") {
								next.ServeHTTP(w, r)
								return
							}
							ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
							if err != nil {
								return
							}
							defer ws.Close()
							_ = ws.WriteMessage(websocket.TextMessage, []byte(frame))
							_, _, _ = ws.ReadMessage()
						})
					}))
					l.portal.Misbehave(pulltest.Polls, pulltest.WebPage)
					l.subscribe(nil, WithBackoff(soon))
					l.run(nil)
					time.Sleep(time.Minute)
					if l.isReady() || l.sub.State() != StateDegraded {
						t.Errorf("ready is %v, it is %v", l.isReady(), l.sub.State())
					}
					l.tick()
					l.portal.Behave(pulltest.Polls)
					time.Sleep(2 * time.Minute)
					l.wantNoOld()
					if lost, _, _ := l.ticked(); version < 5 && lost > 0 { // version 5 tells no times
						t.Errorf("lost %d", lost)
					}
					if n := countEvents[Gap](l); n != 1 || !l.isReady() {
						t.Errorf("%d gaps, ready is %v", n, l.isReady())
					}
				})
			})
		}
	}
}

// TestProof_FalsePolls: a subscription by polls alone is not live while they
// are false.
func TestProof_FalsePolls(t *testing.T) {
	t.Parallel()
	onFalseAnswers(t, func(t *testing.T, l *life, version int, fault pulltest.Fault) {
		l.withOld(pulltest.WithVersion(version))
		l.portal.Misbehave(pulltest.Polls, fault)
		l.subscribe(nil, WithTransport(TransportLongPolling))
		l.run(nil)
		time.Sleep(time.Minute)
		if live := l.changes(StateLive); l.isReady() || len(live) > 0 {
			t.Errorf("ready is %v, live %d times", l.isReady(), len(live))
		}
		l.portal.Behave(pulltest.Polls)
		time.Sleep(time.Minute)
		l.tickFor(10*time.Second, time.Second)
		for range 5 {
			l.portal.Misbehave(pulltest.Polls, fault)
			l.portal.CutPolls()
			l.tickFor(10*time.Second, time.Second)
			l.portal.Behave(pulltest.Polls)
			l.tickFor(2*time.Minute, 10*time.Second)
		}
		time.Sleep(5 * time.Minute)
		l.wantNoOld()
		l.wantTicks()
	})
}
