package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestBom_PHPRelay: where PHP with byte order marks answers REST and relays the
// polls, nothing is lost.
func TestBom_PHPRelay(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 3, 5} {
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open(pulltest.WithVersion(version))
			l.portal.Misbehave(pulltest.REST|pulltest.Polls, pulltest.ByteOrderMark)
			l.subscribe(nil, WithTransport(TransportLongPolling))
			l.run(nil)
			<-l.sub.Ready()
			l.tickFor(2*time.Minute, time.Second)
			time.Sleep(time.Minute)
			l.wantTicks()
			if n := countEvents[Undecodable](l); n > 0 {
				t.Errorf("version %d: %d messages could not be decoded", version, n)
			}
		})
	}
}
