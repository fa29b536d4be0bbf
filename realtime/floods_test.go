package realtime

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// TestFloods_PingFlood: reads keep their distance however often the server
// pings, and one comes after the last ping.
func TestFloods_PingFlood(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var asked counts
		l.start([]pulltest.Option{pulltest.WithVersion(version), asked.passing()})
		l.emit("first")
		time.Sleep(time.Minute)
		l.portal.Ping()
		time.Sleep(time.Minute)
		polls := asked.of("poll")
		for range 6000 {
			l.portal.Ping()
			time.Sleep(10 * time.Millisecond)
		}
		during := asked.of("poll") - polls
		time.Sleep(10 * time.Second)
		after := asked.of("poll") - polls - during
		t.Logf("in a minute of pings %d polls, %d after it", during, after)
		if during > 31 || after != 1 {
			t.Errorf("in a minute of pings %d polls, %d after it", during, after)
		}
	})
}

// TestFloods_PollFlood: polls that are answered at once with news keep a rate,
// where time passes and where none does.
func TestFloods_PollFlood(t *testing.T) {
	skipLong(t)
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint(size, " messages"), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var asked counts
				var n atomic.Uint64
				l.open(pulltest.WithVersion(3), asked.count(func(w http.ResponseWriter, r *http.Request) bool {
					if requestKind(r) != "poll" {
						return false
					}
					if asked.of("poll") > 20000 { // seen enough
						<-r.Context().Done()
						return true
					}
					for range size {
						i := n.Add(1)
						fmt.Fprintf(w, `#!NGINXNMS!#{"id":%d,"mid":"1795421100%016d","channel":"c","tag":"1","time":"Mon, 23 Nov 2026 10:00:00 GMT","text":{"module_id":"application","command":"news","params":[]}}#!NGINXNME!#`, i, i)
					}
					return true
				}))
				l.subscribe(nil, WithTransport(TransportLongPolling))
				l.run(nil)
				time.Sleep(time.Minute)
				first := asked.of("poll")
				time.Sleep(time.Minute)
				second := asked.of("poll") - first
				t.Logf("%d polls in a minute, %d in the next", first, second)
				if first > 1700 || second > 1500 {
					t.Errorf("%d polls in a minute, %d in the next", first, second)
				}
			})
		})
	}
}

// TestFloods_TrickledReplay: a replay that goes on answering does not hold up
// what comes live for longer than it would without an answer.
func TestFloods_TrickledReplay(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var trickling atomic.Bool
		l.open(pulltest.WithVersion(version), pulltest.WithGather(0), pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requestKind(r) == "poll" && trickling.Load() {
					trickle(w, r, next, 500, time.Second)
					return
				}
				next.ServeHTTP(w, r)
			})
		}))
		l.subscribe(nil)
		var slowest time.Duration
		var live int
		l.run(func(_ context.Context, m Message) error {
			if m.Command == "tick" {
				live++
				slowest = max(slowest, time.Since(lastTick(l, m)))
			}
			return nil
		})
		<-l.sub.Ready()
		l.emit("first")
		time.Sleep(time.Minute)
		l.portal.Silence(0, 30*time.Second)
		for range 120 {
			l.emit("missed")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		trickling.Store(true)
		l.portal.Ping()
		time.Sleep(100 * time.Millisecond) // what is sent before the pong, only the replay has
		for range 200 {
			l.portal.Emit(pulltest.Message{Command: "tick", Params: map[string]any{"at": time.Now().UnixNano()}})
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		t.Logf("%d of 200 within %v", live, slowest)
		if live != 200 || slowest > delivery.HoldMax+time.Second {
			t.Errorf("%d of 200 within %v", live, slowest)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		missed, inTurn, ticks := 0, 0, 0
		for _, m := range l.messages {
			switch {
			case m.Command == "tick":
				ticks++
			case m.Command == "missed":
				if missed++; ticks > 0 && !m.Late {
					inTurn++
				}
			}
		}
		if missed != 120 || inTurn > 0 {
			t.Errorf("%d of 120 that had been missed came, %d of them after their turn and not marked so", missed, inTurn)
		}
	})
}

// lastTick is when a tick was sent.
func lastTick(l *life, m Message) time.Time {
	at, err := Decode[struct{ At int64 }](m)
	if err != nil {
		l.t.Error(err)
	}
	return time.Unix(0, at.At)
}

// lineCount counts the lines of a log.
type lineCount struct {
	mu   sync.Mutex
	n    int
	size int
}

func (c *lineCount) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += bytes.Count(p, []byte{'\n'})
	c.size += len(p)
	return len(p), nil
}

// TestFloods_HostileLog: whatever number of messages cannot be decoded, the log
// has a line now and then, the observer is told as often, and they are counted.
func TestFloods_HostileLog(t *testing.T) {
	bad := uint64(200_000)
	if testing.Short() {
		bad = 5_000
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, `#!NGINXNMS!#{"id":1,"mid":"17954211000000000000000001","channel":"c","tag":"1","time":"Mon, 23 Nov 2026 10:00:00 GMT","text":{"module_id":"application","command":"good","params":[]}}#!NGINXNME!#`)
	for n := range bad {
		fmt.Fprintf(z, `#!NGINXNMS!#{"id":%d}#!NGINXNME!#`, n)
	}
	z.Close()
	onVirtualTime(t, func(t *testing.T, l *life) {
		var hostile atomic.Bool
		l.open(pulltest.WithVersion(3), pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requestKind(r) != "poll" || !hostile.Swap(false) {
					next.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				fmt.Fprint(w, b.String())
			})
		}))
		var log lineCount
		l.subscribe(nil, WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))))
		l.run(nil)
		<-l.sub.Ready()
		l.emit("first")
		time.Sleep(time.Minute)
		before := log.n
		hostile.Store(true)
		l.portal.Ping()
		time.Sleep(time.Minute)
		synctest.Wait()
		t.Logf("%d lines, %d told, %d counted", log.n-before, countEvents[Undecodable](l), l.sub.Stats().Undecodable)
		if log.n-before > 8 || countEvents[Undecodable](l) > 8 || l.sub.Stats().Undecodable != bad {
			t.Errorf("%d lines, %d told, %d counted", log.n-before, countEvents[Undecodable](l), l.sub.Stats().Undecodable)
		}
	})
}
