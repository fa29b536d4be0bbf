package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
)

// TestCalls_Cut: calls in flight end when the connection does, and are not
// repeated; another call waits for the next connection.
func TestCalls_Cut(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var server callServer
		l.withCalls(&server)
		const n = 100
		ended := make(chan error, n)
		for i := range n {
			go func() {
				_, err := l.sub.Call(t.Context(), "wait", []int{i})
				ended <- err
			}()
		}
		time.Sleep(time.Second)
		server.on.Store(false) // the next one is pulltest's
		server.cut()
		began := time.Now()
		sent, refused := 0, 0
		for range n {
			err := <-ended
			var r *RPCError
			if errors.As(err, &r) { // was not sent before, and the next server has no such method
				refused++
				continue
			}
			wantUnanswered(t, err, true)
			sent++
			if time.Since(began) > 0 {
				t.Errorf("it ended after %v: %v", time.Since(began), err)
			}
		}
		if sent != rpc.MaxInFlight || refused != n-sent {
			t.Errorf("%d were in flight, %d went over the next connection", sent, refused)
		}
		if got, err := l.sub.Call(t.Context(), "ping", nil); err != nil || string(got) != `"pong"` {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// TestCalls_WhileReconnecting: a call made while there is no connection goes
// over the next one.
func TestCalls_WhileReconnecting(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5)}, WithTransport(TransportWebSocket))
		l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway)
		l.portal.CutWebSockets()
		time.Sleep(time.Second) // until that is noticed
		time.AfterFunc(10*time.Minute, func() { l.portal.Behave(pulltest.WebSockets) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := l.sub.Call(ctx, "ping", nil)
		wantUnanswered(t, err, false)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if got, err := l.sub.Call(t.Context(), "ping", nil); err != nil || string(got) != `"pong"` {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// TestCalls_NeverAnswered: a server that answers nothing costs calls their
// time; messages come all the same.
func TestCalls_NeverAnswered(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var server callServer
		l.withCalls(&server)
		began := time.Now()
		var calls sync.WaitGroup
		for range rpc.MaxInFlight {
			calls.Go(func() {
				_, err := l.sub.Call(t.Context(), "wait", nil)
				wantUnanswered(t, err, true)
				if took := time.Since(began); took != rpc.AnswerWithin {
					t.Errorf("it took %v", took)
				}
			})
		}
		socket := server.all()[0]
		for range 10 {
			socket.send(socket.tick(l.ticks))
			l.ticks++
			time.Sleep(time.Second)
		}
		l.wantTicked()
		calls.Wait()
		if n := len(server.all()); n != 1 || l.sub.State() != StateLive {
			t.Errorf("%d connections, %v", n, l.sub.State())
		}
	})
}

// TestCalls_FloodOfAnswers: answers to nobody, however many, and in one frame
// with messages, cost no message and no call.
func TestCalls_FloodOfAnswers(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		larges := shorter(10, 1)
		var server callServer
		server.answer = func(ws *callSocket, id uint64, params json.RawMessage) {
			large := `"` + strings.Repeat("x", 2<<20) + `"`
			frames := uint64(resttest.Rounds(1000))
			for n := range frames {
				parts := []string{resultOf(1000+n, `{"2":0}`), resultOf(0, "1"), `{"id":"no","error":{"code":1}}`}
				if n%(frames/uint64(larges)) == 0 {
					parts = append(parts, resultOf(2000, large), ws.tick(ws.n))
					ws.n++
				}
				ws.send("[" + strings.Join(parts, ",") + "]")
			}
			ws.send("[" + ws.tick(ws.n) + "," + resultOf(id, string(params)) + "," + resultOf(id, "2") + "]")
			ws.n++
		}
		l.withCalls(&server)
		for i := range 3 {
			got, err := l.sub.Call(t.Context(), "echo", []int{i})
			if err != nil || string(got) != fmt.Sprintf("[%d]", i) {
				t.Errorf("%s, %v", got, err)
			}
		}
		l.ticks = 3 * (larges + 1)
		l.wantTicked()
		if n := len(lifeEvents[Undecodable](l)); n > 0 || server.macks != l.ticks {
			t.Errorf("%d frames undecodable, %d messages confirmed", n, server.macks)
		}
	})
}

// TestCalls_TooLongAnswer: it is not taken; what it says is not known.
func TestCalls_TooLongAnswer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var server callServer
		server.answer = func(ws *callSocket, id uint64, _ json.RawMessage) {
			ws.send(resultOf(id, `"`+strings.Repeat("x", 1<<20)+`"`))
		}
		l.withCalls(&server)
		began := time.Now()
		_, err := l.sub.Call(t.Context(), "m", nil)
		wantUnanswered(t, err, true)
		if time.Since(began) > 0 {
			t.Errorf("it took %v", time.Since(began))
		}
	})
}

