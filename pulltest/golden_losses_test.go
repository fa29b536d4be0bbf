package pulltest_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// wantLike fails the test unless so many messages were lost as on a real server,
// within a factor of three.
func wantLike(t *testing.T, lost, of, measured, measuredOf int) {
	t.Helper()
	real := float64(measured) / float64(measuredOf)
	if share := float64(lost) / float64(of); share < real/3 || share > real*3 {
		t.Errorf("a naive client lost %d of %d, with a real server %d of %d", lost, of, measured, measuredOf)
	}
}

// naive is a client that goes on from the last mid it has seen, as the official
// one does, and trusts what comes live.
type naive struct {
	seen map[string]bool
	last string
}

// read takes messages until the websocket ends.
func (c *naive) read(t *testing.T, ws *websocket.Conn) {
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		for _, m := range decode(t, frame) {
			c.seen[m.Mid], c.last = true, m.Mid
		}
	}
}

// TestGolden_LossesAtHandover: with cuts every 0.1 to 0.6 s and 300 messages a
// second, the official client without its delays lost 18 of 48,000.
func TestGolden_LossesAtHandover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		const messages = 48_000
		n.SetLatency(200 * time.Microsecond)
		random := rand.New(rand.NewPCG(5, 6))
		c, done := &naive{seen: make(map[string]bool)}, make(chan struct{})
		go func() {
			defer close(done)
			for range messages {
				p.Emit(pulltest.Message{Body: `{}`})
				time.Sleep(time.Second / 300)
			}
		}()
		for over := false; !over; {
			ws := dial(t, p, c.last)
			cut := time.AfterFunc(100*time.Millisecond+time.Duration(random.Int64N(int64(500*time.Millisecond))), func() { p.Cut() })
			c.read(t, ws)
			ws.Close()
			cut.Stop()
			select {
			case <-done:
				over = true
			default:
			}
		}
		ws := dial(t, p, c.last)
		time.AfterFunc(time.Second, func() { p.Cut() })
		c.read(t, ws)
		wantLike(t, messages-len(c.seen), messages, 18, 48_000)
	})
}

// TestGolden_LossesAtPings: a client 300 ms away lost 640 and 499 of 6,000 in
// four pings.
func TestGolden_LossesAtPings(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		const messages = 6000
		c := &naive{seen: make(map[string]bool)}
		ws := dial(t, p, "")
		n.SetLatency(150 * time.Millisecond)
		go c.read(t, ws)
		time.Sleep(time.Second)
		for i := range messages {
			if i%1500 == 700 {
				p.Ping()
			}
			p.Emit(pulltest.Message{Body: `{}`})
			time.Sleep(time.Second / 300)
		}
		time.Sleep(time.Second)
		p.Cut()
		time.Sleep(time.Second)
		wantLike(t, messages-len(c.seen), messages, 570, 6000)
	})
}

// TestGolden_LossesByDisorder: a client that polls from the greatest mid lost
// 707 of 6,696 messages that came in bursts from two publishers, and 871 of
// 3,259 when as many had an expiry of 0.
func TestGolden_LossesByDisorder(t *testing.T) {
	tests := []struct {
		name             string
		unkept           bool
		measured, amount int
	}{{"all kept", false, 707, 6696}, {"half", true, 871, 3259}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
				const size = 4 // 300 messages a second
				bursts := 400
				if testing.Short() {
					bursts = 100
				}
				n.SetLatency(200 * time.Microsecond) // as on one machine
				channel := channels(t, p).Channels["private"].ID[:32]
				random := rand.New(rand.NewPCG(7, 8))
				var over atomic.Bool
				go func() {
					publishBursts(t, p, channel, random, bursts, size, tt.unkept, time.Second/75)
					over.Store(true)
				}()
				seen, greatest := make(map[string]bool), ""
				for !over.Load() {
					for _, m := range decode(t, pollMid(t, p, greatest).body) {
						if m.Expiry > 0 {
							seen[m.Mid] = true
						}
						greatest = max(greatest, m.Mid)
					}
				}
				kept := p.Stats().Stored
				wantLike(t, kept-len(seen), kept, tt.measured, tt.amount)
			}, pulltest.WithProcesses(2, 2), pulltest.WithLongPollHold(time.Second))
		})
	}
}
