package realtime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestPolls_Disorder: a poll that brings a message whose id is below others'
// has brought something: the next one follows at once, and nothing that is
// published meanwhile has to wait, or is lost if the server does not keep it.
// Only what is stored between two polls waits for a replay.
func TestPolls_Disorder(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithProcesses(1, 2), pulltest.WithDisorder(100*time.Millisecond))
		l.subscribe(nil, WithTransport(TransportLongPolling))
		arrived := make(map[int]time.Time)
		l.run(func(_ context.Context, m Message) error {
			n, err := Decode[numbered](m)
			arrived[n.N] = time.Now()
			return err
		})
		<-l.sub.Ready()
		var sent []time.Time
		for range resttest.Rounds(600) {
			for range 2 {
				sent = append(sent, time.Now())
				l.tick()
			}
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		late := 0
		for n, at := range sent {
			if arrived[n].Sub(at) > 300*time.Millisecond {
				late++
			}
		}
		if late > len(sent)/20 {
			t.Errorf("%d of %d messages came late", late, len(sent))
		}
	})
}
