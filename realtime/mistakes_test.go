package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type customJSON struct{ C chan int }

func (c *customJSON) UnmarshalJSON([]byte) error { return nil }

type textKey struct{ C chan int }

func (k *textKey) UnmarshalText([]byte) error { return nil }

type loops []loops

func register[T any](x *Mux) func() {
	return func() {
		On(x, "m", "c", func(context.Context, T, Message) error { return nil })
	}
}

// TestMux_Mistakes: what cannot work panics where it is registered, and says
// why.
func TestMux_Mistakes(t *testing.T) {
	t.Parallel()
	var none *Mux
	nothing := HandlerFunc(func(context.Context, Message) error { return nil })
	for name, f := range map[string]func(){
		"On": register[int](none), "HandleMessage": func() { none.HandleMessage("m", "c", nothing) }, "HandleModule": func() { none.HandleModule("m", nothing) },
		"HandleDefault": func() { none.HandleDefault(nothing) }, "Use": func() { none.Use() }, "FromClients": func() { none.FromClients() },
		"Handle": func() { _ = none.Handle(t.Context(), Message{}) },
	} {
		if got, want := fmt.Sprint(panicOf(f)), "realtime: Mux: it is nil; NewMux makes one"; got != want {
			t.Errorf("%s of no Mux: %q, want %q", name, got, want)
		}
	}
	for typ, f := range map[string]func(){
		"chan int": register[chan int](NewMux()), "func()": register[func()](NewMux()), "complex128": register[complex128](NewMux()),
		"*chan int": register[*chan int](NewMux()), "[]func()": register[[]func()](NewMux()), "map[string]chan int": register[map[string]chan int](NewMux()),
		"map[float64]int": register[map[float64]int](NewMux()), "error": register[error](NewMux()), "[2]complex64": register[[2]complex64](NewMux()),
	} {
		if got := fmt.Sprint(panicOf(f)); !strings.HasPrefix(got, "realtime: On: encoding/json decodes nothing into a "+typ+";") {
			t.Errorf("%s: %q", typ, got)
		}
	}
	for _, f := range []func(){
		register[any](NewMux()), register[customJSON](NewMux()), register[*customJSON](NewMux()), register[textKey](NewMux()), register[map[textKey]int](NewMux()),
		register[loops](NewMux()), register[map[int]*time.Time](NewMux()), register[struct{ C chan int }](NewMux()), register[json.RawMessage](NewMux()), register[map[string]any](NewMux()),
	} {
		f()
	}
}

// TestHandling_NoDelay: a handler that is called again at once, or before,
// leaves the machine a while.
func TestHandling_NoDelay(t *testing.T) {
	for _, delay := range []time.Duration{0, -time.Hour, time.Nanosecond} {
		t.Run(delay.String(), func(t *testing.T) {
			for name, policy := range map[string]func(*HandlerError, int) ErrorAction{
				"a policy": func(*HandlerError, int) ErrorAction { return RetryAfter(delay) }, "RetryPolicy": RetryPolicy(1e6, max(0, delay), max(0, delay), StopRun()),
			} {
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					l.open()
					l.subscribe(nil, WithErrorPolicy(policy))
					calls := 0
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					begun := time.Time{}
					go func() {
						if l.sub.WaitReady(ctx) == nil {
							l.emit("one")
						}
					}()
					err := l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error {
						if calls++; calls == 1 {
							begun = time.Now()
						} else if calls == 101 {
							cancel()
						}
						return errors.New("no")
					}))
					if took := time.Since(begun); took < time.Second || !errors.Is(err, context.Canceled) {
						t.Errorf("%s: 100 repeats in %v, %v", name, took, err)
					}
				})
			}
		})
	}
}

// TestCursorFile_Empty: what to do about it is something else than to empty it.
func TestCursorFile_Empty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := NewCursorFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Load(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is empty; remove it to begin with what is published from now on, or restore it") || strings.Contains(err.Error(), "empty it") {
		t.Errorf("Load returned %v", err)
	}
}
