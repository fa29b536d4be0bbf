package rpc

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

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// peer is the other end of a line: it notes calls, and answers as it is told.
type peer struct {
	line *Line

	mu     sync.Mutex
	calls  []call
	answer func(c call) // nil: not at all
	broken error        // of sending
	hold   chan struct{}
}

type call struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

var errReset = errors.New("connection reset")

// connect makes a line to the peer, which ends with the test.
func (p *peer) connect(t *testing.T) *Line {
	p.line = NewLine(p.take, func(text string) string { return strings.ReplaceAll(text, "s3cr3t", "*") })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.line.Run()
	}()
	t.Cleanup(func() {
		p.line.Cut(errReset)
		<-ended
	})
	return p.line
}

func (p *peer) take(text []byte) error {
	if p.hold != nil {
		<-p.hold
	}
	var c call
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	if p.broken != nil {
		return p.broken
	}
	if p.answer != nil {
		p.answer(c)
	}
	return nil
}

// answers sets how calls are answered.
func (p *peer) answers(how func(c call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = how
}

// received is how many calls have come.
func (p *peer) received() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// echo answers with the params.
func (p *peer) echo(c call) { p.line.Answered(wire.Answer{ID: c.ID, Result: c.Params}) }

// unanswered checks that a call has no answer.
func unanswered(t *testing.T, err error, sent bool, why error) {
	t.Helper()
	var failed *UnansweredError
	if !errors.As(err, &failed) || failed.Sent != sent || why != nil && !errors.Is(err, why) {
		t.Errorf("got %v; want an UnansweredError, sent %t, %v", err, sent, why)
	}
}

// within checks how long something takes.
func within(t *testing.T, want time.Duration, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took != want {
		t.Errorf("it took %v, want %v", took, want)
	}
}

// TestLine_ManyAtOnce: each call gets its own answer, however they are mixed,
// and no more are in flight than may be.
func TestLine_ManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		open, most := 0, 0
		p.answers(func(c call) {
			open++
			most = max(most, open)
			id, result := c.ID, c.Params
			time.AfterFunc(time.Duration(id*7919%1000)*time.Millisecond, func() {
				p.mu.Lock()
				open--
				p.mu.Unlock()
				p.line.Answered(wire.Answer{ID: id, Result: result})
			})
		})
		line := p.connect(t)
		var all sync.WaitGroup
		for i := range 10 * MaxInFlight {
			all.Go(func() {
				got, err := line.Call(t.Context(), "echo", []int{i})
				if err != nil || string(got) != fmt.Sprintf("[%d]", i) {
					t.Errorf("call %d: %s, %v", i, got, err)
				}
			})
		}
		all.Wait()
		if most != MaxInFlight {
			t.Errorf("%d calls were in flight at once, want %d", most, MaxInFlight)
		}
	})
}

// TestLine_NoAnswer: a peer that never answers costs each call its time, and
// nothing else; what it answers later, or to nobody, is nobody's.
func TestLine_NoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		line := p.connect(t)
		within(t, AnswerWithin, func() {
			_, err := line.Call(t.Context(), "echo", nil)
			unanswered(t, err, true, errTimeout)
		})
		for id := range uint64(100) {
			line.Answered(wire.Answer{ID: id, Result: json.RawMessage("1")})
		}
		p.answers(func(c call) {
			p.line.Answered(wire.Answer{ID: c.ID - 1, Result: json.RawMessage("1")})
			p.line.Answered(wire.Answer{ID: c.ID + 1, Result: json.RawMessage("1")})
			p.echo(c)
			p.line.Answered(wire.Answer{ID: c.ID, Result: json.RawMessage("1")})
		})
		for i := range 2 {
			if got, err := line.Call(t.Context(), "echo", []int{i}); err != nil || string(got) != fmt.Sprintf("[%d]", i) {
				t.Errorf("%s, %v", got, err)
			}
		}
		if n := len(line.waiting); n > 0 {
			t.Errorf("%d calls are remembered", n)
		}
	})
}

// TestLine_Context: a call ends with its context; it says whether it was sent.
func TestLine_Context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := peer{hold: make(chan struct{})}
		line := p.connect(t)
		done, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := line.Call(done, "echo", nil)
		unanswered(t, err, false, context.Canceled)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		within(t, time.Second, func() {
			var all sync.WaitGroup
			var sent int
			for range 2 * MaxInFlight {
				all.Go(func() {
					_, err := line.Call(ctx, "echo", nil)
					var failed *UnansweredError
					if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v", err)
						return
					}
					p.mu.Lock()
					defer p.mu.Unlock()
					if failed.Sent {
						sent++
					}
				})
			}
			all.Wait()
			if sent != 1 { // the one that is being written
				t.Errorf("%d say that they may have been sent", sent)
			}
		})
		p.answers(p.echo)
		close(p.hold)
		if got, err := line.Call(t.Context(), "echo", []int{7}); err != nil || string(got) != "[7]" {
			t.Errorf("afterwards: %s, %v", got, err)
		}
	})
}

