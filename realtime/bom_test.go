package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestBom_PHPRelay: where PHP with byte order marks answers REST and relays the
// polls, nothing is lost.
func TestBom_PHPRelay(t *testing.T) {
	t.Parallel()
	for _, version := range []int{5, 3, 1}[:resttest.Rounds(3)] {
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
