package fleet

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestApplication_Binding: the event is bound once, tried again where that may
// help, and told where it cannot be.
func TestApplication_Binding(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		var failures, fail atomic.Int32
		failures.Store(1000)
		fail.Store(http.StatusInternalServerError)
		w := newWorld(t, 1, n, pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/rest/event.") && failures.Add(-1) >= 0 {
					rw.WriteHeader(int(fail.Load()))
					if fail.Load() == http.StatusNotFound {
						io.WriteString(rw, `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`)
					}
					return
				}
				next.ServeHTTP(rw, r)
			})
		}))
		p := w.portals[0]
		r := w.run()
		w.must(p.Install(t.Context(), r.at+"/install"))
		w.eventually("not bound", func() bool { return w.events.of(p.MemberID(), KindEventsNotBound) == 1 })
		time.Sleep(10 * time.Minute)
		if n := w.events.of(p.MemberID(), KindEventsNotBound); n < 3 || n > 6 {
			t.Errorf("tried %d times", n)
		}
		failures.Store(0)
		time.Sleep(time.Hour)
		if w.events.of(p.MemberID(), KindEventsBound) != 1 {
			t.Error("it is not bound in the end")
		}
		told := w.events.of(p.MemberID(), KindEventsNotBound)
		r.stop()
		r = w.run()
		w.ready(p, 2)
		time.Sleep(time.Hour)
		if w.events.of(p.MemberID(), KindEventsBound) != 1 {
			t.Error("it is bound again")
		}
		r.stop()
		if n := w.events.of(p.MemberID(), KindEventsNotBound); n != told {
			t.Errorf("an event that is bound is told %d times not to be", n-told)
		}
		failures.Store(1000)
		fail.Store(http.StatusNotFound)
		r = w.run()
		w.ready(p, 3)
		time.Sleep(24 * time.Hour)
		if n := w.events.of(p.MemberID(), KindEventsNotBound) - told; n != 1 {
			t.Errorf("told %d times that there are no events", n)
		}
		r.stop()
	})
}

// TestApplication_BoundAgain: however many callbacks come, it is looked once a
// minute whether the event is bound still.
func TestApplication_BoundAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		var looked atomic.Int32
		w := newWorld(t, 1, n, pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/rest/event.get") {
					looked.Add(1)
				}
				next.ServeHTTP(rw, r)
			})
		}))
		p := w.portals[0]
		r := w.run()
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.eventually("bound", func() bool { return w.events.of(p.MemberID(), KindEventsBound) == 1 })
		w.must(p.InstallByEvent(t.Context(), r.at+"/install")) // another token
		for range 300 {
			time.Sleep(time.Second)
			if resp := r.post("/open", url.Values{"member_id": {p.MemberID()}, "AUTH_ID": {"garbage"}, "REFRESH_ID": {"garbage"}}); resp.StatusCode != http.StatusOK {
				t.Fatalf("a form is answered %s", resp.Status)
			}
		}
		if n := looked.Load(); n < 2 || n > 8 {
			t.Errorf("looked %d times in five minutes", n)
		}
		r.stop()
	})
}