// TestLine_Cut: when the connection is lost all calls end at once, those in
// flight as sent and others not.
func TestLine_Cut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		line := p.connect(t)
		var sent, unsent int
		within(t, time.Second, func() {
			var all sync.WaitGroup
			for range 2 * MaxInFlight {
				all.Go(func() {
					_, err := line.Call(t.Context(), "echo", nil)
					var failed *UnansweredError
					if !errors.As(err, &failed) || !errors.Is(err, errReset) {
						t.Errorf("%v", err)
						return
					}
					p.mu.Lock()
					defer p.mu.Unlock()
					if failed.Sent {
						sent++
					} else {
						unsent++
					}
				})
			}
			time.Sleep(time.Second)
			line.Cut(errReset)
			line.Cut(errors.New("another"))
			all.Wait()
		})
		if n := p.received(); sent != MaxInFlight || unsent != MaxInFlight || n != sent {
			t.Errorf("%d calls came; %d ended as sent, %d as not sent", n, sent, unsent)
		}
		_, err := line.Call(t.Context(), "echo", nil)
		unanswered(t, err, false, errReset)
	})
}

// TestLine_CannotSend: a connection that cannot be written to is none.
func TestLine_CannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := peer{broken: errReset}
		line := p.connect(t)
		_, err := line.Call(t.Context(), "echo", nil)
		unanswered(t, err, false, errReset) // nor may it have been carried out
		_, err = line.Call(t.Context(), "echo", nil)
		unanswered(t, err, false, errReset)
	})
}

// TestLine_Retire: a line that another one replaces lets its calls have their
// answers.
func TestLine_Retire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		p.answers(func(c call) { time.AfterFunc(time.Second, func() { p.echo(c) }) })
		line := p.connect(t)
		first := make(chan error)
		go func() {
			_, err := line.Call(t.Context(), "echo", []int{1})
			first <- err
		}()
		synctest.Wait()
		idle := line.Retire()
		_, err := line.Call(t.Context(), "echo", nil)
		unanswered(t, err, false, errRetired)
		within(t, time.Second, func() {
			if err := <-first; err != nil {
				t.Error(err)
			}
			<-idle
		})
		<-line.Retire()
		idle = (&peer{}).connect(t).Retire()
		<-idle // nothing was in flight
	})
}

// TestLine_Answers: what an answer comes to.
func TestLine_Answers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		line := p.connect(t)
		frame := []byte(`{"a":1}`)
		p.answers(func(c call) {
			p.line.Answered(wire.Answer{ID: c.ID, Result: frame})
			clear(frame) // an answer is valid until it has been handed over
		})
		if got, err := line.Call(t.Context(), "m", nil); err != nil || string(got) != `{"a":1}` {
			t.Errorf("%q, %v", got, err)
		}
		p.answers(func(c call) {
			p.line.Answered(wire.Answer{ID: c.ID, Err: &wire.RPCError{Code: -32602, Message: "wrong s3cr3t"}})
		})
		var refused *wire.RPCError
		if _, err := line.Call(t.Context(), "m", nil); !errors.As(err, &refused) || refused.Code != -32602 || refused.Message != "wrong *" {
			t.Errorf("%v", err)
		}
		p.answers(func(c call) {
			p.line.Answered(wire.Answer{ID: c.ID, Err: &wire.TooLongError{Size: 2 << 20, Limit: wire.MaxAnswerSize}})
		})
		_, err := line.Call(t.Context(), "m", nil)
		unanswered(t, err, true, nil)
	})
}

// TestLine_BadCalls: what cannot be a call is refused before it is sent.
func TestLine_BadCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p peer
		p.answers(p.echo)
		line := p.connect(t)
		var caller Caller // which has no line, and need not wait for one
		tests := map[string]struct {
			method string
			params any
			want   string
		}{
			"no method":      {"", nil, "no method"},
			"a string":       {"m", "text", "want a struct, a map or a list, got string"},
			"a number":       {"m", 5, "got int"},
			"no JSON":        {"m", map[string]any{"f": func() {}}, "params of m: json: unsupported type"},
			"JSON cut short": {"m", json.RawMessage(`{"a"`), "params of m: json"},
			"too long":       {"m", []string{strings.Repeat("x", MaxCallSize)}, "1048645 bytes; a push server takes 1048576"},
		}
		for name, tt := range tests {
			for by, call := range map[string]func(context.Context, string, any) (json.RawMessage, error){"line": line.Call, "caller": caller.Call} {
				_, err := call(t.Context(), tt.method, tt.params)
				var failed *UnansweredError
				if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s, %s: %v", name, by, err)
				}
			}
		}
		if n := p.received(); n > 0 {
			t.Errorf("%d were sent", n)
		}
		for _, params := range []any{nil, (*struct{})(nil), json.RawMessage("null"), json.RawMessage(" [1] "), struct{ A int }{}} {
			if _, err := line.Call(t.Context(), "m", params); err != nil {
				t.Errorf("%v: %v", params, err)
			}
		}
	})
}
