package realtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// TestFaults_FullQueuePauses: a full queue disconnects, and what did not fit
// arrives later, once and in order.
func TestFaults_FullQueuePauses(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil, WithBackoff(soon))
		l.sub.queue.MaxMessages = 50
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		<-l.sub.Ready()
		const n = 3000 // three times as fast as they are handled
		load{messages: n, minEvery: n + 1}.publishAndCut(l.portal)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if lost, repeated, disordered := got.count(n); lost+repeated+disordered > 0 {
			t.Errorf("lost %d, repeated %d, out of order %d", lost, repeated, disordered)
		}
		if len(l.changes(StatePaused)) == 0 {
			t.Error("the queue was never full")
		}
	})
}

// TestFaults_FullOfWaiting: messages that wait for a replay that does not
// answer fill the queue; they are let through, and nothing stands still.
func TestFaults_FullOfWaiting(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(stallPolls(&stalled))
		l.subscribe(nil, WithBackoff(soon))
		l.sub.queue.MaxMessages = 5
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			return nil
		})
		<-l.sub.Ready()
		stalled.Store(true)
		l.portal.Cut()
		time.Sleep(time.Second)
		const n = 300
		load{messages: n, minEvery: n + 1}.publishAndCut(l.portal)
		time.Sleep(10 * time.Second)
		stalled.Store(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if lost, repeated, _ := got.count(n); lost+repeated > 0 {
			t.Errorf("lost %d, repeated %d", lost, repeated)
		}
		if len(l.changes(StatePaused)) == 0 {
			t.Error("the queue was never full")
		}
	})
}

// TestFaults_PausedWithoutHistory: where the queue has been full and the
// history cannot be read, what comes live arrives all the same, and a gap
// stands for what was missed.
func TestFaults_PausedWithoutHistory(t *testing.T) {
	t.Parallel()
	for _, version := range []int{2, 3, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var stalled atomic.Bool
				l.open(pulltest.WithVersion(version), pulltest.WithHandler(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						reads := !websocket.IsWebSocketUpgrade(r) || strings.Contains(r.URL.RawQuery, "mid=")
						if stalled.Load() && reads {
							http.Error(w, "not now", http.StatusBadGateway)
							return
						}
						next.ServeHTTP(w, r)
					})
				}))
				l.subscribe(nil, WithBackoff(soon))
				l.sub.queue.MaxMessages = 50
				slow := make(chan struct{})
				l.run(func(context.Context, Message) error {
					<-slow
					return nil
				})
				<-l.sub.Ready()
				time.Sleep(time.Minute)
				stalled.Store(true)
				for l.sub.State() != StatePaused {
					l.tick()
					time.Sleep(time.Millisecond)
				}
				close(slow)
				time.Sleep(5 * time.Minute)
				if state := l.sub.State(); state != StateDegraded {
					t.Errorf("it is %v", state)
				}
				if countEvents[Gap](l) == 0 {
					t.Error("there is no gap")
				}
				l.emit("later")
				time.Sleep(10 * time.Second)
				if got := l.commands(); got[len(got)-1] != "later" {
					t.Errorf("what came live has not arrived after %q", got[len(got)-1])
				}
				stalled.Store(false)
				time.Sleep(5 * time.Minute)
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 || l.sub.State() != StateLive {
					t.Errorf("lost %d, repeated %d of %d, %v", lost, repeated, l.ticks, l.sub.State())
				}
			})
		})
	}
}

// TestFaults_SlowFirstAnswer: a server that takes long over the first replay
// does not turn its past into news.
func TestFaults_SlowFirstAnswer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			select {
			case <-time.After(2100 * time.Millisecond):
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		}))
		for range 50 {
			l.emit("past")
			time.Sleep(time.Minute)
		}
		l.subscribe(nil)
		l.run(nil)
		<-l.sub.Ready()
		l.emit("one")
		time.Sleep(10 * time.Minute)
		l.emit("two")
		time.Sleep(10 * time.Minute)
		l.want("one", "two")
	})
}

// trickle sends a recorded answer in pieces, one every so often.
func trickle(w http.ResponseWriter, r *http.Request, next http.Handler, piece int, every time.Duration) {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, r)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(whole.Code)
	body := whole.Body.Bytes()
	for len(body) > 0 && r.Context().Err() == nil {
		n := min(piece, len(body))
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
		body = body[n:]
		time.Sleep(every)
	}
}

// TestFaults_Trickle: a replay whose answer comes slowly gets on, message by
// message and within one.
func TestFaults_Trickle(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var slow atomic.Bool
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if slow.Load() {
				trickle(w, r, next, 100, 5*time.Second)
				return
			}
			next.ServeHTTP(w, r)
		}))
		l.emit("before")
		l.subscribe(nil, WithBackoff(func(int) time.Duration { return time.Minute }))
		l.run(nil)
		<-l.sub.Ready()
		slow.Store(true)
		l.portal.CutWebSockets()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint("missed", i))
			l.portal.Emit(pulltest.Message{Command: want[i], Params: map[string]string{"text": strings.Repeat("x", 500)}})
		}
		time.Sleep(30 * time.Minute)
		l.want(want...)
	})
}

