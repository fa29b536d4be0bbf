package pulltest

import (
	"context"
	"net/http"
	"time"
)

// poll is one long poll that hangs.
type poll struct {
	connection
	done   bool // guarded by hub.mu: answered, or given up
	hidden bool // it cannot be cut
	cancel context.CancelCauseFunc
	answer chan pollAnswer
}

type pollAnswer struct {
	messages []*message
	refused  *pushError
}

// deliver answers the poll with this one message.
func (p *poll) deliver(m *message) {
	if p.done {
		return
	}
	p.hub.stats.Sent++
	p.sends([]*message{m}, false)
	p.leaves("answered", 0)
	p.finish(pollAnswer{messages: []*message{m}})
}

func (p *poll) evict() {
	p.hub.stats.Evicted++
	p.leaves("evicted", 0)
	p.finish(pollAnswer{refused: errTooManyConnections})
}

func (p *poll) finish(a pollAnswer) {
	if p.done {
		return
	}
	p.done = true
	p.process.unregister(p)
	p.answer <- a
}

// servePoll answers with the history asked for at once, never registered; else
// it hangs until the first live message or the end of its time.
func (s *pushServer) servePoll(w http.ResponseWriter, r *http.Request, sub subscription) {
	p := &poll{
		connection: connection{subscription: sub, hub: s.hub, raw: rawConn(r), transport: overPoll},
		hidden:     rawConn(r) == nil && !canHijack(w),
		answer:     make(chan pollAnswer, 1),
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	p.cancel = cancel
	end := time.NewTimer(s.opts.hold)
	defer end.Stop()
	missed, ok := p.open()
	if !ok {
		reset(w, r)
		return
	}
	defer p.close(r.Context())
	if len(missed) > 0 {
		p.write(w, pollAnswer{messages: missed})
		return
	}
	defer func() {
		if context.Cause(ctx) == errCut && !p.hidden {
			reset(w, r)
		}
	}()
	if p.from.asksHistory() && p.hub.hasHole(nil) {
		if sleep(ctx, p.hub.handover) != nil || !p.register() {
			return
		}
	}
	gone, faults := ctx.Done(), &p.hub.faults
	select {
	case a := <-p.answer:
		if faults.unstalled(Polls, gone) {
			p.write(w, a)
		}
	case <-end.C:
		if faults.unstalled(Polls, gone) {
			p.timeout(w)
		}
	case <-gone:
	}
}

// open reads the history asked for. It registers the poll in the same moment
// if none is, or nothing was found and there is no handover.
func (p *poll) open() (missed []*message, ok bool) {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed || h.down > 0 {
		return nil, false
	}
	h.stats.Polls++
	h.polls[p] = struct{}{}
	p.enters()
	h.arrive(p.client.user)
	p.process = h.deal()
	if !p.from.asksHistory() {
		p.hub.register(p.process, p, p.channels)
		return nil, true
	}
	h.stats.PollsWithMid++
	missed = p.dialect.history(h, p.from, p.channels)
	h.stats.Replayed += len(missed)
	h.stats.Sent += len(missed)
	if p.sends(missed, true); len(missed) > 0 {
		p.leaves("answered", 0)
	}
	if len(missed) == 0 && !h.hasHole(nil) {
		p.hub.register(p.process, p, p.channels)
	}
	return missed, true
}

func (p *poll) register() bool {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed || p.done {
		return false
	}
	p.hub.register(p.process, p, p.channels)
	return true
}

func (p *poll) close(ctx context.Context) {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	if ctx.Err() == context.DeadlineExceeded {
		p.leaves("idle", 0)
	}
	p.leaves("client closed", 0)
	p.done = true
	p.process.unregister(p)
	delete(h.polls, p)
	p.departLater()
}

func (p *poll) write(w http.ResponseWriter, a pollAnswer) {
	if a.refused != nil {
		p.dialect.exposes(w.Header())
		refuse(w, a.refused)
		return
	}
	w.Header().Set("Content-Type", p.framing.media)
	p.dialect.answerHead(w.Header(), a.messages)
	faults := &p.hub.faults
	frame := p.framing.encode(faults.garble(Polls, a.messages), p.hub.clock.now())
	w.Write(faults.garbleFrame(Polls, frame))
}

// timeout answers 304, unless a message came in the last moment.
func (p *poll) timeout(w http.ResponseWriter) {
	p.hub.mu.Lock()
	p.done = true
	p.leaves("timeout", 0)
	p.process.unregister(p)
	last := p.from.mid
	if last == "" {
		last = p.hub.newest(p.channels)
	}
	p.hub.unlock()
	select {
	case a := <-p.answer:
		p.write(w, a)
		return
	default:
	}
	header := w.Header()
	// net/http drops the canonical Content-Type of a 304; a push server sends
	// it.
	header["content-type"] = []string{"text/plain"}
	p.dialect.timeoutHead(header, last, p.hub.clock.now())
	w.WriteHeader(http.StatusNotModified)
}
