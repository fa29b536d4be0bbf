package realtime

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestDialsAreGivenUp: a dial function that hangs is told when its connection is not wanted any more, and none
// outlives the run.
func TestDialsAreGivenUp(t *testing.T) {
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				var dialing, dialed atomic.Int32
				client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					dialed.Add(1)
					dialing.Add(1)
					defer dialing.Add(-1)
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}}}
				l.subscribe(nil, WithHTTPClient(client), WithTransport(transport))
				l.run(nil)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := dialing.Load(); n > 2 || dialed.Load() < 10 {
					t.Errorf("after an hour %d of %d dials go on", n, dialed.Load())
				}
				l.sub.Close()
				<-l.done
				synctest.Wait()
				if n := dialing.Load(); n > 0 {
					t.Errorf("%d dials go on after the run", n)
				}
			})
		})
	}
}
