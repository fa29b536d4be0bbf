package realtime

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// wantGap checks that what is lost is told.
func (l *life) wantGap(want ...GapReason) {
	l.t.Helper()
	lost, repeated, _ := l.ticked()
	if lost == 0 || repeated > 0 {
		l.t.Errorf("lost %d, repeated %d of %d: what can be told?", lost, repeated, l.ticks)
	}
	var got []GapReason
	for _, g := range lifeEvents[Gap](l) {
		got = append(got, g.Reason)
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("gaps %v, want %v", got, want)
	}
}

var long = []pulltest.Option{pulltest.WithChannelLife(500 * time.Hour), pulltest.WithConfigLife(500 * time.Hour)}

// TestGaps_GapAfterLongOutage: a server that was out of reach for longer than
// it keeps messages.
func TestGaps_GapAfterLongOutage(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(long, WithTransport(transport), WithBackoff(func(int) time.Duration { return 5 * time.Minute }))
				l.tickFor(30*time.Minute, time.Minute)
				l.portal.Misbehave(pulltest.REST|pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
				l.portal.Cut()
				l.tickFor(30*time.Minute, time.Minute)
				time.Sleep(26 * time.Hour)
				l.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
				time.Sleep(10 * time.Minute)
				l.tickFor(20*time.Minute, time.Minute)
				time.Sleep(10 * time.Minute)
				l.wantGap(GapExpired)
			})
		})
	}
}

// TestGaps_GapAfterLongPause: a handler that blocks for longer than the server
// keeps messages.
func TestGaps_GapAfterLongPause(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(long...)
		l.subscribe(nil)
		l.sub.queue.MaxMessages = 10
		first := true
		l.run(func(context.Context, Message) error {
			if first {
				first = false
				time.Sleep(30 * time.Hour)
			}
			return nil
		})
		<-l.sub.Ready()
		l.tickFor(30*time.Minute, time.Minute)
		time.Sleep(40 * time.Hour)
		l.tickFor(20*time.Minute, time.Minute)
		time.Sleep(10 * time.Minute)
		l.wantGap(GapPaused, GapExpired)
	})
}

// TestGaps_GapAtUnhandled: what was received and not handled before the end has
// expired while nobody ran.
func TestGaps_GapAtUnhandled(t *testing.T) {
	t.Parallel()
	for _, kept := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(kept, " kept"), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(long...)
				store := new(MemoryStore)
				l.subscribe(nil, WithCursorStore(store))
				l.run(func(ctx context.Context, m Message) error {
					if m.Command == "stuck" {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
				<-l.sub.Ready()
				for range 10 {
					l.emit("before")
					time.Sleep(time.Minute)
				}
				l.portal.Emit(pulltest.Message{Command: "transient", Expiry: -1})
				l.emit("stuck")
				l.emit("behind it")
				time.Sleep(10 * time.Minute)
				if err := l.stop(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(25 * time.Hour)
				for range kept {
					l.emit("kept")
				}
				next := l.goOn(store, nil)
				time.Sleep(10 * time.Minute)
				next.want(slices.Repeat([]string{"kept"}, kept)...)
				if gaps := lifeEvents[Gap](next); len(gaps) != 1 || gaps[0].Reason != GapExpired {
					t.Errorf("gaps %+v", gaps)
				}
			})
		})
	}
}

// TestGaps_NoGapWithoutNeed: that the messages of a quiet portal expire is no
// loss, whatever happens to the connection.
func TestGaps_NoGapWithoutNeed(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		portal := append([]pulltest.Option{pulltest.WithVersion(version)}, long...)
		if testing.Short() {
			portal = append(portal, pulltest.WithPingInterval(time.Hour))
		}
		l.start(portal)
		l.tickFor(30*time.Minute, time.Minute)
		for range 30 { // hours: more than the day for which messages are kept
			time.Sleep(time.Hour)
			l.portal.Cut()
		}
		time.Sleep(time.Hour)
		l.tickFor(30*time.Minute, time.Minute)
		time.Sleep(time.Minute)
		l.wantTicks()
	})
}

// TestGaps_GapReplacedTwice: channels that came and went while there was no
// connection have never been read.
func TestGaps_GapReplacedTwice(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{90 * time.Minute, 150 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithChannelLife(time.Hour)})
				l.tickFor(10*time.Minute, 10*time.Second)
				l.portal.Misbehave(pulltest.REST|pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
				l.portal.Cut()
				l.tickFor(away, 10*time.Second)
				l.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
				l.tickFor(20*time.Minute, 10*time.Second)
				if away > 2*time.Hour {
					l.wantGap(GapChannelReplaced)
				} else if lost, repeated, _ := l.ticked(); lost+repeated+countEvents[Gap](l) > 0 {
					t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, countEvents[Gap](l))
				}
			})
		})
	}
}

// TestGaps_GapIsToldUntilHandled: a gap found at a start is found again, until
// a message that bears it has been handled.
func TestGaps_GapIsToldUntilHandled(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(MemoryStore)
		l.start(nil, WithCursorStore(store))
		l.emit("one")
		time.Sleep(time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		l.emit("at the old end")
		l.portal.ReplaceChannel(pulltest.Private)
		goOn := func(h HandlerFunc) *life {
			next := l.goOn(store, h)
			<-next.sub.Ready()
			time.Sleep(time.Minute)
			return next
		}
		if err := goOn(nil).stop(); err != nil {
			t.Fatal(err)
		}
		unhandled := goOn(func(ctx context.Context, m Message) error { <-ctx.Done(); return ctx.Err() })
		unhandled.emit("two")
		time.Sleep(time.Minute)
		unhandled.stop()
		third := goOn(nil)
		third.want("two")
		if third.messages[0].Gap == nil {
			t.Error("no message has borne the gap")
		}
		if err := third.stop(); err != nil {
			t.Fatal(err)
		}
		last := goOn(nil)
		last.emit("three")
		time.Sleep(time.Second)
		last.want("three")
		if n := countEvents[Gap](last); n > 0 {
			t.Errorf("%d gaps after it was told", n)
		}
	})
}

// TestGaps_OlderSequenceAfterRestart: a server whose sequence of mids is older
// than the cursor's, at the same address.
func TestGaps_OlderSequenceAfterRestart(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(MemoryStore)
		l.start(nil, WithCursorStore(store))
		l.emit("one")
		time.Sleep(10 * time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		c := &store.cursor // of a sequence that has begun later
		c.position.Watermark.Epoch += 1000
		c.position.RetentionProbe.Epoch += 1000
		for i := range c.position.Acked {
			c.position.Acked[i].Mid.Epoch += 1000
		}
		l.emit("while down")
		next := l.goOn(store, nil, WithBackoff(soon))
		<-next.sub.Ready()
		time.Sleep(3 * time.Second)
		next.emit("live")
		time.Sleep(time.Minute)
		next.portal.CutWebSockets()
		next.emit("hole")
		time.Sleep(time.Hour)
		next.emit("live again")
		time.Sleep(time.Hour)
		got := next.commands()
		for _, c := range []string{"while down", "live", "hole", "live again"} {
			if !slices.Contains(got, c) {
				t.Errorf("%s did not arrive: %q", c, got)
			}
		}
		if !slices.ContainsFunc(lifeEvents[Gap](next), func(g Gap) bool { return g.Reason == GapServerChanged }) {
			t.Errorf("gaps %+v", lifeEvents[Gap](next))
		}
	})
}
