package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
)

// TestHandlers runs the program with nothing set, and interrupts it.
func TestHandlers(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &demo.Output{Enough: func(text string) bool { return strings.Contains(text, "deleted") }, End: cancel}
	if err := run(ctx, &shop{out: out}); err != nil {
		t.Fatal(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("had to be stopped, and has printed %q", out)
	}
	const want = "order 1 is paid\norder 1 is shipped\norder 1 is deleted\n"
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("printed %q, want %q", out, want)
	}
}

var errBusy = errors.New("the shop is busy")

// TestHandlersErrors: what passes is tried again, in its place; what does not
// is skipped; what a client sends reaches no handler of the portal's; and what
// has been received when the program is interrupted is handled before it ends.
func TestHandlersErrors(t *testing.T) {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	client, err := demo.Client(portal)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	const last = 8
	emit := func(id int) {
		portal.Emit(pulltest.Message{Command: "order.changed", Params: orderChanged{id, "paid"}})
	}
	heard := make(chan struct{}) // the subscription is ready
	tries := make(map[int]int)
	out := new(strings.Builder)
	s := &shop{out: out, save: func(o orderChanged) error {
		tries[o.ID]++
		switch {
		case o.ID == 0 && tries[0] == 1:
			close(heard)
		case o.ID == 1 && tries[1] == 1:
			portal.EmitAsClient(pulltest.Message{Command: "order.changed", Params: orderChanged{666, "forged"}})
			portal.Emit(pulltest.Message{Command: "order.changed", Params: []string{"no order"}})
			for id := 2; id <= last; id++ {
				emit(id)
			}
			return errBusy
		case o.ID == last && tries[last] == 1:
			cancel() // an interrupt, while this one is not handled yet
			return errBusy
		}
		return nil
	}}
	done := make(chan error, 1)
	go func() { done <- listen(ctx, client, s) }()
	for waiting := true; waiting; {
		emit(0)
		select {
		case <-heard:
			waiting = false
		case err := <-done:
			t.Fatal("ended before it was ready:", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	emit(1)
	err = <-done
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.ReplaceAll(out.String(), "order 0 is paid\n", "")
	var want strings.Builder
	for id := 1; id <= last; id++ {
		fmt.Fprintf(&want, "order %d is paid\n", id)
	}
	if lines != want.String() || tries[1] != 2 || tries[last] != 2 {
		t.Errorf("printed %q, want %q; tried %v", lines, &want, tries)
	}
}
