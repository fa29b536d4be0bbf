package realtime

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// losses are the ways in which a push server gives up a websocket: the close
// codes it is documented to send, and none.
var losses = []struct {
	code   int // 0: no close frame, which a client sees as 1006
	reason string
	fetch  bool // the config is fetched anew
	long   bool // the wait is about a minute
}{
	{code: 0},
	{code: 1000},
	{code: 1001, reason: "going away"},
	{code: 1008},
	{code: 1009, reason: "message too big"},
	{code: 4010, reason: "4010: Wrong Channel Id.", fetch: true},
	{code: 4011, reason: "4011: Couldn't get last messages"},
	{code: 4012, reason: "4012: Public channel id is required", fetch: true},
	{code: 4013, reason: "4013: Wrong request data"},
	{code: 4014, reason: "4014: Command is not allowed"},
	{code: 4016, reason: "4016: Too many messages"},
	{code: 4017, reason: "4017: No channels", fetch: true},
	{code: 4018, reason: "4018: Too many channels", fetch: true},
	{code: 4019, reason: "4019: Invalid channel id", fetch: true},
	{code: 4020, reason: "4020: Private channel is not allowed"},
	{code: 4021, reason: "4021: Invalid signature", fetch: true},
	{code: 4029, reason: "4029: Too many connections", long: true},
	{code: 4030, reason: "4030: Wrong channel stats request"},
	{code: 4031, reason: "4031: Wrong server stats request"},
	{code: 4035, reason: "4035: Unknown command"},
	{code: 4036, reason: "4036: Wrong client id", fetch: true},
}

// TestCloseCodes: whatever code a websocket is closed with, the subscription
// lives on and loses nothing.
func TestCloseCodes(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		for _, loss := range losses {
			t.Run(fmt.Sprintf("version %d code %d", version, loss.code), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithTransport(TransportWebSocket))
					l.emit("before")
					time.Sleep(time.Minute)
					if loss.code == 0 {
						l.portal.CutWebSockets()
					} else {
						l.portal.CloseWebSockets(loss.code, loss.reason)
					}
					l.emit("meanwhile")
					wait := l.lastWait()
					var closed *CloseError
					switch is := errors.As(wait.Cause, &closed); {
					case is != (loss.code != 0):
						t.Errorf("cause is %v", wait.Cause)
					case is && (closed.Code != loss.code || closed.Reason != loss.reason):
						t.Errorf("closed with %d, %q", closed.Code, closed.Reason)
					}
					l.comesBack(wait, 500*time.Millisecond, loss.fetch, loss.long)
				})
			})
		}
	}
}

// lastWait is the state change that brought the present delay.
func (l *life) lastWait() StateChange {
	l.t.Helper()
	waits := l.changes(StateWaiting)
	if len(waits) == 0 {
		l.t.Fatal("it is not waiting")
	}
	return waits[len(waits)-1]
}

// comesBack checks a wait by the default delays, and that after it the
// connection stands again and has lost none of the messages before and
// meanwhile.
func (l *life) comesBack(wait StateChange, delay time.Duration, fetch, long bool) {
	l.t.Helper()
	if long {
		delay = time.Minute
	}
	if wait.Delay < delay || wait.Delay > delay*12/10 {
		l.t.Errorf("the wait is %v, want %v and up to 20 %% more", wait.Delay, delay)
	}
	configs := 1
	if fetch {
		configs = 2
	}
	time.Sleep(wait.Delay + shortReplayAfter) // a poll has to hang for a moment
	synctest.Wait()
	if s := l.sub.State(); s != StateLive {
		l.t.Errorf("after the wait it is %v", s)
	}
	l.emit("after")
	time.Sleep(30 * time.Second)
	l.want("before", "meanwhile", "after")
	if n := l.portal.Stats().Configs; n != configs {
		l.t.Errorf("%d configs fetched, want %d", n, configs)
	}
	if n := countEvents[Gap](l); n > 0 {
		l.t.Errorf("%d gaps", n)
	}
}

// refusal answers requests in place of the push server, while there is one.
type refusal struct {
	status int
	media  string
	body   string
}

const proxyPage = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"

// refusing makes a portal refuse websockets, or else polls.
func refusing(sockets bool, now *atomic.Pointer[refusal]) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			push := r.Method == http.MethodGet && slices.Contains([]string{"/push/sub/", "/push/subws/"}, r.URL.Path)
			refused := now.Load()
			if refused == nil || !push || websocket.IsWebSocketUpgrade(r) != sockets {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", refused.media)
			w.WriteHeader(refused.status)
			_, _ = w.Write([]byte(refused.body))
		})
	})
}

// TestCloseCodes_RefusedPolls: an answer in place of a poll's is like a close
// code.
func TestCloseCodes_RefusedPolls(t *testing.T) {
	t.Parallel()
	tests := []struct {
		refusal
		reason      string
		fetch, long bool
	}{
		{refusal{400, "text/plain", "4010: Wrong Channel Id."}, "4010: Wrong Channel Id.", true, false},
		{refusal{400, "text/plain", "4036: Wrong client id"}, "4036: Wrong client id", true, false},
		{refusal{429, "text/plain", "4029: Too many connections"}, "4029: Too many connections", false, true},
		{refusal{502, "text/html", proxyPage}, "", false, false},
		{refusal{503, "text/plain", ""}, "", false, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, " ", tt.reason), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var refused atomic.Pointer[refusal]
				l.start([]pulltest.Option{refusing(false, &refused)}, WithTransport(TransportLongPolling))
				time.Sleep(time.Minute)
				refused.Store(&tt.refusal)
				l.emit("before") // answers the poll that hangs; the next one is refused
				wait := l.lastWait()
				var status *StatusError
				if !errors.As(wait.Cause, &status) || status.Status != tt.status || status.Reason != tt.reason {
					t.Errorf("cause is %v", wait.Cause)
				}
				refused.Store(nil)
				l.emit("meanwhile")
				l.comesBack(wait, 500*time.Millisecond, tt.fetch, tt.long)
			})
		})
	}
}

// TestCloseCodes_RefusedUpgrades: a websocket that is refused, also the first
// of all, is tried again.
func TestCloseCodes_RefusedUpgrades(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 426, 502, 503} {
		refused := &refusal{status, "text/html", proxyPage}
		check := func(t *testing.T, wait StateChange) {
			var got *StatusError
			if !errors.As(wait.Cause, &got) || got.Status != status || got.Reason != "" {
				t.Errorf("cause is %v", wait.Cause)
			}
		}
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var now atomic.Pointer[refusal]
				l.start([]pulltest.Option{refusing(true, &now)}, WithTransport(TransportWebSocket))
				l.emit("before")
				time.Sleep(time.Minute)
				now.Store(refused)
				l.portal.CutWebSockets()
				time.Sleep(l.lastWait().Delay)
				wait := l.lastWait()
				check(t, wait)
				now.Store(nil)
				l.emit("meanwhile")
				l.comesBack(wait, 5*time.Second, status == 400, false)
			})
		})
		t.Run(fmt.Sprint(status, " at the start"), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var now atomic.Pointer[refusal]
				now.Store(refused)
				l.open(refusing(true, &now))
				l.subscribe(nil, WithTransport(TransportWebSocket))
				l.run(nil)
				wait := l.lastWait()
				check(t, wait)
				now.Store(nil)
				<-l.sub.Ready()
				l.emit("before")
				l.emit("meanwhile")
				l.comesBack(wait, 500*time.Millisecond, status == 400, false)
			})
		})
	}
}
