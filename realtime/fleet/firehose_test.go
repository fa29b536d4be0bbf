package fleet

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestFair_FirehoseRate: one portal has 50,000 messages a second, whose handler
// is stuck, or takes a millisecond for each, which is fifty times too long; the
// others have one a second on the average, four of them at once, which is more
// than a queue has for itself: with what is beyond that they take less than half
// of the budget, and with all of it more. None of them pauses, or handles one
// late; and nothing is lost of the firehose, nor comes twice.
func TestFair_FirehoseRate(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"a handler that is stuck": 100 * time.Hour, "a slow handler": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			inBubble(t, func(t *testing.T, n *pulltest.Network) { firehoseRate(t, n, takes) })
		})
	}
}

func firehoseRate(t *testing.T, n *pulltest.Network, takes time.Duration) {
	const (
		perSecond = 50_000
		atOnce    = 4                      // messages of a quiet one
		together  = 30                     // quiet ones, at the same time
		next      = 120 * time.Millisecond // until the next of them
		works     = 25 * time.Millisecond  // their handlers, for a message
		within    = atOnce*works + 10*time.Millisecond
		size      = 7 << 10 // of their messages, of which one is with the handler
		budget    = together * 2 * (atOnce*size - queueShare + 4<<10)
	)
	quiet, lasts := 999, 4400*time.Millisecond
	if !resttest.Thorough {
		quiet, lasts = 2*together, 800*time.Millisecond
	}
	l, err := n.Listen("push.example:80")
	if err != nil {
		t.Fatal(err)
	}
	s := newPushServer(t, 1+quiet, l)
	transport := &http.Transport{DialContext: n.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	client := realtime.WithHTTPClient(&http.Client{Transport: transport})

	var mu sync.Mutex
	var handled, late int // of the quiet ones
	var latest time.Duration
	var wants, wrong int64 // of the firehose
	free := make(chan struct{})
	f, err := New(WithQueueBytes(budget))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range s.channels {
		h := func(_ context.Context, m realtime.Message) error {
			at, err := sentAt(m)
			if err != nil {
				return err
			}
			if c.busy {
				select {
				case <-free:
				default:
					select {
					case <-free:
					case <-time.After(takes):
					}
				}
				if wants++; at != wants {
					wrong++
				}
				return nil
			}
			time.Sleep(works)
			took := time.Since(time.Unix(0, at))
			mu.Lock()
			defer mu.Unlock()
			handled++
			if latest = max(latest, took); took > within {
				late++
			}
			return nil
		}
		if !c.busy {
			c.pad = strings.Repeat("x", size-600) // beside what else there is of them
		}
		if err := f.Add(fmt.Sprint(i), realtime.FromConfig(s.config(t, i)), realtime.HandlerFunc(h), client); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute) // until all are ready
	if live := f.Stats().Live; live != 1+quiet {
		t.Fatalf("%d of %d are live", live, 1+quiet)
	}

	begun := time.Now()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for sent := int64(0); ; time.Sleep(time.Millisecond) {
			took := min(time.Since(begun), lasts) // who sends may be held up
			due := int64(perSecond * took.Seconds())
			s.channels[0].send(due - sent)
			if sent = due; took == lasts {
				return
			}
		}
	}()
	time.Sleep(200 * time.Millisecond) // which fill the firehose's queue
	sent := 0
	for turn := 0; time.Since(begun) < lasts-next; turn++ {
		for i := range together {
			if n := turn%((quiet+together-1)/together)*together + i; n < quiet {
				s.channels[1+n].send(atOnce)
				sent += atOnce
			}
		}
		time.Sleep(next)
	}
	<-over
	time.Sleep(time.Second)
	mu.Lock()
	if late > 0 || handled != sent {
		t.Errorf("of %d messages %d were handled, %d of them late, after up to %v; want %v", sent, handled, late, latest, within)
	}
	mu.Unlock()
	status, _ := f.Status("0")
	if paused := f.Stats().Total.Reconnects[realtime.CausePaused] - status.Stats.Reconnects[realtime.CausePaused]; paused > 0 {
		t.Errorf("the others have paused %d times: there was no room for their messages", paused)
	}
	all := s.channels[0].last.Load()
	if done := status.Stats.Handled; status.Stats.Reconnects[realtime.CausePaused] == 0 || int64(done) > all/4 {
		t.Errorf("the firehose was none: it has paused %d times, and handled %d of %d", status.Stats.Reconnects[realtime.CausePaused], done, all)
	}
	close(free)
	for range 600 {
		if status, _ = f.Status("0"); int64(status.Stats.Handled) >= all {
			break
		}
		time.Sleep(time.Second)
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if wants != all || wrong > 0 {
		t.Errorf("of %d messages of the firehose %d were handled, %d of them not in their turn", all, wants, wrong)
	}
	t.Logf("%d messages of the firehose, %d of others, handled after up to %v", all, handled, latest)
}
