package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestLastReadIsPatient: the end of a channel that was replaced is read even if the server cannot be read for a while
// just then.
func TestLastReadIsPatient(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithBackoff(soon))
		time.Sleep(time.Minute)
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(time.Second)
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway)
		l.portal.Cut()
		l.portal.EmitOld(pulltest.Message{Command: "at its end"})
		time.Sleep(time.Minute)
		l.portal.Behave(pulltest.Polls | pulltest.WebSockets)
		time.Sleep(time.Minute)
		l.want("at its end")
		if n := countEvents[Gap](l); n > 0 {
			t.Errorf("%d gaps", n)
		}
	})
}
