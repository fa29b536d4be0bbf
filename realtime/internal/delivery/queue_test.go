package delivery

import (
	"io"
	"testing"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestQueue_RefusesAndTells(t *testing.T) {
	q := NewQueue(2, 100)
	if !q.admit(1000) {
		t.Error("an empty queue refused a message for its size")
	}
	if q.admit(1) {
		t.Error("over the bytes")
	}
	q.push(Message{Record: wire.Record{Size: 1000}})
	if _, err := q.Pop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.Room:
	default:
		t.Error("nobody was told of the room")
	}
	for i, want := range []bool{true, true, false} {
		if got := q.admit(10); got != want {
			t.Errorf("message %d of a queue of two: %v", i+1, got)
		}
	}
	q.push(Message{Record: wire.Record{Size: 10, Command: "a"}})
	q.push(Message{Record: wire.Record{Size: 10, Command: "b"}})
	q.Finish(io.EOF)
	for _, want := range []string{"a", "b"} {
		if m, err := q.Pop(t.Context()); err != nil || m.Command != want {
			t.Errorf("popped %q, %v", m.Command, err)
		}
	}
	if _, err := q.Pop(t.Context()); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}
