package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestFair_Firehose: one portal sends more than its handler, or the budget of
// all queues, can take; the handler is stuck, or takes its time. Each message
// of all other portals is handled all the same, before the next one is sent.
func TestFair_Firehose(t *testing.T) {
	t.Parallel()
	quiet := 12
	if resttest.Thorough {
		quiet = 999
	}
	for name, takes := range map[string]time.Duration{"a handler that is stuck": 100 * time.Hour, "a slow handler": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				const flood = 200
				rounds := resttest.Rounds(10)
				c := newCrowd(t, n, 1+(quiet+98)/99)
				firehose, others := c.portals[0], c.portals[1:]
				free := make(chan struct{})
				c.heard.do = func(key string, m realtime.Message) error {
					if key == firehose.MemberID() {
						select {
						case <-free:
						case <-time.After(takes):
						}
					}
					return nil
				}
				f := c.fleet(WithQueueBytes(256<<10), WithRequests(4))
				c.add(f, firehose)
				c.world.portals = others
				c.listen(f, quiet)
				c.everyone("is ready", func(key string) bool { return c.events.of(key, KindReady) == 1 })
				c.eventually("the firehose is ready", func() bool { return c.events.of(firehose.MemberID(), KindReady) == 1 })
				time.Sleep(5 * time.Minute) // with so few requests at once, the start takes a while
				late := 0
				for round := range rounds {
					for i := range flood {
						firehose.Emit(pulltest.Message{Command: fmt.Sprint("n", round*flood+i), Params: map[string]string{"text": strings.Repeat("x", 2<<10)}, To: pulltest.Shared})
					}
					for _, p := range others {
						emit(p, round, round)
					}
					time.Sleep(time.Second)
					for _, key := range c.keys {
						if len(c.heard.by(key)) != round+1 {
							late++
						}
					}
				}
				if late > 0 {
					t.Errorf("%d of %d messages were not handled while the firehose was slow", late, rounds*quiet)
				}
				status, _ := f.Status(firehose.MemberID())
				if status.Stats.Reconnects[realtime.CausePaused] == 0 || len(c.heard.from(firehose)) == rounds*flood {
					t.Errorf("the firehose was none: it has paused %d times", status.Stats.Reconnects[realtime.CausePaused])
				}
				close(free)
				c.eventually("the firehose's own", func() bool { return len(c.heard.from(firehose)) >= rounds*flood })
				if got := c.heard.from(firehose); len(got) != rounds*flood || got[0] != "n0" || got[len(got)-1] != fmt.Sprint("n", rounds*flood-1) {
					t.Errorf("of the firehose %d messages were handled, %q to %q", len(got), got[0], got[len(got)-1])
				}
				c.must(f.Shutdown(t.Context()))
			})
		})
	}
}

// hangs has hosts accept connections and say nothing.
func (w *wire) hangs(suffix string) {
	before := w.dial
	w.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); strings.HasSuffix(host, suffix) {
			here, there := net.Pipe()
			go func() { // it takes what is sent
				b := make([]byte, 1<<10)
				for {
					if _, err := there.Read(b); err != nil {
						there.Close()
						return
					}
				}
			}()
			return here, nil
		}
		return before(ctx, network, address)
	}
}

// TestFair_Hanging: a thousand portals accept connections and say nothing. One
// that answers is ready within the time that each of them keeps its place for,
// at first, and at once when it is known who hangs.
func TestFair_Hanging(t *testing.T) {
	t.Parallel()
	t.Run("for as long as clients wait by default", func(t *testing.T) { fairHanging(t, b24pull.DefaultTimeout) })
	t.Run("for less than a place is kept", func(t *testing.T) { fairHanging(t, 2*time.Second) })
}

func fairHanging(t *testing.T, timeout time.Duration) {
	t.Parallel()
	hanging, bound := 50, 16
	if resttest.Thorough {
		hanging, bound = 1000, 32
	}
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		c := newCrowd(t, n, 1)
		c.hangs(".hangs.example")
		f := c.fleet(WithRequests(bound))
		for i := range hanging {
			client, err := b24pull.New(b24pull.Webhook(fmt.Sprintf("https://p%d.hangs.example/rest/1/s3cr3t/", i)), b24pull.WithHTTPClient(c.client), b24pull.WithTimeout(timeout))
			c.must(err)
			c.must(f.Add(fmt.Sprint("hangs ", i), client, c.heard.of("nobody")))
		}
		begun := time.Now()
		c.listen(f, 1)
		healthy := c.keys[0]
		for c.events.of(healthy, KindReady) == 0 {
			time.Sleep(100 * time.Millisecond)
			if time.Since(begun) > time.Duration(hanging/(bound-bound/8)+1)*5*time.Second+20*time.Second {
				t.Fatalf("it is not ready after %v", time.Since(begun))
			}
		}
		t.Logf("among %d that hang, none of them known, it was ready after %v", hanging, time.Since(begun))
		time.Sleep(5 * time.Minute) // by now all have hung once
		c.must(f.Remove(t.Context(), healthy))
		begun = time.Now()
		c.listen(f, 1)
		c.eventually("is ready again", func() bool { return c.events.of(healthy, KindReady) == 2 })
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("among those that are known to hang it was ready after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun = time.Now()
		c.must(f.Shutdown(ctx))
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("Shutdown has waited for those that hang: %v", took)
		}
	})
}

