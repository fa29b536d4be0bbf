package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// TestHandling_Counted: each message and each failure is counted once, however
// messages are handled, and what the events say adds up to it.
func TestHandling_Counted(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil, WithParallel(workers, nil), WithErrorPolicy(RetryPolicy(3, time.Millisecond, time.Second, SkipMessage())))
				calls := make(map[string]int)
				l.run(func(_ context.Context, m Message) error {
					l.mu.Lock()
					defer l.mu.Unlock()
					calls[m.Command]++
					switch {
					case strings.HasPrefix(m.Command, "bad"), strings.HasPrefix(m.Command, "late") && calls[m.Command] == 1:
						return errHandler
					case strings.HasPrefix(m.Command, "committed"):
						l.mu.Unlock()
						err := errors.Join(l.sub.Commit(t.Context(), m), l.sub.Commit(t.Context(), m))
						l.mu.Lock()
						return err
					}
					return nil
				})
				<-l.sub.Ready()
				for i := range 20 {
					for _, kind := range []string{"good", "bad", "late", "committed"} {
						l.emit(fmt.Sprint(kind, i))
					}
					l.portal.Emit(pulltest.Message{Command: fmt.Sprint("committed", i, "transient"), Expiry: -1})
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				s := l.sub.Stats()
				if s.Messages != 100 || s.Handled != 100 || s.Failed != 20*3+20 || s.Retried != 20*2+20 || s.Skipped != 20 || s.CursorLag != 0 || s.QueuedMessages != 0 || s.QueuedBytes != 0 {
					t.Errorf("counted %+v", s)
				}
				l.sub.Close()
				<-l.done
				told := make(map[FailureAction]int)
				events := lifeEvents[HandlerFailed](l)
				for _, e := range events {
					told[e.Action] += e.Count
				}
				if want := map[FailureAction]int{ActionRetry: 60, ActionSkip: 20}; !reflect.DeepEqual(told, want) || len(events) > 8 {
					t.Errorf("%d events tell of %v, want %v", len(events), told, want)
				}
			})
		})
	}
}

// TestHandling_CountedInLoops: the same in a loop over Messages, where a message
// that is committed counts also if the loop is left.
func TestHandling_CountedInLoops(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		commit bool
		want   uint64
	}{{"left", false, 4}, {"committed and left", true, 5}} {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.emit("before")
				l.subscribe(nil)
				go func() {
					defer close(l.done)
					n := 0
					for m, err := range l.sub.Messages(t.Context()) {
						if err != nil {
							t.Error(err)
						}
						if tt.commit {
							if err := l.sub.Commit(t.Context(), m); err != nil {
								t.Error(err)
							}
						}
						if n++; n == 5 {
							break
						}
					}
				}()
				<-l.sub.Ready()
				for i := range 5 {
					l.emit(fmt.Sprint(i))
				}
				<-l.done
				if s := l.sub.Stats(); s.Handled != tt.want {
					t.Errorf("counted %+v", s)
				}
			})
		})
	}
}

// TestHandling_CursorLag is for how long the oldest message that is not handled
// has waited, whatever has been handled after it.
func TestHandling_CursorLag(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.emit("before")
				l.subscribe(nil, WithParallel(workers, nil))
				free := make(chan struct{})
				l.run(func(_ context.Context, m Message) error {
					if m.Command == "stuck" {
						<-free
					}
					return nil
				})
				<-l.sub.Ready()
				l.emit("good")
				time.Sleep(time.Minute)
				lag := func(what string, least, most time.Duration, queued int) {
					t.Helper()
					synctest.Wait()
					s := l.sub.Stats()
					if s.CursorLag < least || s.CursorLag > most || s.QueuedMessages != queued || (s.QueuedBytes > 0) != (queued > 0) {
						t.Errorf("%s: lag %v, want %v to %v; %d messages of %d bytes are queued, want %d", what, s.CursorLag, least, most, s.QueuedMessages, s.QueuedBytes, queued)
					}
				}
				lag("all is handled", 0, 0, 0)
				l.emit("stuck")
				time.Sleep(5 * time.Second)
				for i := range 10 {
					l.emit(fmt.Sprint("good", i))
					time.Sleep(time.Second)
				}
				queued := 10
				if workers > 1 {
					queued = 0
				}
				lag("one is stuck", 14*time.Second, 15*time.Second, queued)
				if handled := l.sub.Stats().Handled; handled != uint64(11-queued) {
					t.Errorf("%d are handled", handled)
				}
				close(free)
				time.Sleep(time.Second)
				lag("all is handled again", 0, 0, 0)
			})
		})
	}
}

