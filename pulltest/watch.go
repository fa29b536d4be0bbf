package pulltest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// watchLife is how long a watch lives if nobody extends it.
const watchLife = 31 * time.Minute

var errTags = &restError{http.StatusBadRequest, "INVALID_FORMAT", "A wrong format for the TAGS field is passed"}

// watches are the ends of each user's tags.
type watches struct {
	mu   sync.Mutex
	ends map[int]map[string]time.Time
}

// Watch subscribes a user to tags, as the portal does when a page
// opens. A watch lives 31 min, unless pull.watch.extend begins them anew. It
// panics at a user that there is not.
func (p *Portal) Watch(user int, tags ...string) {
	p.opts.mustKnow(user)
	w := &p.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends == nil {
		w.ends = make(map[int]map[string]time.Time)
	}
	if w.ends[user] == nil {
		w.ends[user] = make(map[string]time.Time)
	}
	for _, tag := range tags {
		w.ends[user][tag] = p.opts.clock.now().Add(watchLife)
	}
}

// Unwatch ends watches of a user.
func (p *Portal) Unwatch(user int, tags ...string) {
	w := &p.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tag := range tags {
		delete(w.ends[user], tag)
	}
}

// Watched returns the tags that a user watches now, in alphabetical order.
func (p *Portal) Watched(user int) []string {
	w := &p.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(user, p.opts.clock.now())
	return slices.Sorted(maps.Keys(w.ends[user]))
}

// expire forgets the watches that nobody extended. The caller holds w.mu.
func (w *watches) expire(user int, now time.Time) {
	maps.DeleteFunc(w.ends[user], func(_ string, end time.Time) bool { return !now.Before(end) })
}

// extendWatch is pull.watch.extend: of each tag it reports whether it lives. A
// tag is found in any letter case, and one that is stored in another is
// answered beside the one asked for.
func (p *Portal) extendWatch(call restCall) (any, *restError) {
	tags, ok := listOf(call.params["TAGS"])
	if !ok {
		return nil, errTags
	}
	now := p.opts.clock.now()
	w := &p.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(call.user, now)
	lives := make(map[string]any)
	for _, t := range tags {
		tag, ok := t.(string)
		if !ok {
			return nil, errTags
		}
		if lives[tag] == nil {
			lives[tag] = false
		}
		for stored := range w.ends[call.user] {
			if strings.EqualFold(stored, tag) {
				w.ends[call.user][stored] = now.Add(watchLife)
				lives[stored] = true
			}
		}
	}
	return phpArray(lives), nil
}
