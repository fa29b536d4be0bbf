package realtime

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// hangingStore never loads.
type hangingStore struct{ MemoryStore }

func (*hangingStore) Load(ctx context.Context) (Cursor, error) {
	<-ctx.Done()
	return Cursor{}, ctx.Err()
}

// TestEnding_WaitReady: it waits for whatever comes first, also before Run, and
// says what was wrong.
func TestEnding_WaitReady(t *testing.T) {
	t.Parallel()
	t.Run("before Run", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			time.AfterFunc(time.Hour, func() { l.run(nil) })
			if err := l.sub.WaitReady(t.Context()); err != nil || !isOver(l.sub.Ready()) {
				t.Errorf("WaitReady returned %v", err)
			}
			l.sub.Close()
			<-l.sub.Done()
			if err := l.sub.WaitReady(t.Context()); err != nil {
				t.Errorf("it has been ready, and %v", err)
			}
		})
	})
	t.Run("never run", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			err := l.sub.WaitReady(within(t, time.Minute))
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "realtime: not ready: context deadline exceeded; the subscription is not run yet" {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	t.Run("no handler", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			ran := make(chan error, 1)
			time.AfterFunc(time.Second, func() { ran <- l.sub.Run(t.Context(), nil) })
			err := l.sub.WaitReady(t.Context())
			if err == nil || err != <-ran || err != l.sub.Err() || !isOver(l.sub.Done()) {
				t.Errorf("WaitReady returned %v", err)
			}
			if err := l.sub.Run(t.Context(), nil); err != ErrAlreadyRun {
				t.Errorf("once more: %v", err)
			}
		})
	})
	t.Run("closed before", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			time.AfterFunc(time.Second, l.sub.Close)
			if err := l.sub.WaitReady(t.Context()); err != ErrClosed || l.sub.Err() != nil {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	t.Run("the run fails", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.portal.Misbehave(pulltest.REST, pulltest.RESTError(403, "WRONG_AUTH_TYPE"))
			l.subscribe(nil)
			l.run(nil)
			err := l.sub.WaitReady(t.Context())
			if !errors.Is(err, b24pull.ErrWrongAuthType) || err != l.sub.Err() {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	troubles := map[string]func(l *life){
		"REST fails":            func(l *life) { l.portal.Misbehave(pulltest.REST, pulltest.BadGateway) },
		"no websocket, no poll": func(l *life) { l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(404)) },
		"the history cannot be read": func(l *life) {
			l.portal.Misbehave(pulltest.Polls, pulltest.WebPage)
		},
	}
	troubles["the first replay fails"] = func(l *life) { l.portal.Misbehave(pulltest.Polls, pulltest.Refuse(502)) }
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				limit := time.Minute
				if name == "the first replay fails" {
					limit = 50 * time.Millisecond // it is live, and not degraded yet
				}
				l.open(pulltest.WithVersion(2))
				l.emit("kept")
				trouble(l)
				l.subscribe(nil)
				l.run(nil)
				err := l.sub.WaitReady(within(t, limit))
				var status *StatusError
				var refused *b24pull.APIError
				var answer *AnswerError
				if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &status) && !errors.As(err, &refused) && !errors.As(err, &answer) {
					t.Errorf("WaitReady returned %v", err)
				}
			})
		})
	}
}
