package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// since is what of a journal is asked for.
type since struct {
	After int64   `json:"after,omitempty" min:"0" doc:"Events with greater numbers; 0 if absent: all that are kept."`
	Kind  string  `json:"kind,omitempty" enum:"subscribed,unsubscribed,published,delivered,ping,pong,request" doc:"Only events of this kind."`
	Wait  float64 `json:"wait_seconds,omitempty" min:"0" max:"60" doc:"How long to wait for the first of them if there is none yet."`
}

// from is where a stream begins.
type from struct {
	After *int64 `json:"after,omitempty" min:"0" doc:"Events with greater numbers; 0: all that are kept. From now on if absent."`
}

// events are a part of a journal.
type events struct {
	Events []json.RawMessage `json:"events" of:"event" doc:"What happened, the oldest first."`
	Last   int64             `json:"last" doc:"Ask for what is after this number next."`
	Lost   bool              `json:"lost" doc:"Whether events are missing that were pushed out by later ones."`
}

// mostEvents is how many one answer has.
const mostEvents = 1000

// readJournal is the endpoint of a journal.
func readJournal(messages bool) func(context.Context, *running, since) (events, error) {
	return func(ctx context.Context, p *running, in since) (events, error) {
		ctx, cancel := context.WithTimeout(ctx, seconds(in.Wait))
		defer cancel()
		found := events{Events: []json.RawMessage{}, Last: in.After}
		for {
			c := p.journal.read(found.Last, messages, mostEvents)
			found.Lost = found.Lost || c.lost
			for _, r := range c.records {
				if in.Kind == "" || in.Kind == string(r.kind) {
					found.Events = append(found.Events, r.json)
				}
			}
			if found.Last = c.last; len(c.records) == mostEvents {
				found.Last = c.records[mostEvents-1].n
			}
			switch {
			case len(found.Events) > 0:
				return found, nil
			case len(c.records) == mostEvents:
				continue
			case c.ended:
				return found, nil
			}
			select {
			case <-c.more:
			case <-ctx.Done():
				return found, nil
			}
		}
	}
}

const (
	// mostStreams is how many streams of a portal there may be.
	mostStreams = 64
	// streamPatience is how long a reader may take for what is written to it.
	streamPatience = 5 * time.Second
	// streamChunk is about how much is written at a time.
	streamChunk = 64 << 10
	// streamBeat is how often something is written where nothing happens, which
	// finds out who is gone.
	streamBeat = 15 * time.Second
)

// stream serves events as they happen, as server-sent events. A reader that is
// too slow is let go: it comes back with Last-Event-ID.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, p *running) error {
	after, err := p.streamFrom(r)
	if err != nil {
		return err
	}
	if p.streams.Add(1) > mostStreams {
		p.streams.Add(-1)
		return refuse(http.StatusServiceUnavailable, "too_many", "there are %d streams of this portal already", mostStreams)
	}
	defer p.streams.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(text string) bool {
		out.SetWriteDeadline(time.Now().Add(s.patience))
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	if !send("retry: 1000\n\n") {
		return nil
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		c := p.journal.read(after, false, mostEvents)
		if c.lost && !send(fmt.Sprintf("event: lost\ndata: {\"after\":%d}\n\n", after)) {
			return nil
		}
		var b strings.Builder
		for i, one := range c.records {
			after = one.n
			fmt.Fprintf(&b, "id: %d\ndata: %s\n\n", one.n, one.json)
			if b.Len() > streamChunk || i == len(c.records)-1 {
				if !send(b.String()) {
					return nil
				}
				b.Reset()
			}
		}
		if len(c.records) == mostEvents {
			continue
		}
		after = max(after, c.last)
		if c.ended {
			return nil
		}
		select {
		case <-c.more:
		case <-beat.C:
			if !send(": still here\n\n") {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// streamFrom is the number behind which a stream begins: what the browser has
// seen last, or what the query says; otherwise the present.
func (p *running) streamFrom(r *http.Request) (int64, error) {
	query, err := input(r)
	var in from
	if err == nil {
		err = Decode(query, &in)
	}
	if err != nil {
		return 0, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return 0, badField("Last-Event-ID", "want the number of an event, not %q", short(last))
		}
		return n, nil
	}
	if in.After != nil {
		return *in.After, nil
	}
	return p.journal.read(0, false, 0).last, nil
}
