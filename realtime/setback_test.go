package realtime

import (
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// changedServers counts the gaps that tell of another history.
func changedServers(l *life) (n int) {
	for _, g := range lifeEvents[Gap](l) {
		if g.Reason == GapServerChanged {
			n++
		}
	}
	return n
}

// TestSetback_SlowPublishers: on a server of the cloud, with thousands of ids a
// second, what a slow publisher has kept back for seconds is no sign of a
// counter that was set back.
func TestSetback_SlowPublishers(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		for _, transport := range []Transport{TransportWebSocket, TransportLongPolling} {
			t.Run(fmt.Sprint("version ", version, " ", transport), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start([]pulltest.Option{
						pulltest.WithVersion(version), pulltest.WithTraffic(20_000),
						pulltest.WithProcesses(2, 6), pulltest.WithDisorder(40 * time.Second),
					}, WithTransport(transport))
					for n := range 300 {
						m := pulltest.Message{Command: fmt.Sprint(n)}
						if n%3 == 0 {
							m.Expiry = -1
						}
						l.portal.Emit(m)
						time.Sleep(2 * time.Second)
						if n%5 == 0 {
							l.portal.Ping() // so that the history is read
						}
					}
					time.Sleep(time.Minute)
					if n := changedServers(l); n > 0 {
						t.Errorf("%d times another server", n)
					}
				})
			})
		}
	}
}

// TestSetback_SetBack: a counter that really was set back is noticed, once, and
// what comes is delivered: on a quiet portal, where it falls by a few ids, as
// on a busy one.
func TestSetback_SetBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		traffic int
		back    uint64
	}{{"quiet", 0, 50}, {"cloud", 1000, 150_000}, {"to the beginning", 1000, 1 << 60}}
	for _, tt := range tests {
		for _, version := range []int{3, 4, 5} {
			for _, transport := range []Transport{TransportWebSocket, TransportLongPolling} {
				t.Run(fmt.Sprint(tt.name, " version ", version, " ", transport), func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) {
						l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithTraffic(tt.traffic)}, WithTransport(transport))
						sent := 0
						emitFor := func(d time.Duration) {
							for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(shorter(5*time.Second, 10*time.Second)) {
								l.emit("message")
								sent++
							}
						}
						emitFor(10 * time.Minute)
						if n := changedServers(l); n > 0 {
							t.Fatalf("%d times another server, without a reason", n)
						}
						l.portal.SetBack(tt.back)
						emitFor(2 * time.Minute)
						if n := changedServers(l); n != 1 {
							t.Errorf("%d times another server", n)
						}
						if n := len(l.commands()); transport == TransportWebSocket && n != sent {
							t.Errorf("%d of %d", n, sent)
						}
					})
				})
			}
		}
	}
}
