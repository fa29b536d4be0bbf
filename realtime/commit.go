package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/sleep"
)

const (
	// defaultSaveInterval is how often a changed cursor is saved.
	defaultSaveInterval = time.Second
	// lastSave bounds the saving of the cursor at the end of a run,
	// cancelledSave that since its context was done.
	lastSave      = 10 * time.Second
	cancelledSave = time.Second
)

// committer saves the cursor of a running subscription as it changes, but not
// for each message.
type committer struct {
	store    CursorStore // nil: there is nothing to do
	acks     *acks
	interval time.Duration
	log      *slog.Logger

	turn  chan struct{} // held by the one who saves
	saved string        // belongs to whose turn it is
	fell  bool          // run was ended by a save: the store has panicked, and may be locked
	tried atomic.Pointer[time.Time]
}

// newCommitter wants the cursor that the store holds.
func newCommitter(o *options, l *acks, saved Cursor) *committer {
	return &committer{store: o.store, acks: l, interval: o.saveInterval, log: o.logger, turn: make(chan struct{}, 1), saved: saved.String()}
}

// run saves until the context is done.
func (c *committer) run(ctx context.Context) {
	if c.store == nil {
		return
	}
	failures := 0
	for {
		select {
		case <-c.acks.changed:
		case <-ctx.Done():
			return
		}
		delay := time.Duration(0)
		if tried := c.tried.Load(); tried != nil {
			delay = time.Until(tried.Add(c.interval))
		}
		if failures > 0 {
			delay = max(delay, replayBackoff(failures))
		}
		if !sleep.For(ctx, delay) {
			return
		}
		c.fell = true
		err := c.save(ctx)
		c.fell = false
		if err != nil {
			failures++
			c.log.Warn("cursor not saved", "attempt", failures, "err", err)
			signal(c.acks.changed)
			continue
		}
		failures = 0
	}
}

// save saves the cursor, if it is another than the one saved last. Saves come
// one after the other.
func (c *committer) save(ctx context.Context) error {
	if c.store == nil {
		return nil
	}
	if err := c.saveInTurn(ctx); err != nil {
		return savingFailed(err)
	}
	return nil
}

func savingFailed(err error) error { return fmt.Errorf("realtime: saving the cursor: %w", err) }

func (c *committer) saveInTurn(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	cursor, ok := c.acks.cursor()
	text := cursor.String()
	if !ok || text == c.saved {
		return nil
	}
	c.tried.Store(new(time.Now()))
	if err := c.store.Save(ctx, cursor); err != nil {
		return err
	}
	c.saved = text
	return nil
}

// finish saves what is left when all has stopped, even if that was because the
// context is done.
func (c *committer) finish(ctx context.Context) error {
	if c.fell {
		return nil // the panic says why
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-ctx.Done():
			sleep.For(saving, cancelledSave)
			cancel()
		case <-saving.Done():
		}
	})
	return c.save(saving)
}
