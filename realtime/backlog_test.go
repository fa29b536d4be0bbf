package realtime

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// asked counts the requests that ask for a history, and the bytes of answers to
// them that have been written.
type asked struct{ requests, bytes atomic.Int64 }

func (a *asked) option() pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "mid=") {
				a.requests.Add(1)
				w = &countedAnswer{w, a}
			}
			next.ServeHTTP(w, r)
		})
	})
}

type countedAnswer struct {
	http.ResponseWriter
	asked *asked
}

func (c *countedAnswer) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil { // as far as it gets
		n := 0
		n, err = c.ResponseWriter.Write(b[:min(len(b), 16<<10)])
		written, b = written+n, b[n:]
		c.asked.bytes.Add(int64(n))
	}
	return written, err
}

func (c *countedAnswer) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestBacklog_SlowHandler: what was missed comes once and in order, however
// slow the handler is: the answer to a replay is read as there is room for it,
// and asked for once, though that takes longer than an answer may otherwise. Other streams have some of the ids, so that these say
// nothing.
func TestBacklog_SlowHandler(t *testing.T) {
	t.Parallel()
	missed := resttest.Rounds(20_000)
	if resttest.Thorough {
		missed = 100_000
	}
	for _, version := range []int{3, 4, 5} {
		for _, room := range []int{defaultMaxMessages, 100} {
			t.Run(fmt.Sprintf("version %d, room for %d", version, room), func(t *testing.T) {
				missed := missed
				if testing.Short() && (version == 4) != (room == 100) {
					t.Skip("each version and each room is met once")
				}
				if testing.Short() && room == 100 {
					missed = 2000
				}
				onVirtualTime(t, func(t *testing.T, l *life) {
					var asked asked
					store := new(MemoryStore)
					l.open(pulltest.WithVersion(version), asked.option())
					l.subscribe(nil, WithCursorStore(store))
					l.run(nil)
					<-l.sub.Ready()
					l.crossings(20*time.Second, 100, 5)
					l.sub.Close()
					<-l.done
					before, ticks := asked.bytes.Load(), l.ticks
					for range missed / 1000 {
						for range 1000 {
							l.tick()
						}
						l.portal.Emit(pulltest.Message{To: pulltest.UserPrivate})
						time.Sleep(time.Second)
					}
					requests := asked.requests.Load()
					l.subscribe(nil, WithCursorStore(store))
					sub, most := l.sub, 0
					sub.queue.MaxMessages = room
					err := sub.Run(t.Context(), HandlerFunc(func(_ context.Context, m Message) error {
						l.messages = append(l.messages, m)
						n, _ := sub.queue.Taken()
						most = max(most, n)
						time.Sleep(20 * time.Millisecond)
						if len(l.messages) == l.ticks {
							sub.Close()
						}
						return nil
					}))
					synctest.Wait()
					if err != nil || most > sub.queue.MaxMessages {
						t.Errorf("Run returned %v; %d messages stood in the queue", err, most)
					}
					size := int64(0)
					for _, m := range l.messages[ticks:] {
						size += int64(len(m.body))
					}
					if n := asked.requests.Load() - requests; n > 5 {
						t.Errorf("the history was asked for %d times", n)
					}
					if n := asked.bytes.Load() - before; n > 4*size { // in a frame a message has nearly twice its body; version 5, without times, shows all twice
						t.Errorf("%d bytes were sent for %d", n, size)
					}
					l.wantTicks()
				})
			})
		}
	}
}