// TestHandling_LagMoves: as messages are handled one after the other the lag is
// that of the next one, to a tenth of a second.
func TestHandling_LagMoves(t *testing.T) {
	c := new(counters)
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		for range 3000 {
			c.Delivered(deliveryMessage(10))
			at = append(at, time.Now())
			time.Sleep(7 * time.Millisecond)
		}
		for n := range 3000 {
			exact := time.Since(at[n])
			if lag := c.snapshot().CursorLag; lag < exact || lag > exact+markEvery {
				t.Fatalf("message %d: lag %v, it waits for %v", n, lag, exact)
			}
			c.handled(true, uint64(n+1))
			c.handled(true, 0) // a commit
		}
		if lag := c.snapshot().CursorLag; lag != 0 || c.marks.Len() != 0 {
			t.Errorf("lag %v, %d marks are left", lag, c.marks.Len())
		}
	})
}

// TestHandling_LoggedErrors: the line about a message that was skipped has the
// error of its handler, in one line, bounded, and without the address of a call
// that it had made, nor an answer to it.
func TestHandling_LoggedErrors(t *testing.T) {
	t.Parallel()
	secret := "s3cr3t" + strings.Repeat("0a", 10)
	for name, err := range map[string]error{
		"URL":    &url.Error{Op: "Post", URL: "https://portal.example/rest/1/" + secret + "/crm.deal.add", Err: errBroken},
		"token":  fmt.Errorf("%w: %w", errBroken, &oauth2.RetrieveError{Response: &http.Response{Status: "400"}, Body: []byte(secret)}),
		"long":   fmt.Errorf("%w: %s", errBroken, strings.Repeat("x", 1<<20)),
		"tricks": fmt.Errorf("%w: \n\x1b[2J\u202e", errBroken),
	} {
		for _, action := range []ErrorAction{SkipMessage(), RetryAfter(time.Hour), StopRun()} {
			t.Run(fmt.Sprint(name, " ", action), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					var told lines
					l.open()
					l.emit("before")
					l.subscribe(nil, WithLogger(slog.New(slog.NewJSONHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))),
						WithErrorPolicy(func(*HandlerError, int) ErrorAction { return action }))
					l.run(func(context.Context, Message) error { return err })
					<-l.sub.Ready()
					l.emit("one")
					time.Sleep(time.Second)
					synctest.Wait()
					told.mu.Lock()
					defer told.mu.Unlock()
					if len(told.told) != 1 {
						t.Fatalf("%d lines", len(told.told))
					}
					line := told.told[0]
					var said struct{ Msg, Err, Command string }
					if err := json.Unmarshal([]byte(line), &said); err != nil || !strings.Contains(said.Err, errBroken.Error()) || said.Command != "one" || len(said.Err) > 2000 || !printable(said.Err) {
						t.Errorf("logged %.3000q, %v", said, err)
					}
					if strings.Contains(line, secret) || strings.Contains(line, secret[:16]) {
						t.Error("the log tells the secret")
					}
				})
			})
		}
	}
}

// TestHandling_AllocatesNothing: what is counted of each message, and what a
// message bears for its key, costs no memory.
func TestHandling_AllocatesNothing(t *testing.T) {
	c, m := new(counters), deliveryMessage(10)
	m.Body = []byte("{}")
	acks := delivery.NewAcks(delivery.Position{})
	done := uint64(0)
	for range 1000 { // the queue of marks has grown
		c.Delivered(m)
	}
	if n := testing.AllocsPerRun(1000, func() {
		c.Delivered(m)
		got := messageOf(&m, acks)
		done++
		c.handled(len(got.body) > 0, done)
	}); n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}
