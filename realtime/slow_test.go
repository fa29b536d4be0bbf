package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestSlow_Server: a server that takes long to gather what it keeps is waited
// for. From the beginning of the history or from a cursor on, what it brings
// comes before what is new.
func TestSlow_Server(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		for _, from := range []string{"the beginning", "a cursor"} {
			t.Run(transport.String()+" from "+from, func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open()
					store := new(MemoryStore)
					if from == "a cursor" {
						before := l.goOn(store, nil)
						<-before.sub.Ready()
						before.emit("before")
						time.Sleep(time.Second)
						if err := before.stop(); err != nil {
							t.Fatal(err)
						}
					}
					l.tickFor(10*time.Second, 100*time.Millisecond)
					l.portal.Misbehave(pulltest.Polls, pulltest.Delay(6*time.Second))
					l.subscribe(nil, WithTransport(transport), WithCursorStore(store), WithHistory())
					l.run(nil)
					l.tickFor(20*time.Second, 100*time.Millisecond)
					time.Sleep(2 * time.Minute)
					l.wantTicks()
				})
			})
		}
	}
}

// TestSlow_ServerFromNow: a first replay that is silent for a moment says that
// nothing is kept. Where the server was only slow, what the connection misses
// comes all the same.
func TestSlow_ServerFromNow(t *testing.T) {
	t.Parallel()
	for _, slow := range []time.Duration{3 * time.Second, 10 * time.Second, 18 * time.Second} {
		t.Run(slow.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.portal.Misbehave(pulltest.Polls, pulltest.Delay(slow))
				l.subscribe(nil, WithTransport(TransportWebSocket), WithBackoff(func(int) time.Duration { return 100 * time.Millisecond }))
				l.run(nil)
				<-l.sub.Ready()
				for range 5 {
					l.tickFor(time.Second, 10*time.Millisecond)
					l.portal.CutWebSockets()
					l.tickFor(time.Second, 10*time.Millisecond)
					time.Sleep(time.Minute)
				}
				time.Sleep(5 * time.Minute)
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
				}
				if s := l.sub.Stats(); s.Found == 0 {
					t.Error("the connection has missed nothing")
				}
			})
		})
	}
}

// TestSlow_HistoryThatHangs: what is sent does not wait for a replay that has
// nothing to bring.
func TestSlow_HistoryThatHangs(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.portal.Misbehave(pulltest.Polls, pulltest.Stall)
		began := time.Now()
		l.subscribe(nil, WithTransport(TransportWebSocket))
		l.run(nil)
		<-l.sub.Ready()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("ready after %v", d)
		}
		for n := range 60 {
			sent := time.Now()
			l.tick()
			for len(l.commands()) == n && time.Since(sent) < time.Minute {
				time.Sleep(50 * time.Millisecond)
			}
			if d := time.Since(sent); d > 2*time.Second {
				t.Fatalf("a message came after %v", d)
			}
			time.Sleep(time.Second)
		}
	})
}
