package delivery

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

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

// TestQueue_Ease: who fills the queue waits for a user who is behind for a
// moment, until half is free, and once only for one who stays behind.
func TestQueue_Ease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(100, 1000)
		fill := func(n int) {
			for range n {
				q.admit(1)
				q.push(Message{Record: wire.Record{Size: 1}})
			}
		}
		waits := func() time.Duration {
			begun := time.Now()
			q.Ease(time.Second, nil)
			return time.Since(begun)
		}
		pop := func(n int) {
			for range n {
				if _, err := q.Pop(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		fill(75)
		if d := waits(); d != 0 {
			t.Errorf("waited %v with room left", d)
		}
		fill(5)
		go func() { // one user
			time.Sleep(100 * time.Millisecond)
			pop(29)
			time.Sleep(100 * time.Millisecond)
			pop(1)
		}()
		if d := waits(); d != 200*time.Millisecond {
			t.Errorf("waited %v, want until half is free after 200 ms", d)
		}
		synctest.Wait()
		fill(30)
		for i, want := range []time.Duration{time.Second, 0, 0} {
			if d := waits(); d != want {
				t.Errorf("wait %d for a user who does nothing: %v, want %v", i+1, d, want)
			}
		}
		pop(10)
		waits()
		fill(10)
		stop := make(chan struct{})
		time.AfterFunc(300*time.Millisecond, func() { close(stop) })
		begun := time.Now()
		q.Ease(time.Second, stop)
		if d := time.Since(begun); d != 300*time.Millisecond {
			t.Errorf("waited %v after one who had caught up, want until it was stopped after 300 ms", d)
		}
	})
}
