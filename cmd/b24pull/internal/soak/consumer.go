package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// readyWithin is how long a subscription may take to stand for the first time.
const readyWithin = time.Minute

// consumer is all that a subscription has to know. It can be handed to another
// process.
type consumer struct {
	Config    json.RawMessage
	Roots     []byte
	Detours   detours
	Polling   bool
	Cursor    string        // file to go on from; none: from now
	SaveEvery time.Duration // the cursor
	Handling  time.Duration // a message takes
	Settle    time.Duration // in place of the default, in tests
}

// reporter is told what a consumer does.
type reporter interface {
	ready()
	begun(n int)
	handled(n int)
	note(text string)
}

// consume subscribes and handles messages until ctx is done.
func (c *consumer) consume(ctx context.Context, report reporter) error {
	cfg := new(b24pull.Config)
	if err := json.Unmarshal(c.Config, cfg); err != nil {
		return err
	}
	transport := &http.Transport{DialContext: c.Detours.dial, TLSClientConfig: trusting(c.Roots)}
	defer transport.CloseIdleConnections()
	how := realtime.TransportWebSocket
	if c.Polling {
		how = realtime.TransportLongPolling
	}
	opts := []realtime.Option{
		realtime.WithHTTPClient(&http.Client{Transport: transport}),
		realtime.WithBackoff(func(int) time.Duration { return 10 * time.Millisecond }),
		realtime.WithTransport(how),
		realtime.WithObserver(func(e realtime.Event) { observe(e, report) }),
	}
	if c.Settle > 0 {
		opts = append(opts, realtime.WithSettleTime(c.Settle))
	}
	first := true
	if c.Cursor != "" {
		_, err := os.Stat(c.Cursor)
		first = errors.Is(err, fs.ErrNotExist)
		store, err := realtime.NewCursorFile(c.Cursor)
		if err != nil {
			return err
		}
		opts = append(opts, realtime.WithCursorStore(store), realtime.WithSaveInterval(c.SaveEvery))
	}
	sub, err := realtime.Subscribe(realtime.FromConfig(cfg), opts...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { await(ctx, cancel, sub, report, first) })
	err = sub.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		return c.handle(m, report)
	}))
	tell(sub.Stats(), report)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	cancel(nil)
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, realtime.ErrConfigExpired):
		return fmt.Errorf("the push server refuses the channel; is -key its key, and -version its version? %w", err)
	}
	return err
}

func (c *consumer) handle(m realtime.Message, report reporter) error {
	if m.Command != command {
		report.note(fmt.Sprintf("a strange message: %v", m))
		return nil
	}
	params, err := realtime.Decode[numbered](m)
	if err != nil {
		return err
	}
	report.begun(params.N)
	time.Sleep(c.Handling)
	report.handled(params.N)
	return nil
}

var errNotReady = errors.New("the subscription has not been established within a minute")

// await reports when the subscription stands; one that has no cursor to go on
// from must in time.
func await(ctx context.Context, cancel context.CancelCauseFunc, sub *realtime.Subscription, report reporter, first bool) {
	late := time.After(readyWithin)
	if !first {
		late = nil
	}
	select {
	case <-sub.Ready():
		report.ready()
	case <-late:
		cancel(errNotReady)
	case <-ctx.Done():
	}
}

// observe reports what should not be.
func observe(e realtime.Event, report reporter) {
	switch e := e.(type) {
	case realtime.Gap:
		report.note(fmt.Sprintf("gap, %d: %v", e.Count, e.Reason))
	case realtime.Undecodable:
		report.note(fmt.Sprintf("undecodable, %d: %v", e.Count, e.Err))
	}
}

func tell(s realtime.Stats, report reporter) {
	lost := uint64(0)
	for _, n := range s.Reconnects {
		lost += n
	}
	report.note(fmt.Sprintf("connections lost %d; replays %d and %d broken off, which found %d messages that did not come live; live repeats dropped %d",
		lost, s.Replays, s.BrokenReplays, s.Found, s.Repeats))
}
