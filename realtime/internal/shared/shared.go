// Package shared has what the subscriptions of a fleet have in common.
package shared

import (
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// Resources are common to several subscriptions. What is nil a subscription
// has for itself, or has none of.
type Resources struct {
	Gate   *gate.Gate       // of requests
	Budget *delivery.Budget // of the bytes that queues take
	Waits  *Goroutines      // that who runs the subscription waits for
}

// New has so many places for requests, and so many bytes for what is queued,
// beside a share of each queue.
func New(requests, bytes, share int) *Resources {
	return &Resources{Gate: gate.New(requests), Budget: delivery.NewBudget(bytes, share)}
}

// Option makes a realtime.Option that gives a subscription its share. Package
// realtime sets it: it is for this module alone.
var Option func(*Resources) any
