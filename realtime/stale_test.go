package realtime

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// TestStale_Cache: a cache that answers everything with one old answer is found
// out; nothing old comes again, and nothing new is missed where there is
// another way to read.
func TestStale_Cache(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"from the beginning", "later"} {
		for version := 1; version <= 5; version++ {
			t.Run(fmt.Sprint("version ", version, " ", when), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.withOld(pulltest.WithVersion(version))
					if when != "later" {
						l.portal.Misbehave(pulltest.Polls, pulltest.StaleCache)
					}
					l.subscribe(nil, WithBackoff(soon))
					l.run(nil)
					<-l.sub.Ready()
					l.cutAndTick(3)
					l.portal.Misbehave(pulltest.Polls, pulltest.StaleCache)
					l.cutAndTick(shorter(40, 15))
					time.Sleep(10 * time.Minute)
					l.wantNoOld()
					lost, repeated, _ := l.ticked()
					gaps := countEvents[Gap](l)
					if repeated > 0 || version >= 3 && lost > 0 || lost > 0 && gaps == 0 {
						t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, gaps)
					}
					l.portal.Behave(pulltest.Polls)
					time.Sleep(time.Minute)
					l.wantNoOld()
					if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
						t.Errorf("in the end lost %d, repeated %d of %d", lost, repeated, l.ticks)
					}
				})
			})
		}
	}
}

// cache is a cache before polls that keeps each answer of 200 for good, as an
// answer to the same address.
func cache(age bool) pulltest.Option {
	var mu sync.Mutex
	stored := make(map[string]*httptest.ResponseRecorder)
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requestKind(r) != "poll" || !strings.Contains(r.URL.RawQuery, "mid=") || websocket.IsWebSocketUpgrade(r) {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			a := stored[r.URL.RawQuery]
			mu.Unlock()
			if a != nil && age {
				w.Header().Set("Age", "7")
			}
			if a == nil {
				a = httptest.NewRecorder()
				next.ServeHTTP(a, r)
			}
			if r.Context().Err() != nil {
				return
			}
			if a.Code == http.StatusOK {
				mu.Lock()
				stored[r.URL.RawQuery] = a
				mu.Unlock()
			}
			w.WriteHeader(a.Code)
			_, _ = w.Write(a.Body.Bytes())
		})
	})
}

// TestStale_CacheByAddress: a cache that answers a replay with what it has
// answered to the same one before is found out by the age that it tells, or on
// version 4 by a message that it lacks.
func TestStale_CacheByAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version int
		age     bool
	}{{3, true}, {4, true}, {5, true}, {4, false}} {
		t.Run(fmt.Sprint("version ", tt.version, " age ", tt.age), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.withOld(pulltest.WithVersion(tt.version), cache(tt.age))
				l.subscribe(nil, WithBackoff(soon))
				l.run(nil)
				<-l.sub.Ready()
				for range 5 {
					l.cutAndTick(1)
					time.Sleep(10 * time.Second)
					l.tick() // comes live
					time.Sleep(2 * time.Minute)
				}
				time.Sleep(20 * time.Minute)
				l.wantNoOld()
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
				}
				if s := l.sub.Stats(); s.BrokenReplays == 0 || s.Found < 5 {
					t.Errorf("%d reads were refused, %d messages found", s.BrokenReplays, s.Found)
				}
			})
		})
	}
}
