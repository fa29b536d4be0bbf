package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const adviseKept = "without a history whatever is missed is lost: look at the Redis of the push server, and that nginx (versions 1 and 2) is told to store messages"

// checkHistory looks whether the server keeps what it sends: an event of the
// checks before is found again, or there is something from before.
func (x *examination) checkHistory(ctx context.Context, polls finding, p polled, socket socketState) {
	x.timed(ctx, nameHistory, func(ctx context.Context) finding {
		ctx, cancel := context.WithTimeout(ctx, readHold)
		defer cancel()
		if x.came != nil {
			return x.findAgain(ctx, polls, socket)
		}
		if p.messages > 0 {
			return pass("%s kept%s", p.count(), since(p.oldest))
		}
		if x.inHistory {
			return pass("an event that was sent is kept")
		}
		if polls.status == Pass {
			return x.nothingKept()
		}
		if !socket.works || !x.server.readBySocket() {
			return finding{Fail, "there is no way to read it", "what live delivery misses is lost: see polls, and websocket"}
		}
		if p = x.replay(ctx, wire.Mid{}, nil); p.messages > 0 {
			return pass("%s kept%s, read by a websocket", p.count(), since(p.oldest))
		} else if isTimeout(p.err) || ctx.Err() != nil {
			return x.nothingKept()
		}
		return failed(p.err)
	})
}

// nothingKept is no finding: portals can be quiet.
func (x *examination) nothingKept() finding {
	if !x.options.events && x.client != nil && !x.ofUser && x.options.config == nil {
		return skip("nothing is kept now; with WithEvents (-emit) an event is sent and looked for")
	}
	return skip("nothing is kept now: have something sent that the server keeps, and check again")
}

func since(oldest time.Time) string {
	if oldest.IsZero() {
		return ""
	}
	return ", the oldest of " + oldest.UTC().Format(time.RFC3339)
}

// findAgain reads the history from before an event that has come, and looks for
// that.
func (x *examination) findAgain(ctx context.Context, polls finding, socket socketState) finding {
	from, isIt := before(x.came), sameAs(x.came)
	p, way := polled{}, "a poll"
	switch {
	case polls.status == Pass:
		p = x.poll(ctx, from, isIt)
	case socket.works && x.server.readBySocket():
		p, way = x.replay(ctx, from, isIt), "a websocket"
	case x.server.poll.URL != "":
		p = x.poll(ctx, from, isIt)
	default:
		return finding{Fail, "there is no way to read it", "what live delivery misses is lost: see polls, and websocket"}
	}
	switch {
	case p.wanted:
		return pass("an event that was sent is found again by %s, in %s", way, short(p.took))
	case p.stale:
		return finding{Fail, "asked for an event that has come, it answers with older ones that were not asked for: a cache", adviseBetween + ", and have it store nothing"}
	case p.messages > 0 || isTimeout(p.err) || errors.Is(p.err, transport.ErrSilent):
		return finding{Fail, "an event that has come is not found again", adviseKept}
	}
	return failed(p.err)
}

// before is a position before a message.
func before(m *realtime.Message) wire.Mid {
	if mid, ok := wire.MidFromDigits([]byte(m.ID)); ok {
		return mid.Prev()
	}
	const settle = 5 * time.Second
	return wire.Mid{Epoch: uint64(max(m.Time.Add(-settle).Unix(), 0))}
}

// sameAs tells a message of a history from all others.
func sameAs(m *realtime.Message) func(*wire.Record) bool {
	return func(r *wire.Record) bool { return r.Command == m.Command && string(r.Params) == string(m.Params) }
}

// lookFor makes the finding of an event that has not come: it may be kept all
// the same.
func (x *examination) lookFor(ctx context.Context, e *event) finding {
	from := wire.Mid{}
	if x.server.dialect == wire.DialectTags {
		from.Epoch = uint64(max(time.Now().Add(x.config.ClockShift()-time.Minute).Unix(), 0))
	}
	ctx, cancel := context.WithTimeout(ctx, readHold)
	defer cancel()
	read := x.poll
	if x.server.poll.URL == "" {
		read = x.replay
	}
	p := read(ctx, from, func(r *wire.Record) bool { return e.is(r.Command, r.Params) })
	switch {
	case p.wanted:
		x.inHistory = true
		return finding{Fail, fmt.Sprintf("the server keeps it, but has not sent it in %s", short(eventHold)), "a process of the push server may have lost its Redis: have it restarted"}
	case p.messages > 0 || errors.Is(p.err, transport.ErrSilent) || isTimeout(p.err) && x.answered:
		return finding{Fail, fmt.Sprintf("not back in %s, and not kept by the server", short(eventHold)), whatToSend}
	}
	return finding{Fail, fmt.Sprintf("not back in %s; whether the server keeps it cannot be read", short(eventHold)), "see websocket and polls; if both are well: " + whatToSend}
}