// TestFaults_StalledPollsRepeatNothing: polls that stall for long, while live
// delivery goes on, make nothing come twice.
func TestFaults_StalledPollsRepeatNothing(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(stallPolls(&stalled))
		l.subscribe(nil)
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			return nil
		})
		<-l.sub.Ready()
		n := shorter(9000, 900)
		for i := range n { // a quarter of an hour
			stalled.Store(i > n/9 && i < n-n/9)
			l.portal.Emit(pulltest.Message{Params: numbered{i}})
			time.Sleep(15 * time.Minute / time.Duration(n))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lost, repeated, _ := got.count(n); lost+repeated > 0 { // what a ping took came late
			t.Errorf("lost %d, repeated %d", lost, repeated)
		}
	})
}

// TestFaults_ReplaysByVolume: many messages call for reads, which keep a replay
// and what must be remembered small, unless their ids show that none is
// missing: then the server is only pinged.
func TestFaults_ReplaysByVolume(t *testing.T) {
	t.Parallel()
	skipLong(t)
	for _, tt := range []struct{ others, least, most int }{{10, 4, 6}, {0, 0, 1}} {
		t.Run(fmt.Sprint("an id in ", tt.others), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithPingInterval(0)})
				l.crossings(time.Minute, 300, tt.others)
				before := countEvents[ReplayEnded](l)
				l.crossings(100*time.Second, 300, tt.others)
				if n := countEvents[ReplayEnded](l) - before; n < tt.least || n > tt.most {
					t.Errorf("%d reads", n)
				}
			})
		})
	}
}

// TestFaults_LiveMessagesDoNotWaitForLong: a replay that is not answered holds
// them up for two seconds.
func TestFaults_LiveMessagesDoNotWaitForLong(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(stallPolls(&stalled))
		l.emit("before")
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		stalled.Store(true)
		l.portal.CutWebSockets()
		time.Sleep(time.Second)
		l.emit("live")
		time.Sleep(time.Second)
		l.want()
		time.Sleep(1100 * time.Millisecond)
		l.want("live")
	})
}

// TestFaults_UnansweredReplayIsRepeated: one replay from a cursor that is not
// answered is no sign that nothing is kept.
func TestFaults_UnansweredReplayIsRepeated(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var swallow atomic.Bool
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if swallow.CompareAndSwap(true, false) {
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		}))
		for range 3 { // so that there is a cursor
			l.emit("before")
			time.Sleep(time.Minute)
		}
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Second)
		swallow.Store(true)
		l.portal.CutWebSockets()
		l.emit("missed")
		time.Sleep(15 * time.Second) // the next ping is far
		l.want("missed")
	})
}

// TestFaults_GarbledFramesAreBounded: however many frames cannot be read, reads
// keep their distance.
func TestFaults_GarbledFramesAreBounded(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		s := fakeSocket{frames: make(chan []byte)}
		l.open()
		l.emit("before")
		l.subscribe(nil)
		l.sub.dial = s
		l.run(nil)
		<-l.sub.Ready()
		before := l.portal.Stats().Polls
		for range 2000 {
			s.frames <- []byte("garbage")
			time.Sleep(5 * time.Millisecond)
		}
		l.emit("found by a read")
		s.frames <- []byte("garbage")
		time.Sleep(10 * time.Second)
		if polls := l.portal.Stats().Polls - before; polls < 2 || polls > 5 {
			t.Errorf("%d reads in 20 seconds", polls)
		}
		l.want("found by a read")
	})
}

// fakeSocket is a live transport whose frames the test sends.
type fakeSocket struct{ frames chan []byte }

func (s fakeSocket) Open(ctx context.Context, _ transport.Address, _ transport.Sink) (transport.Conn, error) {
	return fakeConn{s, ctx}, nil
}

type fakeConn struct {
	fakeSocket
	ctx context.Context
}

func (c fakeConn) Next() (io.Reader, error) {
	select {
	case b := <-c.frames:
		return bytes.NewReader(b), nil
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

// TestFaults_RunWaitsForItsTasks: when Run returns, what it has started has
// stopped.
func TestFaults_RunWaitsForItsTasks(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		slow := &slowToStop{}
		l.sub.dial = slow
		l.run(nil)
		time.Sleep(time.Second)
		l.sub.Close()
		<-l.done
		if !slow.stopped.Load() {
			t.Error("Run returned before a connection attempt of its own had ended")
		}
	})
}

// slowToStop is a transport that takes a while to give up.
type slowToStop struct{ stopped atomic.Bool }

func (s *slowToStop) Open(ctx context.Context, _ transport.Address, _ transport.Sink) (transport.Conn, error) {
	<-ctx.Done()
	time.Sleep(300 * time.Millisecond)
	s.stopped.Store(true)
	return nil, ctx.Err()
}

// TestFaults_TwoReceivers: a message for two channels of the connection arrives
// once.
func TestFaults_TwoReceivers(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.Emit(pulltest.Message{Command: "both", To: pulltest.Both})
		time.Sleep(5 * time.Minute)
		l.want("both")
		if countEvents[Repeat](l) == 0 {
			t.Error("the repeat was not reported")
		}
	})
}
