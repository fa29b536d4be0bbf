package pulltest_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestObserver_Calls: an observer that calls the portal does not stand in its
// way, and what it brings about is told behind what it was called for.
func TestObserver_Calls(t *testing.T) {
	onBoth := func(t *testing.T, run func(*testing.T, ...pulltest.Option)) {
		t.Run("memory", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, pulltest.WithNetwork(pulltest.NewNetwork())) })
		})
		t.Run("sockets", func(t *testing.T) { run(t) })
	}
	onBoth(t, func(t *testing.T, opts ...pulltest.Option) {
		var p *pulltest.Portal
		l := new(eventLog)
		started := make(chan struct{})
		p = pulltest.NewPortal(append(opts, pulltest.WithObserver(func(e pulltest.Event) {
			<-started
			l.add(e)
			p.Stats()
			p.Subscribers()
			p.ConfigJSON()
			switch {
			case e.Command == "ask":
				p.Emit(pulltest.Message{Command: "answer"})
			case e.Command == "cut":
				p.Ping()
				p.Cut()
				p.SetClock(time.Hour)
			case e.Command == "reset":
				p.Reset()
			}
		}))...)
		close(started)
		ws := dial(t, p, "")
		defer ws.Close()
		for _, command := range []string{"ask", "cut", "reset", "ask"} {
			p.Emit(pulltest.Message{Command: command})
		}
		p.Close()
		var commands []string
		for _, e := range l.take(false) {
			if e.Kind == pulltest.Published {
				commands = append(commands, e.Command)
			}
		}
		if got := strings.Join(commands, " "); strings.Count(got, "ask") != 2 || strings.Count(got, "answer") != 2 {
			t.Errorf("told of %s", got)
		}
	})
}

// TestObserver_Order: whoever publishes meanwhile, a message is published before
// it is delivered, and a connection comes before what it is sent and does not
// get anything behind its end. Everything has been told when Close returns.
func TestObserver_Order(t *testing.T) {
	l := new(eventLog)
	p := pulltest.NewPortal(pulltest.WithObserver(l.add))
	const publishers, each, subscribers = 4, 200, 2
	var wg, connected sync.WaitGroup
	connected.Add(subscribers)
	for range publishers {
		wg.Go(func() {
			connected.Wait()
			for i := range each {
				p.Emit(pulltest.Message{Command: "x", Expiry: -1})
				if i%50 == 25 {
					p.Cut()
				}
			}
		})
	}
	for range subscribers {
		wg.Go(func() {
			for i := range 20 {
				ws, _, err := dialURL(p, subURL(t, p, ""))
				if i == 0 {
					connected.Done()
				}
				for err == nil {
					_, _, err = ws.ReadMessage()
				}
				if ws != nil {
					ws.Close()
				}
				if p.Stats().Published == publishers*each {
					return
				}
			}
		})
	}
	time.AfterFunc(time.Second, func() { p.Cut() })
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for end := false; !end; {
		select {
		case <-done:
			end = true
		case <-time.After(10 * time.Millisecond):
			if p.Stats().Published == publishers*each {
				p.Cut()
			}
		}
	}
	stats := p.Stats()
	p.Close()
	published, open, heard := make(map[string]bool), make(map[int]bool), make(map[int]string)
	last, delivered := "", 0
	var at time.Time
	for _, e := range l.take(false) {
		if e.Time.Before(at) {
			t.Fatal("an event is told of before an earlier one")
		}
		at = e.Time
		switch e.Kind {
		case pulltest.Published:
			if e.Mid <= last {
				t.Fatalf("mid %s behind %s", e.Mid, last)
			}
			last, published[e.Mid] = e.Mid, true
		case pulltest.Subscribed:
			open[e.Subscriber] = true
		case pulltest.Unsubscribed:
			if !open[e.Subscriber] {
				t.Fatalf("connection %d ends twice, or before it begins", e.Subscriber)
			}
			delete(open, e.Subscriber)
		case pulltest.Delivered:
			delivered++
			if !published[e.Mid] || !open[e.Subscriber] || e.Mid <= heard[e.Subscriber] {
				t.Fatalf("%s: published %t, open %t, %s behind %s", line(e), published[e.Mid], open[e.Subscriber], e.Mid, heard[e.Subscriber])
			}
			heard[e.Subscriber] = e.Mid
		}
	}
	if len(published) != publishers*each || len(open) != 0 || delivered != stats.Sent || delivered == 0 {
		t.Errorf("%d published, %d of %d delivered, open at the end %v", len(published), delivered, stats.Sent, open)
	}
}
