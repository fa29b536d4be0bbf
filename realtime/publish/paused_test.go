package publish

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestPaused: a handler that answers each message does so also while the
// subscription is paused, since its queue is full: of version 5, too, where it
// is connected by nothing then.
func TestPaused(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		if version == 4 && testing.Short() {
			continue
		}
		onStage(t, version, func(t *testing.T, s *stage) {
			in := s.listen(2)
			defer in.close(t)
			sub, err := realtime.Subscribe(s.client(1))
			if err != nil {
				t.Fatal(err)
			}
			p := s.publisher(1, WithSubscription(sub))
			defer p.Close()
			const messages = 5000 // more than the queue holds
			paused, handled := 0, make(chan struct{}, messages)
			done := make(chan error, 1)
			go func() {
				done <- sub.Run(context.Background(), realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
					defer func() { handled <- struct{}{} }()
					if m.Command == "0" {
						time.Sleep(time.Minute) // the queue fills
					}
					if sub.State() != realtime.StatePaused || paused == 10 {
						return nil
					}
					paused++
					began := time.Now()
					if err := p.Publish(ctx, to("answer "+m.Command, 2)); err != nil || time.Since(began) > 5*time.Second {
						t.Errorf("version %d, answer %s: %v after %v", version, m.Command, err, time.Since(began))
					}
					return nil
				}))
			}()
			<-sub.Ready()
			for i := range messages {
				s.portal.Emit(pulltest.Message{Module: "application", Command: fmt.Sprint(i)})
				time.Sleep(time.Millisecond)
			}
			for range messages {
				<-handled
			}
			sub.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			soon()
			if got := in.commands(); len(got) != 10 {
				t.Errorf("version %d: %d answers while it was paused", version, len(got))
			}
		})
	}
}
