package pulltest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// waiting is an EmitAndWait under way.
type waiting struct {
	t     *testing.T
	begun time.Time
	done  chan error
}

func emitAndWait(t *testing.T, p *pulltest.Portal, ctx context.Context, m pulltest.Message) *waiting {
	w := &waiting{t, time.Now(), make(chan error, 1)}
	go func() {
		_, err := p.EmitAndWait(ctx, m)
		w.done <- err
	}()
	synctest.Wait()
	return w
}

// after wants it to have waited for so long.
func (w *waiting) after(d time.Duration) {
	w.t.Helper()
	if err := <-w.done; err != nil || time.Since(w.begun) != d {
		w.t.Errorf("after %v: %v, want it after %v", time.Since(w.begun), err, d)
	}
}

// TestEmitAndWait_Sent: it returns as soon as all who listen have been sent the
// message, on every version, live or from the history, and no sooner.
func TestEmitAndWait_Sent(t *testing.T) {
	for _, version := range []int{1, 2, 3, 4, 5} {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
			start := time.Now()
			message := func(to pulltest.Target) pulltest.Message { return pulltest.Message{Command: "x", To: to} }

			// nobody listens: whoever comes and reads the history
			w := emitAndWait(t, p, t.Context(), message(pulltest.Shared))
			time.Sleep(time.Second)
			heldIn(t, p)
			w.after(time.Second)
			// a poll is answered
			pollLater(t, p, "")
			synctest.Wait()
			emitAndWait(t, p, t.Context(), message(pulltest.Private)).after(0)
			// one of another user does not count
			pollLater(t, p, "")
			synctest.Wait()
			w = emitAndWait(t, p, t.Context(), message(pulltest.Colleague))
			time.Sleep(time.Second)
			emitAndWait(t, p, t.Context(), message(pulltest.Private)).after(0)
			select {
			case err := <-w.done:
				t.Errorf("version %d: it was sent to another: %v", version, err)
			default:
			}
			if time.Since(start) != 2*time.Second {
				t.Errorf("version %d: all of it took %v", version, time.Since(start))
			}
			p.Close()
			if err := <-w.done; err == nil || !strings.Contains(err.Error(), "the portal was closed meanwhile") {
				t.Errorf("version %d: %v", version, err)
			}
		}, pulltest.WithVersion(version), pulltest.WithPingInterval(0))
	}
}

// TestEmitAndWait_Gathered: a message that the server gathers is waited for until
// it is sent, or until the same user reads it, if the connection is cut before.
func TestEmitAndWait_Gathered(t *testing.T) {
	for _, cut := range []bool{false, true} {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			ws := dial(t, p, "")
			defer ws.Close()
			synctest.Wait()
			emitAndWait(t, p, t.Context(), pulltest.Message{Command: "at once"}).after(0)
			w := emitAndWait(t, p, t.Context(), pulltest.Message{Command: "gathered"})
			if !cut {
				time.Sleep(100 * time.Millisecond)
				heldIn(t, p) // which is another connection
				w.after(400 * time.Millisecond)
				return
			}
			time.Sleep(100 * time.Millisecond)
			if _, err := p.Cut(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(900 * time.Millisecond)
			heldIn(t, p)
			w.after(time.Second)
		}, pulltest.WithPingInterval(0))
	}
}

// TestEmitAndWait_Fails: it ends with its context, and with a reset, and says
// what was lacking.
func TestEmitAndWait_Fails(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := emitAndWait(t, p, ctx, pulltest.Message{Command: "x"})
		if err := <-w.done; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pulltest: EmitAndWait: nobody listens, and nobody has been sent it") {
			t.Error(err)
		}
		p.Silence(0, time.Hour)
		ws := dial(t, p, "")
		defer ws.Close()
		synctest.Wait()
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w = emitAndWait(t, p, late, pulltest.Message{Command: "x", To: pulltest.Both})
		if err := <-w.done; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 of those who listen have not been sent it") {
			t.Error(err)
		}
		late, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w = emitAndWait(t, p, late, pulltest.Message{Command: "x", User: 2})
		if err := <-w.done; err == nil || !strings.Contains(err.Error(), "nobody listens") {
			t.Error(err)
		}
		w = emitAndWait(t, p, t.Context(), pulltest.Message{Command: "x"})
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := <-w.done; err == nil || !strings.Contains(err.Error(), "the portal was reset meanwhile") {
			t.Error(err)
		}
	})
}

// TestEmitAndWait_Handled: behind it synctest.Wait is all that a test needs to
// know that the subscription's handler has handled the message, whatever happens
// to the connection.
func TestEmitAndWait_Handled(t *testing.T) {
	for _, version := range []int{1, 2, 3, 4, 5} {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			var handled []string
			ctx, cancel := context.WithCancel(t.Context())
			sub, err := realtime.Subscribe(clientOf(p))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = sub.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
					handled = append(handled, m.Command)
					return nil
				}))
			}()
			<-sub.Ready()
			for _, command := range []string{"one", "two", "three"} {
				if _, err := p.EmitAndWait(ctx, pulltest.Message{Command: command}); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if len(handled) == 0 || handled[len(handled)-1] != command {
					t.Errorf("version %d: behind %s the handler has had %v", version, command, handled)
				}
				if _, err := p.Cut(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			<-done
		}, pulltest.WithVersion(version), pulltest.WithHistory())
	}
}
