package realtime

import (
	"net/http"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestTimeouts_OfTheClient: what bounds a call of REST, in the HTTP client and
// its transport, bounds neither polls nor websockets.
func TestTimeouts_OfTheClient(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		l.open(portal...)
		user := l.portal.HTTPClient().Transport.(*http.Transport).Clone()
		user.ResponseHeaderTimeout, user.IdleConnTimeout = 2*time.Second, time.Second
		user.MaxConnsPerHost = 2
		t.Cleanup(user.CloseIdleConnections)
		l.subscribe(nil, WithTransport(transport), WithHTTPClient(&http.Client{Transport: user, Timeout: 3 * time.Second}))
		l.run(nil)
		select {
		case <-l.sub.Ready():
		case <-l.done:
			t.Fatal(l.err)
		}
		l.tickFor(10*time.Minute, time.Minute)
		time.Sleep(time.Minute)
		l.wantTicks()
		if waits := l.changes(StateWaiting); len(waits) > 0 {
			t.Errorf("%d connections lost, the first by %v", len(waits), waits[0].Cause)
		}
	})
}
