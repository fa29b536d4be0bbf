package fleet

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/sleep"
)

const eventUninstall = "ONAPPUNINSTALL"

// A binding has a portal tell when it uninstalls the application, while one
// subscription runs.
type binding struct {
	ctx     context.Context
	client  *b24pull.Client
	address string // "": nothing is bound
	tell    func(Event)
	running sync.WaitGroup
	again   chan struct{} // full while somebody binds
	looked  time.Time     // when that began; the tenant's mu guards it
}

// begin binds the event, unless somebody does. It does not wait.
func (b *binding) begin() {
	if b.address == "" {
		return
	}
	select {
	case b.again <- struct{}{}:
	default:
		return
	}
	b.looked = time.Now()
	b.running.Go(func() {
		defer func() { <-b.again }()
		b.bind()
	})
}

const (
	firstBinding = time.Minute
	lastBinding  = time.Hour
)

// bind tries until the event is bound, or until the portal says that it cannot
// be.
func (b *binding) bind() {
	for delay := firstBinding; ; delay = min(2*delay, lastBinding) {
		bound, err := b.once()
		switch {
		case b.ctx.Err() != nil:
			return
		case err != nil:
			b.tell(Event{Kind: KindEventsNotBound, Err: err})
		case bound:
			b.tell(Event{Kind: KindEventsBound})
		}
		if err == nil || b24pull.ClassOf(err) == b24pull.ClassFinal || !sleep.For(b.ctx, delay) {
			return
		}
	}
}

// once binds the event if it is not bound, and reports whether it has.
func (b *binding) once() (bound bool, err error) {
	type binding struct {
		Event   string `json:"event"`
		Handler string `json:"handler"`
	}
	var all []binding
	if _, err := b.client.Call(b.ctx, "event.get", nil, &all, b24pull.Idempotent()); err != nil {
		return false, err
	}
	for _, one := range all {
		if strings.EqualFold(one.Event, eventUninstall) && one.Handler == b.address {
			return false, nil
		}
	}
	_, err = b.client.Call(b.ctx, "event.bind", binding{eventUninstall, b.address}, nil)
	return err == nil, err
}

// rebind is how long a binding counts that was just looked at.
const rebind = time.Minute

// bindAgain looks whether the event is still bound: an installation that comes
// while the portal is listened to may have ended an earlier one unseen, and
// with it what was bound.
func (t *tenant) bindAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run != nil && time.Since(t.run.looked) >= rebind {
		t.run.begin()
	}
}
