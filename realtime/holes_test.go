package realtime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// holes are where a real push server's live delivery leaves messages out, each
// on demand. The portal keeps all of them.
var holes = []struct {
	name   string
	portal []pulltest.Option
	make   func(l *life, i int) // called before message i is published
}{
	{
		"start: cut before the first message",
		nil,
		func(l *life, i int) {
			if i == 0 {
				l.portal.Cut()
			}
		},
	},
	{
		"handover: the history is read, and then live messages are registered for",
		[]pulltest.Option{pulltest.WithHandover(20 * time.Millisecond)},
		func(l *life, i int) {
			if i%50 == 7 {
				l.portal.Cut()
			}
		},
	},
	{
		"ping: nothing is sent until the pong",
		nil,
		func(l *life, i int) {
			if i == 0 {
				l.network.SetLatency(150 * time.Millisecond)
			}
			if i%100 == 50 {
				l.portal.Ping()
			}
		},
	},
	{
		"disorder: ids overtake each other on the way to the store",
		[]pulltest.Option{pulltest.WithProcesses(2, 2), pulltest.WithDisorder(200 * time.Millisecond)},
		func(l *life, i int) {
			if i%50 == 7 {
				l.portal.Cut()
			}
			l.portal.Emit(pulltest.Message{Command: "transient", Expiry: -1})
		},
	},
	{
		"silence: a server process has lost its subscription to the store",
		nil,
		func(l *life, i int) {
			if i == 100 {
				l.portal.Silence(0, time.Second)
			}
		},
	},
}

// TestHoles: what a hole leaves out is found by replays, and lost without them.
func TestHoles(t *testing.T) {
	t.Parallel()
	const n = 400
	run := func(t *testing.T, l *life, opts []pulltest.Option, make func(*life, int), reads bool) (lost, repeated int) {
		l.open(opts...)
		l.subscribe(nil, WithBackoff(soon), WithTransport(TransportWebSocket))
		if !reads {
			l.sub.poll = noReplays{}
		}
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			if m.Command != "transient" {
				got.add(t, m)
			}
			return nil
		})
		<-l.sub.Ready()
		time.Sleep(5 * time.Second)
		for i := range n {
			make(l, i)
			l.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{i}})
			time.Sleep(time.Second / 300)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		lost, repeated, _ = got.count(n)
		return lost, repeated
	}
	for _, version := range []int{3, 4, 5} {
		for _, h := range holes {
			opts := append(h.portal[:len(h.portal):len(h.portal)], pulltest.WithVersion(version))
			t.Run(h.name, func(t *testing.T) {
				resttest.Sample(t)
				t.Parallel()
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					if lost, repeated := run(t, l, opts, h.make, true); lost+repeated > 0 {
						t.Errorf("version %d: lost %d, repeated %d", version, lost, repeated)
					}
				})
				if version == 3 && h.name[:4] == "ping" {
					return // it has no such hole
				}
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					if lost, _ := run(t, l, opts, h.make, false); lost == 0 {
						t.Errorf("version %d: nothing is lost without replays: the hole is none", version)
					}
				})
			})
		}
	}
}
