package realtime

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestSecrets_NoSecretIsTold: neither errors nor events nor the log name a
// channel, also where the server repeats what it was asked.
func TestSecrets_NoSecretIsTold(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var log strings.Builder
		var echo atomic.Int32
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked := r.URL.RequestURI()
				switch echo.Load() {
				case 1:
					http.Error(w, "404 not found: "+asked, http.StatusNotFound)
				case 2:
					w.Header().Set("Location", asked+"%")
					w.WriteHeader(http.StatusFound)
				case 3:
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					fmt.Fprintf(conn, "%s\r\n\r\n", asked) // no HTTP
					_ = conn.Close()
				default:
					next.ServeHTTP(w, r)
				}
			})
		}))
		l.subscribe(nil, WithLogger(newTestLogger(&log)))
		l.run(nil)
		<-l.sub.Ready()
		cfg, err := client(t, l.portal).GetApplicationConfig(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		l.portal.Cut()
		l.portal.Emit(pulltest.Message{Body: "{"})
		l.portal.CloseWebSockets(1008, "channel "+string(cfg.Channels.Private.ID)[:60])
		time.Sleep(time.Minute)
		for mode := range int32(4) {
			echo.Store(mode)
			l.portal.Cut()
			time.Sleep(5 * time.Minute)
		}
		l.portal.HTTPClient().CloseIdleConnections()
		l.portal.Close() // every connection is refused from now on
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		l.mu.Lock()
		told := fmt.Sprintf("%+v %v", l.events, log.String())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			told += fmt.Sprintf(verb, l.sub) + fmt.Sprintf(verb, FromConfig(cfg)) + fmt.Sprintf(verb, l.sub.source)
		}
		for _, e := range l.events {
			if c, ok := e.(StateChange); ok {
				told += fmt.Sprintf("%v %+v %#v", c.Cause, c.Cause, c.Cause)
			}
		}
		l.mu.Unlock()
		if len(told) < 1000 {
			t.Errorf("hardly anything was told: %s", told)
		}
		for _, id := range []string{string(cfg.Channels.Private.ID), string(cfg.Channels.Shared.ID)} {
			for _, part := range strings.FieldsFunc(id, func(r rune) bool { return r == ':' || r == '.' }) {
				if strings.Contains(told, part[:12]) {
					t.Errorf("a channel id was told: %s", told)
				}
			}
		}
	})
}
