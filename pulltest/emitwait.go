package pulltest

import (
	"context"
	"errors"
	"fmt"
)

// EmitAndWait is [Portal.Emit], and waits until the message has been handed to
// everybody who listens: to each connection of a subscriber that was open on one
// of its channels when it was published, live or, where that connection has ended
// without it, to another one of the same user, which may read it from the
// history. If nobody listened, it waits until somebody is sent it.
//
// It returns when ctx ends, the portal is closed or [Portal.Reset], with an error
// that says how many still lack the message, and wraps that of ctx.
//
// That it was sent is all that a portal knows: a handler may still be at work on
// it, as it may behind a real portal. A test on virtual time calls synctest.Wait
// next, which returns when the handlers are done, or wait for something. Elsewhere
// the handler tells the test, by a channel, say; or the test looks at what the
// subscription counts as handled.
func (p *Portal) EmitAndWait(ctx context.Context, m Message) (mid string, err error) {
	receivers := p.receivers(m.target())
	for _, keys := range p.audiences(receivers) {
		w := &delivery{done: make(chan struct{})}
		x := m.extras()
		x.awaited = w
		mid = p.push.hub.publishWith(x, keys, p.messageBody(m, keys, p.opts.clock.now()), m.keep(), backend.sender(), true)
		if err := p.push.hub.await(ctx, p.quit, w); err != nil {
			return mid, fmt.Errorf("pulltest: EmitAndWait: %w", err)
		}
	}
	return mid, nil
}

// delivery is who is still to be sent a message that somebody waits for. It is
// guarded by hub.mu.
type delivery struct {
	lack   map[*connection]bool // open when it was published; true: it has ended since
	sent   map[int]bool         // users who were sent it
	failed error
	done   chan struct{} // closed when nobody lacks it, or it has failed
	over   bool
}

// expects begins a delivery to those who listen. The caller holds h.mu.
func (h *hub) expects(w *delivery, receivers []channelKey) {
	if w == nil {
		return
	}
	w.lack, w.sent = make(map[*connection]bool), make(map[int]bool)
	for c := range h.sockets {
		w.expects(&c.connection, receivers)
	}
	for c := range h.polls {
		w.expects(&c.connection, receivers)
	}
	h.awaited[w] = struct{}{}
}

func (w *delivery) expects(c *connection, receivers []channelKey) {
	if !c.left && c.listensTo(receivers) {
		w.lack[c] = false
	}
}

// listensTo reports whether one of its channels is one of the receivers.
func (c *connection) listensTo(receivers []channelKey) bool {
	for _, channel := range c.channels {
		for _, key := range channel.keys() {
			for _, to := range receivers {
				if key == to {
					return true
				}
			}
		}
	}
	return false
}

// arrives notes that a connection is sent the message.
func (w *delivery) arrives(c *connection) {
	if w != nil {
		delete(w.lack, c)
		w.sent[c.client.user] = true
		w.check()
	}
}

// leaves notes that a connection has ended.
func (w *delivery) leaves(c *connection) {
	if _, lacks := w.lack[c]; lacks {
		w.lack[c] = true
		w.check()
	}
}

func (w *delivery) check() {
	for c, ended := range w.lack {
		if !ended || !w.sent[c.client.user] {
			return
		}
	}
	w.end(nil)
}

func (w *delivery) end(err error) {
	if !w.over {
		w.over, w.failed = true, err
		close(w.done)
	}
}

var errWasReset = errors.New("the portal was reset meanwhile")

// endAwaited has nobody wait any more. The caller holds h.mu.
func (h *hub) endAwaited() {
	for w := range h.awaited {
		w.end(errWasReset)
	}
}

// await waits until a message has been delivered, ctx ends or quit is closed.
func (h *hub) await(ctx context.Context, quit <-chan struct{}, w *delivery) (err error) {
	select {
	case <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-quit:
		err = errors.New("the portal was closed meanwhile")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.awaited, w)
	switch {
	case w.over:
		return w.failed
	case len(w.lack) == 0:
		return fmt.Errorf("nobody listens, and nobody has been sent it: %w", err)
	default:
		return fmt.Errorf("%d of those who listen have not been sent it: %w", len(w.lack), err)
	}
}
