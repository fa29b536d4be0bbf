package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// callServer stands in for the websockets of a version 5 server; what calls are
// answered, and what is sent besides, is the test's affair.
type callServer struct {
	on     atomic.Bool
	answer func(ws *callSocket, id uint64, params json.RawMessage)
	deaf   atomic.Bool // it reads nothing

	mu      sync.Mutex
	sockets []*callSocket
	macks   int
}

// callSocket is one of its websockets, which takes one writer at a time.
type callSocket struct {
	ws      *websocket.Conn
	writing sync.Mutex
	n       int // messages sent
}

func (s *callSocket) send(text string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.ws.WriteMessage(websocket.TextMessage, []byte(text))
}

// tick is a message of the portal's, as a call.
func (s *callSocket) tick(n int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"incoming.message","id":%d,"params":{"mid":"%010d%016d","body":{"module_id":"application","command":"tick","params":{"n":%d}},"sender":{"type":2,"id":""}}}`,
		n+1, time.Now().Unix(), n+1, n)
}

func resultOf(id uint64, result string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":%s}`, id, result)
}

func (s *callServer) option() pulltest.Option {
	return socketsFrom(&s.on, func(ws *websocket.Conn) { s.serve(&callSocket{ws: ws}) })
}

func (s *callServer) serve(c *callSocket) {
	s.mu.Lock()
	s.sockets = append(s.sockets, c)
	s.mu.Unlock()
	for {
		for s.deaf.Load() {
			time.Sleep(time.Second)
		}
		_, frame, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if strings.HasPrefix(string(frame), "mack:") {
			s.mu.Lock()
			s.macks++
			s.mu.Unlock()
			continue
		}
		var call struct {
			ID     uint64          `json:"id"`
			Params json.RawMessage `json:"params"`
		}
		if json.Unmarshal(frame, &call) == nil && s.answer != nil {
			s.answer(c, call.ID, call.Params)
		}
	}
}

// all are its websockets so far.
func (s *callServer) all() []*callSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*callSocket(nil), s.sockets...)
}

func (s *callServer) cut() {
	for _, c := range s.all() {
		_ = c.ws.Close()
	}
}

// withCalls starts a subscription over a callServer.
func (l *life) withCalls(s *callServer, opts ...Option) {
	l.openCalls(s)
	l.subscribe(nil, opts...)
	l.run(nil)
	<-l.sub.Ready()
	time.Sleep(time.Minute) // nothing is replayed any more
}

// openCalls opens a portal whose websockets are a callServer's.
func (l *life) openCalls(s *callServer) {
	l.open(pulltest.WithVersion(5), s.option())
	l.t.Cleanup(s.cut)
	s.on.Store(true)
}

// wantTicked checks that all messages have come, once and in order. The history
// does not have them.
func (l *life) wantTicked() {
	l.t.Helper()
	if lost, repeated, outOfOrder := l.ticked(); lost+repeated+outOfOrder > 0 {
		l.t.Errorf("lost %d, repeated %d, out of order %d of %d", lost, repeated, outOfOrder, l.ticks)
	}
}

// wantUnanswered checks the error of a call that has no answer.
func wantUnanswered(t *testing.T, err error, sent bool) {
	t.Helper()
	var failed *UnansweredError
	class := b24pull.ClassNotSent
	if sent {
		class = b24pull.ClassUnavailable
	}
	if !errors.As(err, &failed) || failed.Sent != sent || failed.Class() != class || !strings.HasPrefix(err.Error(), "realtime: ") {
		t.Errorf("got %v, want an UnansweredError, sent %t", err, sent)
	}
}
