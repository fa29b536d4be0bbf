package realtime

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// idlers are subscriptions, each to a portal of its own, to which nothing
// happens.
func idlers(t *testing.T, n int) (portals []*pulltest.Portal, subs []*Subscription) {
	network := pulltest.NewNetwork()
	ctx, cancel := context.WithCancel(t.Context())
	for range n {
		portal := pulltest.NewPortal(pulltest.WithNetwork(network))
		sub, err := Subscribe(client(t, portal), WithCursorStore(new(MemoryStore)))
		if err != nil {
			t.Fatal(err)
		}
		go sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
		portals, subs = append(portals, portal), append(subs, sub)
	}
	t.Cleanup(func() {
		cancel()
		for i, sub := range subs {
			<-sub.Done()
			portals[i].HTTPClient().CloseIdleConnections()
			portals[i].Close()
		}
	})
	for _, sub := range subs {
		if err := sub.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return portals, subs
}

// goroutinesIn counts the goroutines in which functions run.
func goroutinesIn(function string) (n int) {
	text := make([]byte, 64<<10)
	for {
		if size := runtime.Stack(text, true); size < len(text) {
			text = text[:size]
			break
		}
		text = make([]byte, 2*len(text))
	}
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		if strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// TestIdle_Goroutines: a subscription to which nothing happens has two
// goroutines, that of Run and one that waits for the next frame from where its
// stack is small, also when the server has pinged and messages have come.
func TestIdle_Goroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := shorter(20, 8)
		portals, subs := idlers(t, n)
		check := func(when string) {
			t.Helper()
			synctest.Wait()
			for function, want := range map[string]int{
				"realtime.(*Subscription).Run(":        n,
				"realtime.(*reader).run(":              n,
				"transport.(*aheadConn).fill(":         n,
				"gorilla/websocket.":                   0,
				"realtime.(*Subscription).receive(":    0,
				"realtime.(*committer).run(":           0,
				"net/http.(*persistConn).writeLoop(":   0,
				"realtime.serve(":                      0,
				"realtime/internal/rpc.(*Line).Run(":   0,
				"realtime/internal/transport.(*Socket": 0,
			} {
				if got := goroutinesIn(function); got != want {
					t.Errorf("%s: %d goroutines are in %s of %d subscriptions, want %d", when, got, strings.TrimSuffix(function, "("), n, want)
				}
			}
		}
		time.Sleep(time.Minute)
		check("after a minute")
		time.Sleep(10 * time.Minute)
		check("when the server has pinged")
		for _, portal := range portals {
			for range 10 {
				portal.Emit(pulltest.Message{})
			}
		}
		time.Sleep(30 * time.Second)
		check("when messages have come")
		for _, sub := range subs {
			if got := sub.Stats().Handled; got != 10 {
				t.Fatalf("%d messages were handled, want 10", got)
			}
		}
	})
}

// TestIdle_Day runs subscriptions through a day of a portal's: pings, replays,
// channels and configs that end. It tells what that takes, in the log of a
// thorough run; what it asks of servers is counted.
func TestIdle_Day(t *testing.T) {
	skipLong(t)
	n := 3
	if resttest.Thorough {
		n = 10
	}
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		portals, subs := idlers(t, n)
		cpu := processTime()
		time.Sleep(day)
		cpu = processTime() - cpu
		var all pulltest.Stats
		for i, portal := range portals {
			s := portal.Stats()
			all.Configs, all.WebSockets, all.Polls, all.Pings = all.Configs+s.Configs, all.WebSockets+s.WebSockets, all.Polls+s.Polls, all.Pings+s.Pings
			if gaps, state := subs[i].Stats().Gaps, subs[i].State(); gaps > 0 || state != StateLive {
				t.Errorf("gaps: %d, state %v", gaps, state)
			}
		}
		t.Logf("a subscription and a day: %d configs, %d websockets, %d polls, %d pings, %v of CPU with the portal's", all.Configs/n, all.WebSockets/n, all.Polls/n, all.Pings/n, cpu/time.Duration(n))
		if most := 2 + int(day/(2*time.Minute)); all.Polls/n > most+20 || all.Configs/n > 10 || all.WebSockets/n > 5 {
			t.Errorf("too much is asked for: %+v", all)
		}
	})
}
