package pulltest

import (
	"net/http"
	"time"
)

// poll is one long poll that hangs.
type poll struct {
	hub    *hub
	raw    *serverConn
	binary bool
	done   bool // guarded by hub.mu: answered, or given up
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
	p.finish(pollAnswer{messages: []*message{m}})
}

func (p *poll) evict() {
	p.hub.stats.Evicted++
	p.finish(pollAnswer{refused: errTooManyConnections})
}

func (p *poll) finish(a pollAnswer) {
	if p.done {
		return
	}
	p.done = true
	p.hub.unregister(p)
	p.answer <- a
}

// servePoll answers with the history after mid at once, never registered; else
// it hangs until the first live message or the end of its time.
func (s *pushServer) servePoll(w http.ResponseWriter, r *http.Request, channels []channelID, mid string) {
	p := &poll{
		hub:    s.hub,
		raw:    rawConn(r),
		binary: r.URL.Query().Get("binaryMode") == "true",
		answer: make(chan pollAnswer, 1),
	}
	end := time.NewTimer(s.opts.hold)
	defer end.Stop()
	missed, ok := p.open(channels, mid, s.opts.handover <= 0)
	if !ok {
		p.raw.abort()
		return
	}
	defer p.close()
	if len(missed) > 0 {
		p.write(w, pollAnswer{messages: missed})
		return
	}
	if mid != "" && s.opts.handover > 0 {
		if sleep(r.Context(), s.opts.handover) != nil || !p.register(channels) {
			return
		}
	}
	select {
	case a := <-p.answer:
		p.write(w, a)
	case <-end.C:
		p.timeout(w, channels, mid)
	case <-r.Context().Done():
	}
}

// open reads the history after mid. It registers the poll in the same moment
// if there is no mid, or nothing was found and there is no handover.
func (p *poll) open(channels []channelID, mid string, atOnce bool) (missed []*message, ok bool) {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed {
		return nil, false
	}
	h.stats.Polls++
	h.polls[p] = struct{}{}
	if mid == "" {
		h.register(p, channels)
		return nil, true
	}
	h.stats.PollsWithMid++
	missed = h.after(mid, channels)
	h.stats.Replayed += len(missed)
	h.stats.Sent += len(missed)
	if len(missed) == 0 && atOnce {
		h.register(p, channels)
	}
	return missed, true
}

func (p *poll) register(channels []channelID) bool {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed || p.done {
		return false
	}
	h.register(p, channels)
	return true
}

func (p *poll) close() {
	h := p.hub
	h.mu.Lock()
	defer h.unlock()
	p.done = true
	h.unregister(p)
	delete(h.polls, p)
}

func (p *poll) write(w http.ResponseWriter, a pollAnswer) {
	if a.refused != nil {
		writeText(w, a.refused.status(), a.refused.Error())
		return
	}
	if p.binary {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(binaryFrame(a.messages))
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Write(textFrame(a.messages, time.Now()))
}

// timeout answers 304, unless a message came in the last moment.
func (p *poll) timeout(w http.ResponseWriter, channels []channelID, mid string) {
	p.hub.mu.Lock()
	p.done = true
	p.hub.unregister(p)
	if mid == "" {
		mid = p.hub.newest(channels)
	}
	p.hub.unlock()
	select {
	case a := <-p.answer:
		p.write(w, a)
		return
	default:
	}
	header := w.Header()
	// net/http drops the canonical Content-Type of a 304; a push server sends it.
	header["content-type"] = []string{"text/plain"}
	header.Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
	header.Set("Last-Message-Id", mid)
	w.WriteHeader(http.StatusNotModified)
}
