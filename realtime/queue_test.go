package realtime

import (
	"testing"
)

func TestQueueRefusesAndTells(t *testing.T) {
	q := newQueue(2, 100)
	if !q.admit(1000) {
		t.Error("an empty queue refused a message for its size")
	}
	if q.admit(1) {
		t.Error("over the bytes")
	}
	q.push(Message{size: 1000})
	if _, err := q.pop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.room:
	default:
		t.Error("nobody was told of the room")
	}
	for i, want := range []bool{true, true, false} {
		if got := q.admit(10); got != want {
			t.Errorf("message %d of a queue of two: %v", i+1, got)
		}
	}
	q.push(Message{size: 10, Command: "a"})
	q.push(Message{size: 10, Command: "b"})
	q.finish(errLeft)
	for _, want := range []string{"a", "b"} {
		if m, err := q.pop(t.Context()); err != nil || m.Command != want {
			t.Errorf("popped %q, %v", m.Command, err)
		}
	}
	if _, err := q.pop(t.Context()); err != errLeft {
		t.Errorf("the end is %v", err)
	}
}

func TestRingKeepsOrder(t *testing.T) {
	var r ring
	in, out := 0, 0
	for round := range 50 {
		for range round {
			r.push(Message{size: in})
			in++
		}
		for range round / 2 {
			m, ok := r.pop()
			if !ok || m.size != out {
				t.Fatalf("popped %d, want %d", m.size, out)
			}
			out++
		}
	}
	for ; out < in; out++ {
		if m, ok := r.pop(); !ok || m.size != out {
			t.Fatalf("popped %d, want %d", m.size, out)
		}
	}
	if _, ok := r.pop(); ok {
		t.Error("more came out than went in")
	}
}
