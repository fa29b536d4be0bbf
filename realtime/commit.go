package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// defaultSaveInterval is how often a changed cursor is saved.
	defaultSaveInterval = time.Second
	// lastSave bounds the saving of the cursor at the end of a run.
	lastSave = 10 * time.Second
)

// committer saves the cursor of a running subscription as it changes, but not for each message.
type committer struct {
	store    CursorStore
	ledger   *ledger
	interval time.Duration
	log      *slog.Logger

	mu    sync.Mutex // of saving
	saved string
	tried time.Time
}

// run saves until the context is done.
func (c *committer) run(ctx context.Context) {
	if c.store == nil {
		return
	}
	failures := 0
	for {
		select {
		case <-c.ledger.changed:
		case <-ctx.Done():
			return
		}
		delay := time.Until(c.lastTried().Add(c.interval))
		if failures > 0 {
			delay = max(delay, readBackoff(failures))
		}
		if !sleep(ctx, delay) {
			return
		}
		if err := c.save(ctx); err != nil {
			failures++
			c.log.Warn("cursor not saved", "attempt", failures, "err", err)
			signal(c.ledger.changed)
			continue
		}
		failures = 0
	}
}

func (c *committer) lastTried() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tried
}

// save saves the cursor, if it is another than the one saved last.
func (c *committer) save(ctx context.Context) error {
	if c.store == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cursor, ok := c.ledger.cursor()
	text := cursor.String()
	if !ok || text == c.saved {
		return nil
	}
	c.tried = time.Now()
	if err := c.store.Save(ctx, cursor); err != nil {
		return fmt.Errorf("realtime: saving the cursor: %w", err)
	}
	c.saved = text
	return nil
}

// finish saves what is left when all has stopped, even if that was because the context is done.
func (c *committer) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
	defer cancel()
	return c.save(ctx)
}

// sleep waits; false means that the context is done.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
