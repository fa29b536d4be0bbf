package transport

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/lately"
)

const (
	// maxConfirmations is how many messages one request confirms.
	maxConfirmations = 500
	// maxPending is how many messages wait to be confirmed. Of more, those that
	// have waited longest stay unconfirmed.
	maxPending = 4096
	// maxRecent is how many confirmed messages are remembered, so that those
	// that a replay shows again are not confirmed again.
	maxRecent = 4096
	// maxConfirmAnswer is how much may be answered to a request.
	maxConfirmAnswer = 4 << 10

	confirmDistance = time.Second // between requests, in which messages gather
	confirmPause    = time.Second // after a request that failed; twice that after the next, and so on
	maxConfirmPause = time.Minute
)

// A Confirmer confirms the messages that polls have brought: what goes over a
// websocket beside the messages is posted to the address for publishing here,
// one request at a time. What fails is left out: nothing waits for it, and
// nothing is repeated.
type Confirmer struct {
	Context context.Context // ends all; its gate is passed
	Posting Posting
	Go      func(func())                    // has a function run in a goroutine
	Failed  func(messages int, cause error) // is told of a request that failed

	mu      sync.Mutex
	pending []confirmation
	recent  lately.Map[struct{}] // confirmed, or pending
	posting bool
	pause   time.Duration // after the last request; 0: it did not fail
}

// confirmation is of a message to be confirmed.
type confirmation struct {
	to *Address
	id string
}

// Confirmed notes that a message has been confirmed over a websocket.
func (c *Confirmer) Confirmed(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent.Put(id, struct{}{}, maxRecent)
}

// Add takes the ids of messages. It does not wait.
func (c *Confirmer) Add(to Address, ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		_, known := c.recent.Get(id)
		if id == "" || known || strings.ContainsAny(id, "\r\n") { // which would be two
			continue
		}
		c.recent.Put(id, struct{}{}, maxRecent)
		c.pending = append(c.pending, confirmation{&to, id})
	}
	if over := len(c.pending) - maxPending; over > 0 {
		for _, left := range c.pending[:over] {
			c.recent.Delete(left.id)
		}
		c.pending = slices.Clone(c.pending[over:])
	}
	if len(c.pending) > 0 && !c.posting {
		c.posting = true
		c.Go(c.post)
	}
}

// post posts until there is nothing more to be confirmed.
func (c *Confirmer) post() {
	for {
		began := time.Now()
		to, ids := c.next()
		if len(ids) == 0 {
			return
		}
		body := textReceipt + strings.Join(ids, "\n"+textReceipt)
		place, err := gate.Enter(c.Context, gate.Replay, to.place(), nil)
		if err == nil {
			_, err = c.Posting.Post(place.Context(c.Context), to, []byte(body), maxConfirmAnswer)
			place.Leave()
		}
		var next time.Time
		switch {
		case err == nil && len(ids) == maxConfirmations: // there may be more
			c.pause = 0
		case err == nil:
			c.pause, next = 0, began.Add(confirmDistance)
		case c.Context.Err() == nil:
			c.failed(ids)
			c.Failed(len(ids), err)
			c.pause = min(max(2*c.pause, confirmPause), maxConfirmPause)
			next = time.Now().Add(c.pause)
		}
		select {
		case <-time.After(time.Until(next)):
		case <-c.Context.Done():
		}
	}
}

// failed has messages confirmed if they come again.
func (c *Confirmer) failed(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.recent.Delete(id)
	}
}

// next takes what one request confirms; nothing ends the posting.
func (c *Confirmer) next() (to Address, ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Context.Err() != nil {
		c.pending = nil
	}
	for len(c.pending) > 0 && len(ids) < maxConfirmations {
		first := c.pending[0]
		if len(ids) > 0 && first.to.URL != to.URL {
			break
		}
		to, ids = *first.to, append(ids, first.id)
		c.pending = c.pending[1:]
	}
	if len(ids) == 0 {
		c.pending, c.posting = nil, false
	}
	return to, ids
}
