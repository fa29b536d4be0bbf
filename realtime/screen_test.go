package realtime

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestScreen_SilentBeginning: where polls say nothing for minutes, and
// websockets work, the beginning is taken for that of an empty history. When
// polls show it after all, its old messages are not taken for new ones.
func TestScreen_SilentBeginning(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"polls hang": 0, "nothing after 12 s": http.StatusNotModified} {
		for version := 1; version <= 4; version++ { // version 5 tells no times
			t.Run(fmt.Sprint("version ", version, " ", name), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					var silent atomic.Bool
					silent.Store(true)
					l.withOld(pulltest.WithVersion(version), pulltest.WithHandler(func(next http.Handler) http.Handler {
						return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if !silent.Load() || requestKind(r) != "poll" || websocket.IsWebSocketUpgrade(r) {
								next.ServeHTTP(w, r)
								return
							}
							after := time.After(12 * time.Second)
							if status == 0 {
								after = nil
							}
							select {
							case <-r.Context().Done():
							case <-after:
								w.WriteHeader(status)
							}
						})
					}))
					l.subscribe(nil, WithTransport(TransportWebSocket), WithBackoff(soon))
					l.run(nil)
					<-l.sub.Ready()
					l.cutAndTick(10)
					time.Sleep(3 * time.Minute)
					silent.Store(false)
					l.portal.CutWebSockets()
					time.Sleep(10 * time.Minute)
					l.wantNoOld()
					if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
						t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
					}
				})
			})
		}
	}
}

// TestScreen_EmptyBeginning: what comes to an empty portal long after the
// beginning is new, whenever it is read.
func TestScreen_EmptyBeginning(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.start(opts, WithTransport(transport), WithBackoff(soon))
			for range resttest.Rounds(20) {
				l.portal.Cut()
				l.tick()
				time.Sleep(20 * time.Minute)
			}
			l.wantTicks()
		})
	})
}

// TestScreen_ForeignExpires: a web server's Expires does not make its 304 a
// push server's.
func TestScreen_ForeignExpires(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.withOld(pulltest.WithVersion(version), slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if websocket.IsWebSocketUpgrade(r) {
						next.ServeHTTP(w, r)
						return
					}
					time.Sleep(1500 * time.Millisecond)
					w.Header().Set("Expires", "Thu, 01 Jan 1970 00:00:01 GMT")
					w.WriteHeader(http.StatusNotModified)
				}))
				l.subscribe(nil, WithBackoff(soon))
				l.run(nil)
				<-l.sub.Ready()
				l.cutAndTick(20)
				time.Sleep(5 * time.Minute)
				l.wantNoOld()
				l.wantTicks()
			})
		})
	}
}

// TestScreen_KnownToBeNew: on version 5, whose messages bear no time, what
// follows a message that came live is new as well, whatever has answered the
// polls.
func TestScreen_KnownToBeNew(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5)}, WithBackoff(soon))
		l.tick() // comes live
		time.Sleep(time.Second)
		l.portal.Misbehave(pulltest.Polls, pulltest.WebPage)
		l.cutAndTick(20)
		time.Sleep(10 * time.Second)
		l.portal.Behave(pulltest.Polls)
		time.Sleep(5 * time.Minute)
		l.wantTicks()
	})
}
