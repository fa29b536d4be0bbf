package realtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestChaos runs many short lives in which everything happens at random: cuts of websockets, of polls or of both,
// pings, distance, a small queue and a slow handler, bursts, messages to two receivers and messages that are not
// kept. No kept message may be lost, no message repeated, and the kept ones stay in order.
func TestChaos(t *testing.T) {
	t.Parallel()
	seeds := 16
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			onVirtualTime(t, func(t *testing.T, l *life) { chaos(t, l, rand.New(rand.NewPCG(uint64(seed), 7))) })
		})
	}
}

func chaos(t *testing.T, l *life, random *rand.Rand) {
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d) + 1)) }
	// near enough that a cut read goes on within the two seconds for which live messages wait for it
	l.network.SetLatency(upTo(60 * time.Millisecond))
	l.open(
		pulltest.WithPingInterval(2*time.Second+upTo(10*time.Second)),
		pulltest.WithGather(upTo(400*time.Millisecond)),
		pulltest.WithHandover(upTo(50*time.Millisecond)),
	)
	for n := range random.IntN(3) { // what was kept before
		l.portal.Emit(pulltest.Message{Params: numbered{-n - 1}})
		time.Sleep(upTo(10 * time.Second))
	}
	l.subscribe(nil, WithBackoff(soon))
	if random.IntN(2) == 0 {
		l.sub.queue.maxMessages = 20 + random.IntN(200)
	}
	slow := upTo(4 * time.Millisecond)
	kept, transient := newTally(), newTally()
	l.run(func(_ context.Context, m Message) error {
		time.Sleep(slow)
		if m.Command == "transient" {
			transient.add(t, m)
			return nil
		}
		kept.add(t, m)
		return nil
	})
	<-l.sub.Ready()

	const n = 3000
	var cutting sync.WaitGroup
	stop := make(chan struct{})
	faults := rand.New(rand.NewPCG(random.Uint64(), 1))
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(300*time.Millisecond + time.Duration(faults.Int64N(int64(2*time.Second)))):
			}
			switch faults.IntN(4) {
			case 0:
				l.portal.CutWebSockets()
			case 1:
				l.portal.CutPolls()
			case 2:
				l.portal.Ping()
			default:
				l.portal.Cut()
			}
		}
	})
	for i := 0; i < n; {
		for range 1 + random.IntN(5) {
			if random.IntN(4) == 0 {
				l.portal.Emit(pulltest.Message{Command: "transient", Params: numbered{i}, Expiry: -1})
			} else {
				to := pulltest.Private
				if random.IntN(4) == 0 {
					to = pulltest.Both
				}
				l.portal.Emit(pulltest.Message{Params: numbered{i}, To: to})
				kept.expect(i)
			}
			i++
		}
		time.Sleep(upTo(20 * time.Millisecond))
	}
	close(stop)
	cutting.Wait()
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	lost, repeated, disordered := kept.check()
	_, again, _ := transient.check()
	if lost+repeated+disordered+again > 0 {
		t.Errorf("lost %d, repeated %d (and %d not kept), out of order %d of %d", lost, repeated, again, disordered, len(kept.seen))
	}
	if l.err != nil && !errors.Is(l.err, context.Canceled) {
		t.Error(l.err)
	}
}
