package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/examples/internal/demo"
)

// TestQuickstart runs the program with nothing set, and interrupts it.
func TestQuickstart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &demo.Output{Enough: func(text string) bool { return strings.Contains(text, `"id":4`) }, End: cancel}
	if err := run(ctx, "", out); err != nil {
		t.Fatal(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("had to be stopped, and has printed %q", out)
	}
	for n, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if want := fmt.Sprintf(`backend im message {"id":%d,"text":"hello"}`, n+1); !strings.HasSuffix(line, want) {
			t.Errorf("printed %q, want %s", line, want)
		}
	}
}

// TestQuickstartMistakes: a webhook that is none is an error that says so.
func TestQuickstartMistakes(t *testing.T) {
	err := run(t.Context(), "portal.example", new(strings.Builder))
	if err == nil || !strings.Contains(err.Error(), "webhook") {
		t.Errorf("got %v", err)
	}
}
