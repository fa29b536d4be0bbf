package realtime

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// falseAnswers are what stands in the place of polls, and says that all is well.
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

// onFalseAnswers runs a test for each version and false answer.
func onFalseAnswers(t *testing.T, test func(t *testing.T, l *life, version int, fault pulltest.Fault)) {
	for version := 1; version <= 5; version++ {
		for name, fault := range falseAnswers {
			t.Run(fmt.Sprint("version ", version, " ", name), func(t *testing.T) {
				t.Parallel()
				onVirtualTime(t, func(t *testing.T, l *life) { test(t, l, version, fault) })
			})
		}
	}
}

// TestFalseFirstMinute: false answers say nothing of the history. What is old stays old, and what is published once the
// connection is live arrives.
func TestFalseFirstMinute(t *testing.T) {
	onFalseAnswers(t, func(t *testing.T, l *life, version int, fault pulltest.Fault) {
		l.withOld(pulltest.WithVersion(version))
		l.portal.Misbehave(pulltest.Polls, fault)
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		time.Sleep(5 * time.Second)
		if ready := l.isReady(); ready != (version >= 3) {
			t.Errorf("ready is %v", ready)
		}
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

// TestFalseFromAMomentOn: where there is another way to read, nothing is lost; where there is none, it is said.
func TestFalseFromAMomentOn(t *testing.T) {
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
		lost, repeated, _ := l.ticked()
		gaps := countEvents[Gap](l)
		if repeated > 0 || version >= 3 && lost+gaps > 0 || version < 3 && gaps == 0 {
			t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, gaps)
		}
		l.portal.Behave(pulltest.Polls)
		time.Sleep(time.Minute)
		if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
			t.Errorf("in the end lost %d, repeated %d of %d", lost, repeated, l.ticks)
		}
	})
}

// TestFalsePolls: a subscription by polls alone is not live while they are false.
func TestFalsePolls(t *testing.T) {
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
