package fleet

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/realtime/internal/shared"
)

const eventUninstall = "ONAPPUNINSTALL"

// A binding has a portal tell when it uninstalls the application, while one
// subscription runs.
type binding struct {
	ctx     context.Context
	client  *b24pull.Client
	address string // "": nothing is bound
	tell    func(Event)
	waits   *shared.Goroutines
	running sync.WaitGroup

	mu     sync.Mutex
	wanted bool // that it is looked at once more
	busy   bool // somebody looks
}

// rebind is how long it is waited before it is looked again.
const rebind = time.Minute

// begin looks whether the event is bound, and binds it, now or soon. It does
// not wait.
func (b *binding) begin() {
	if b.address == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = true
	if b.busy {
		return
	}
	b.busy = true
	b.running.Go(func() {
		defer b.waits.Leave(b.waits.Enter())
		for b.next() {
			b.bind()
			sleep.For(b.ctx, rebind)
		}
	})
}

// next reports whether it is to be looked at once more.
func (b *binding) next() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	more := b.wanted && b.ctx.Err() == nil
	b.wanted, b.busy = false, more
	return more
}

const (
	firstBinding = time.Minute
	lastBinding  = time.Hour
)

// bind tries until the event is bound, or until the portal says that it cannot
// be.
func (b *binding) bind() {
	for delay := firstBinding; ; delay = min(2*delay, lastBinding) {
		var bound bool
		err := safely(func() (err error) { bound, err = b.once(); return err })
		switch {
		case b.ctx.Err() != nil && !isPanic(err):
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

// bindAgain looks whether the event is still bound: an installation that comes
// while the portal is listened to may have ended an earlier one unseen, and
// with it what was bound.
func (t *tenant) bindAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.run != nil {
		t.run.begin()
	}
}