// TestCalls_DeafServer: a call that is not read holds up neither messages nor
// the end of its context.
func TestCalls_DeafServer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var server callServer
		l.withCalls(&server)
		server.deaf.Store(true)
		socket := server.all()[0]
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for range 3 {
			go func() { _, _ = l.sub.Call(ctx, "m", []string{strings.Repeat("x", 900_000)}) }()
		}
		time.Sleep(time.Second)
		for range 5 {
			socket.send(socket.tick(l.ticks))
			l.ticks++
		}
		synctest.Wait()
		l.wantTicked()
		began := time.Now()
		_, err := l.sub.Call(ctx, "m", nil)
		wantUnanswered(t, err, false)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the context ended after %v", took)
		}
		server.deaf.Store(false)
	})
}

// TestCalls_FromHandlers: a handler can call, also several at once.
func TestCalls_FromHandlers(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(pulltest.WithVersion(5))
				l.subscribe(nil, WithParallel(workers, func(m Message) string { return m.ID }))
				l.run(func(ctx context.Context, m Message) error {
					_, err := l.sub.Call(ctx, "ping", nil)
					return err
				})
				<-l.sub.Ready()
				l.tickFor(10*time.Second, 10*time.Millisecond)
				time.Sleep(time.Minute)
				if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
				}
			})
		})
	}
}

// TestCalls_Paused: a handler that calls while the queue is full, and waits for
// itself, is told so after a while; others' calls wait for the connection.
func TestCalls_Paused(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithVersion(5))
		l.subscribe(nil)
		l.sub.queue.MaxMessages = 5
		gate := make(chan struct{})
		var told error
		l.run(func(ctx context.Context, _ Message) error {
			<-gate
			if told == nil {
				began := time.Now()
				_, told = l.sub.Call(ctx, "ping", nil)
				if took := time.Since(began); took != rpc.AnswerWithin {
					t.Errorf("it took %v", took)
				}
			}
			return nil
		})
		<-l.sub.Ready()
		time.Sleep(time.Minute)
		l.tickFor(10*time.Second, time.Second)
		if s := l.sub.State(); s != StatePaused {
			t.Fatalf("state is %v", s)
		}
		close(gate)
		time.Sleep(19 * time.Second)
		other := make(chan error)
		go func() {
			_, err := l.sub.Call(t.Context(), "ping", nil)
			other <- err
		}()
		if err := <-other; err != nil {
			t.Errorf("another goroutine's: %v", err)
		}
		wantUnanswered(t, told, false)
		if !errors.Is(told, errCallsPaused) {
			t.Error(told)
		}
		time.Sleep(time.Minute)
		if lost, repeated, _ := l.ticked(); lost+repeated > 0 || l.sub.State() != StateLive {
			t.Errorf("lost %d, repeated %d of %d; %v", lost, repeated, l.ticks, l.sub.State())
		}
	})
}

// TestCalls_End: Close ends calls at once, in a handler and elsewhere, and Run
// returns.
func TestCalls_End(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var server callServer
		l.openCalls(&server)
		l.subscribe(nil)
		ended := make(chan error, 2)
		l.run(func(context.Context, Message) error {
			_, err := l.sub.Call(context.Background(), "wait", nil)
			ended <- err
			return nil
		})
		<-l.sub.Ready()
		time.Sleep(time.Minute)
		socket := server.all()[0]
		socket.send(socket.tick(0))
		go func() {
			_, err := l.sub.Call(context.Background(), "wait", nil)
			ended <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		l.sub.Close()
		<-l.done
		for range 2 {
			wantUnanswered(t, <-ended, true)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// steadySource gives the same config again and again.
type steadySource struct {
	*b24pull.Client
	config func() *b24pull.Config
}

func (s steadySource) GetApplicationConfig(context.Context, bool) (*b24pull.Config, error) {
	return s.config(), nil
}

// TestCalls_Renewal: when a connection gives way to another one, of another
// config or of the same, calls get their answers.
func TestCalls_Renewal(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		t.Run(fmt.Sprint("the same config ", same), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var server callServer
				server.answer = func(ws *callSocket, id uint64, params json.RawMessage) {
					time.AfterFunc(19*time.Second, func() { ws.send(resultOf(id, string(params))) })
				}
				l.openCalls(&server)
				var source ConfigSource
				if c := client(t, l.portal); same {
					cfg, err := c.GetApplicationConfig(t.Context(), true)
					if err != nil {
						t.Fatal(err)
					}
					source = steadySource{c, func() *b24pull.Config { return cfg }}
				}
				l.subscribe(source)
				l.run(nil)
				<-l.sub.Ready()
				const n = 300
				ended := make(chan error, n)
				for i := range n {
					go func() {
						_, err := l.sub.Call(t.Context(), "echo", []int{i})
						ended <- err
					}()
					if i == 10 {
						server.all()[0].send(`{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"","body":{"module_id":"pull","command":"config_expire"},"sender":{"type":2}}}`)
					}
					time.Sleep(time.Second)
				}
				for range n {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
				if got := len(server.all()); got != 2 || l.sub.State() != StateLive {
					t.Errorf("%d connections, %v", got, l.sub.State())
				}
				if err := server.all()[0].ws.WriteMessage(websocket.TextMessage, []byte("ping")); err == nil {
					t.Error("the old connection is open still")
				}
			})
		})
	}
}
