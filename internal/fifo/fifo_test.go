package fifo

import "testing"

func TestFifo_Order(t *testing.T) {
	var q Queue[*int]
	in, out := 0, 0
	pop := func() {
		t.Helper()
		if first := **q.First(); first != out {
			t.Fatalf("the first is %d, want %d", first, out)
		}
		if v, ok := q.Pop(); !ok || *v != out {
			t.Fatalf("popped %d, want %d", *v, out)
		}
		out++
	}
	for round := range 50 {
		for range round {
			v := in
			q.Push(&v)
			in++
		}
		for range round / 2 {
			pop()
		}
	}
	if q.Len() != in-out {
		t.Errorf("%d elements, want %d", q.Len(), in-out)
	}
	for out < in {
		pop()
	}
	if _, ok := q.Pop(); ok || q.Len() != 0 {
		t.Error("more came out than went in")
	}
}

// TestFifo_NothingIsHeld: what was popped is not held on to, nor is a large buffer.
func TestFifo_NothingIsHeld(t *testing.T) {
	var q Queue[*int]
	for range 2 * keptEmpty {
		q.Push(new(int))
	}
	for q.Len() > keptEmpty {
		q.Pop()
	}
	held := 0
	for _, v := range q.buf {
		if v != nil {
			held++
		}
	}
	if held != keptEmpty {
		t.Errorf("%d are held, want %d", held, keptEmpty)
	}
	for q.Len() > 0 {
		q.Pop()
	}
	if cap(q.buf) > keptEmpty {
		t.Errorf("an empty queue holds %d places", cap(q.buf))
	}
}
