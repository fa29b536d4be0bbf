package transport

import (
	"context"
	"strings"
	"sync"
	"time"
)

const (
	// maxReceipts is how many messages one request confirms.
	maxReceipts = 500
	// maxPending is how many messages wait to be confirmed. Of more, those that
	// have waited longest stay unconfirmed.
	maxPending = 4096
	// maxConfirmed is how much may be answered to a request.
	maxConfirmed = 4 << 10

	receiptsDistance = time.Second // between requests, in which messages gather
	receiptsPause    = time.Second // after a request that failed; twice that after the next, and so on
	maxReceiptsPause = time.Minute
)

// Receipts confirms the messages that polls have brought: what goes over a
// websocket beside the messages is posted to the address for publishing here,
// one request at a time. What fails is left out: nothing waits for it, and
// nothing is repeated.
type Receipts struct {
	Context context.Context // ends all
	Posting Posting
	Go      func(func())                    // has a function run in a goroutine
	Failed  func(messages int, cause error) // is told of a request that failed

	mu      sync.Mutex
	pending []receipt
	posting bool
	pause   time.Duration // after the last request; 0: it did not fail
}

// receipt is a message to be confirmed.
type receipt struct {
	to *Address
	id string
}

// Add takes the ids of messages. It does not wait.
func (r *Receipts) Add(to Address, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if id != "" && !strings.ContainsAny(id, "\r\n") { // which would be two
			r.pending = append(r.pending, receipt{&to, id})
		}
	}
	if over := len(r.pending) - maxPending; over > 0 {
		r.pending = append([]receipt(nil), r.pending[over:]...)
	}
	if len(r.pending) > 0 && !r.posting {
		r.posting = true
		r.Go(r.post)
	}
}

// post posts until there is nothing more to be confirmed.
func (r *Receipts) post() {
	for {
		began := time.Now()
		to, ids := r.next()
		if len(ids) == 0 {
			return
		}
		body := textReceipt + strings.Join(ids, "\n"+textReceipt)
		_, err := r.Posting.Post(r.Context, to, []byte(body), maxConfirmed)
		var next time.Time
		switch {
		case err == nil && len(ids) == maxReceipts: // there may be more
			r.pause = 0
		case err == nil:
			r.pause, next = 0, began.Add(receiptsDistance)
		case r.Context.Err() == nil:
			r.Failed(len(ids), err)
			r.pause = min(max(2*r.pause, receiptsPause), maxReceiptsPause)
			next = time.Now().Add(r.pause)
		}
		select {
		case <-time.After(time.Until(next)):
		case <-r.Context.Done():
		}
	}
}

// next takes what one request confirms; nothing ends the posting.
func (r *Receipts) next() (to Address, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Context.Err() != nil {
		r.pending = nil
	}
	for len(r.pending) > 0 && len(ids) < maxReceipts {
		first := r.pending[0]
		if len(ids) > 0 && first.to.URL != to.URL {
			break
		}
		to, ids = *first.to, append(ids, first.id)
		r.pending = r.pending[1:]
	}
	if len(ids) == 0 {
		r.pending, r.posting = nil, false
	}
	return to, ids
}
