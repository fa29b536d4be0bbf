package realtime

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// longParams is what an answer stays in that does not come to its end.
var longParams = map[string]string{"text": strings.Repeat("x", 3000)}

// withoutEnd begins an answer as the portal does, and goes on for hours, if it
// is long.
func withoutEnd(w http.ResponseWriter, r *http.Request, next http.Handler) {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, r)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(whole.Code)
	body := whole.Body.Bytes()
	if len(body) < 2500 {
		_, _ = w.Write(body)
		return
	}
	_, _ = w.Write(body[:len(body)-2000])
	for n := 0; n < 1900 && r.Context().Err() == nil; n++ {
		_ = http.NewResponseController(w).Flush()
		time.Sleep(10 * time.Second)
		_, _ = w.Write([]byte{'x'})
	}
}

// endingOnce has one answer to a poll without an end, when it is armed.
func endingOnce(armed *atomic.Bool) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requestKind(r) == "poll" && armed.CompareAndSwap(true, false) {
				withoutEnd(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
}

// TestTrickles_EndlessAnswers: an answer that goes on and does not come to its
// end is given up, and what it stood in the way of comes.
func TestTrickles_EndlessAnswers(t *testing.T) {
	t.Parallel()
	const patient = answerWithin + 30*time.Second
	t.Run("to the first read", func(t *testing.T) {
		onVersions(t, func(t *testing.T, l *life, version int) {
			var armed atomic.Bool
			armed.Store(true)
			l.open(pulltest.WithVersion(version), endingOnce(&armed))
			l.portal.Emit(pulltest.Message{Command: "before", Params: longParams})
			begun := time.Now()
			l.subscribe(nil)
			l.run(nil)
			<-l.sub.Ready()
			if took := time.Since(begun); took > patient || took < answerWithin {
				t.Errorf("ready after %v", took)
			}
			l.emit("after")
			time.Sleep(5 * time.Second)
			l.want("after")
		})
	})
	t.Run("to a replay", func(t *testing.T) {
		onVersions(t, func(t *testing.T, l *life, version int) {
			var armed atomic.Bool
			l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithGather(0), endingOnce(&armed)})
			l.emit("first")
			time.Sleep(time.Minute)
			armed.Store(true)
			l.portal.Emit(pulltest.Message{Command: "long", Params: longParams})
			time.Sleep(time.Second)
			l.portal.Ping() // its replay is answered so
			time.Sleep(time.Second)
			l.portal.Silence(0, 10*time.Second)
			l.emit("missed") // only another replay brings it
			time.Sleep(patient)
			l.want("first", "long", "missed")
		})
	})
	t.Run("to a poll", func(t *testing.T) {
		onVersions(t, func(t *testing.T, l *life, version int) {
			var armed atomic.Bool
			l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithGather(0), endingOnce(&armed)}, WithTransport(TransportLongPolling))
			l.emit("first")
			time.Sleep(time.Minute + 100*time.Millisecond)
			armed.Store(true)
			for armed.Load() { // by the next poll, or the next replay
				time.Sleep(100 * time.Millisecond)
			}
			l.portal.Emit(pulltest.Message{Command: "long", Params: longParams})
			time.Sleep(patient)
			l.portal.Emit(pulltest.Message{Command: "not kept", Expiry: -1})
			time.Sleep(time.Second)
			l.want("first", "long", "not kept")
		})
	})
}

// TestTrickles_ReplaysYield: the answer to a replay of replaced channels has
// less time while the main connection waits for its turn.
func TestTrickles_ReplaysYield(t *testing.T) {
	l := handLoop(t.Context(), nil, func(Event) {})
	old := l.streamTo("old.example")
	l.replaced = []*connection{old}
	now := time.Now()
	k := &attempt{connection: old, replay: true}
	if by := k.answers(now, l.answerWithin(k)); !by.Equal(now.Add(answerStall)) {
		t.Errorf("an answer has to go on within %v", by.Sub(now))
	}
	later := now.Add(answerYields - time.Second)
	if by := k.answers(later, l.answerWithin(k)); !by.Equal(later.Add(answerStall)) {
		t.Errorf("with nothing that waits, within %v", by.Sub(later))
	}
	l.waiting = []replayRequest{{connection: l.main}}
	if by := k.answers(later, l.answerWithin(k)); !by.Equal(now.Add(answerYields)) {
		t.Errorf("while the main connection waits, within %v", by.Sub(later))
	}
	l.waiting = nil
	if by := k.answers(now.Add(answerWithin-time.Second), l.answerWithin(k)); !by.Equal(now.Add(answerWithin)) {
		t.Errorf("at its end, %v from its beginning", by.Sub(now))
	}
}