// TestFair_Failing: a portal whose REST always fails is asked again at growing
// distances, each portal at its own, and holds up no other.
func TestFair_Failing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		failing := 8
		if resttest.Thorough {
			failing = 20
		}
		c := newCrowd(t, n, 1+failing)
		bad, good := c.portals[1:], c.portals[:1]
		for _, p := range bad {
			p.Misbehave(pulltest.REST, pulltest.RESTError(403, "insufficient_scope"))
		}
		f := c.fleet(WithRequests(2))
		for _, p := range bad {
			c.add(f, p)
		}
		c.world.portals = good
		begun := time.Now()
		c.listen(f, resttest.Rounds(50))
		c.everyone("is ready", func(key string) bool { return c.events.of(key, KindReady) == 1 })
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the others were ready after %v", took)
		}
		time.Sleep(2 * time.Hour)
		var fifth []time.Duration
		for _, p := range bad {
			var delays []time.Duration
			for _, e := range c.events.kind(p.MemberID(), KindFailed) {
				delays = append(delays, e.Delay)
			}
			if len(delays) < 8 || len(delays) > 30 {
				t.Fatalf("in two hours it was tried %d times", len(delays))
			}
			for i := 1; i < 7; i++ {
				if ratio := float64(delays[i]) / float64(delays[i-1]); ratio < 1.6 || ratio > 2.5 {
					t.Errorf("delays %v", delays)
					break
				}
			}
			fifth = append(fifth, delays[4])
		}
		slices.Sort(fifth)
		if spread := fifth[failing-1] - fifth[0]; spread < fifth[0]/20 || len(slices.Compact(fifth)) < failing {
			t.Errorf("they come back together: %v", fifth)
		}
		if n := c.events.of(c.keys[0], KindFailed); n > 0 {
			t.Errorf("a portal that works has failed %d times", n)
		}
		c.must(f.Shutdown(t.Context()))
	})
}

// kind are the events of a kind.
func (e *events) kind(key string, kind Kind) (all []Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Key == key && event.Kind == kind {
			all = append(all, event)
		}
	}
	return all
}

// TestShutdown_Many: a thousand portals are shut down within one deadline, of
// which some hang in their handlers and some on their way to a server. Whatever
// the others have received is handled, and the error names those that hang.
func TestShutdown_Many(t *testing.T) {
	t.Parallel()
	all := resttest.Rounds(200)
	if resttest.Thorough {
		all = 1000
	}
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		const stuck, lost, deadline = 7, 30, 30 * time.Second
		c := newCrowd(t, n, (all+98)/99)
		c.hangs(".hangs.example")
		free := make(chan struct{})
		isStuck := func(key string) bool { return len(key) == len("key 0") && key < fmt.Sprint("key ", stuck) }
		c.heard.do = func(key string, m realtime.Message) error {
			switch {
			case isStuck(key):
				<-free
			default:
				time.Sleep(2 * time.Second)
			}
			return nil
		}
		f := c.fleet()
		c.listen(f, all)
		for i := range lost {
			client, err := b24pull.New(b24pull.Webhook(fmt.Sprintf("https://p%d.hangs.example/rest/1/s3cr3t/", i)), b24pull.WithHTTPClient(c.client))
			c.must(err)
			c.must(f.Add(fmt.Sprint("hangs ", i), client, c.heard.of("nobody")))
		}
		c.everyone("is ready", func(key string) bool { return c.events.of(key, KindReady) == 1 })
		for _, p := range c.portals {
			emit(p, 1, 3)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		begun := time.Now()
		err := f.Shutdown(ctx)
		if took := time.Since(begun); took < deadline || took > deadline+time.Second {
			t.Errorf("it has taken %v", took)
		}
		var failed *ShutdownError
		if !errors.As(err, &failed) || len(failed.Keys) != stuck || failed.Unhandled != 3*stuck || !errors.Is(err, context.DeadlineExceeded) || !isStuck(failed.Keys[stuck-1]) {
			t.Errorf("Shutdown: %v", err)
		}
		for _, key := range c.keys {
			if got := len(c.heard.by(key)); !isStuck(key) && got != 3 {
				t.Fatalf("%s has handled %d of 3", key, got)
			}
		}
		if left := f.Keys(); len(left) != stuck {
			t.Errorf("%d keys are left", len(left))
		}
		close(free)
		c.must(func() error { f.Shutdown(t.Context()); return nil }())
		if left := f.Keys(); len(left) > 0 {
			t.Errorf("%d keys are left at last", len(left))
		}
	})
}
