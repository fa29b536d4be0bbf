package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/php"
)

// DefaultWatchInterval is how often KeepWatch renews tags where Watch does not
// say otherwise.
const DefaultWatchInterval = 15 * time.Minute

// ErrWatchEnded is the error of KeepWatch when none of its tags lives any more.
var ErrWatchEnded = errors.New("b24pull: none of the watched tags lives any more")

// Watch is what KeepWatch keeps alive.
type Watch struct {
	// Tags are the tags to renew. Two that differ in letter case alone are one.
	Tags []string
	// Interval is the time between two renewals, DefaultWatchInterval where it
	// is 0.
	Interval time.Duration
	// Lost, if not nil, is called with a tag that no longer lives. It is not
	// renewed any more; the page that asked for it has to ask again.
	Lost func(tag string)
	// Failed, if not nil, is called with the error of a renewal that is tried
	// again after the next interval, or a minute if that is less, or when the
	// portal says.
	Failed func(error)
}

// KeepWatch renews the tags of w at once and then every interval, until ctx
// ends: run it beside the subscription whose channels the events come to, with
// a context that ends with it.
//
// It returns the context's error, ErrWatchEnded when no tag is left, or an
// error of ExtendWatch of which calling again gives the same (class
// ClassFinal).
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
		case err != nil && ClassOf(err) == ClassFinal:
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
		if !sleep.For(ctx, pause) {
			return ctx.Err()
		}
	}
}

// ExtendWatch has the portal go on sending the events of the tags, which a page
// of it has subscribed to (method pull.watch.extend, scope pull). It returns
// which tags still live, by the tags as they were given: portals compare them
// without regard to case. KeepWatch does it again and again.
//
// Errors are those of GetApplicationConfig.
func (c *Client) ExtendWatch(ctx context.Context, tags ...string) (map[string]bool, error) {
	if len(tags) == 0 {
		return nil, before(ErrInvalidFormat, "b24pull: %s: no tags", methodWatchExtend)
	}
	var alive map[string]bool
	err := c.call(ctx, request{methodWatchExtend, map[string]any{"TAGS": tags}, true, func(a response) (err error) {
		alive, err = livingTags(a.raw, tags)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return alive, nil
}

// livingTags reads an object of tags, a list of them, or a list of booleans in
// their order, which is what PHP makes of tags that are numbers. A tag that is
// stored in another letter case is answered in both.
func livingTags(raw json.RawMessage, tags []string) (map[string]bool, error) {
	alive := make(map[string]bool, len(tags))
	asked := make(map[string][]string, len(tags))
	for _, tag := range tags {
		alive[tag] = false
		asked[foldTag(tag)] = append(asked[foldTag(tag)], tag)
	}
	tell := func(answered string, lives bool) {
		for _, tag := range asked[foldTag(answered)] {
			alive[tag] = alive[tag] || lives
		}
	}
	wrong := phpjson.Node{Path: methodWatchExtend}.Wrong("want an object or a list of tags")
	if phpjson.KindOf(raw) == phpjson.KindObject {
		var object php.Map[string, php.Bool]
		if json.Unmarshal(raw, &object) != nil {
			return nil, wrong
		}
		for tag, lives := range object {
			tell(tag, bool(lives))
		}
		return alive, nil
	}
	var list []json.RawMessage
	if !phpjson.Blank(raw) && json.Unmarshal(raw, &list) != nil {
		return nil, wrong
	}
	for i, v := range list {
		var tag string
		var lives php.Bool
		switch {
		case phpjson.KindOf(v) == phpjson.KindString && json.Unmarshal(v, &tag) == nil:
			tell(tag, true)
		case phpjson.KindOf(v) == phpjson.KindBool && len(list) == len(tags) && json.Unmarshal(v, &lives) == nil:
			tell(tags[i], bool(lives))
		default:
			return nil, wrong
		}
	}
	return alive, nil
}

// foldTag is the same for tags that differ in letter case alone.
func foldTag(tag string) string { return strings.ToLower(strings.ToUpper(tag)) }
