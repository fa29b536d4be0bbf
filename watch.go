package b24pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// DefaultWatchInterval is how often KeepWatch renews tags where Watch does not say
// otherwise.
const DefaultWatchInterval = 15 * time.Minute

// ErrWatchEnded is the error of KeepWatch when none of its tags lives any more.
var ErrWatchEnded = errors.New("b24pull: none of the watched tags lives any more")

// Watch is what KeepWatch keeps alive.
type Watch struct {
	// Tags are the tags to renew. Two that differ in letter case alone are one.
	Tags []string
	// Interval is the time between two renewals, DefaultWatchInterval where it is 0.
	Interval time.Duration
	// Lost, if not nil, is called with a tag that no longer lives. It is not
	// renewed any more; the page that asked for it has to ask again.
	Lost func(tag string)
	// Failed, if not nil, is called with the error of a renewal that is tried again
	// after the next interval, or a minute if that is less, or when the portal says.
	Failed func(error)
}

// KeepWatch renews the tags of w at once and then every interval, until ctx ends: run it
// beside the subscription whose channels the events come to, with a context that
// ends with it.
//
// It returns the context's error, ErrWatchEnded when no tag is left, or an error of
// ExtendWatch of which calling again gives the same (class Final).
func (c *Client) KeepWatch(ctx context.Context, w Watch) error {
	if w.Interval < 0 {
		return fmt.Errorf("b24pull: KeepWatch: the interval %v is negative", w.Interval)
	}
	if w.Interval == 0 {
		w.Interval = DefaultWatchInterval
	}
	var tags []string
	for _, tag := range w.Tags {
		if !slices.ContainsFunc(tags, func(known string) bool { return foldTag(known) == foldTag(tag) }) {
			tags = append(tags, tag)
		}
	}
	for {
		pause := w.Interval
		alive, err := c.ExtendWatch(ctx, tags...)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && ClassOf(err) == Final:
			return err
		case err != nil:
			pause = max(min(pause, time.Minute), retryAfter(err))
			if w.Failed != nil {
				w.Failed(err)
			}
		}
		for _, tag := range slices.Sorted(maps.Keys(alive)) {
			if i := slices.Index(tags, tag); i >= 0 && !alive[tag] {
				tags = slices.Delete(tags, i, i+1)
				if w.Lost != nil {
					w.Lost(tag)
				}
			}
		}
		if len(tags) == 0 {
			return ErrWatchEnded
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
