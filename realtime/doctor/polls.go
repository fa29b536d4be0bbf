package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// pollHold is how long a poll may hang: servers say after 40 seconds that
	// nothing has come.
	pollHold = 45 * time.Second
	// readHold is how long an answer may take that is there at once, if there
	// is one.
	readHold = 4 * time.Second

	// mostRead bounds what is read of a history.
	mostRead = 5000
)

// polled is what a poll, or a websocket that asks for the history, has come to.
type polled struct {
	err      error
	took     time.Duration
	messages int
	broken   int       // that cannot be decoded
	more     bool      // it was not read to its end
	oldest   time.Time // zero: no message said
	wanted   bool      // what was looked for is among them
	stale    bool      // there were messages that were not asked for
	heads    *heads
}

// beginPoll asks for all that is kept, beside the checks that follow.
func (x *examination) beginPoll(ctx context.Context) {
	if x.server == nil || x.server.poll.URL == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollHold)
	x.polling, x.endPoll = make(chan polled, 1), cancel
	go func() {
		defer close(x.polling)
		x.polling <- x.poll(ctx, wire.Mid{}, nil)
	}()
}

// poll polls for what follows a position, and looks for a message.
func (x *examination) poll(ctx context.Context, from wire.Mid, wanted func(*wire.Record) bool) polled {
	h := new(heads)
	client := *x.own
	client.Transport = noting{x.own.Transport, h}
	return x.read(ctx, &transport.Polling{Client: &client, Header: x.header}, x.server.poll, from, h, wanted)
}

// replay asks a websocket for what follows a position.
func (x *examination) replay(ctx context.Context, from wire.Mid, wanted func(*wire.Record) bool) polled {
	h := new(heads)
	return x.read(ctx, &transport.History{Socket: *x.socket(h)}, x.server.socket, from, h, wanted)
}

func (x *examination) read(ctx context.Context, t transport.Transport, at transport.Address, from wire.Mid, h *heads, wanted func(*wire.Record) bool) polled {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, began := polled{heads: h}, time.Now()
	defer func() { p.took = time.Since(began) }()
	c, err := t.Open(ctx, x.server.after(at, from), &ponged{make(chan time.Time, 1)})
	p.took = time.Since(began)
	if err != nil {
		p.err = err
		return p
	}
	defer c.Close(transport.CloseNormal)
	frame, err := c.Next()
	if err != nil {
		p.err = err
		return p
	}
	var start prefix
	p.err = x.server.dialect.Codec(nil, nil).Decode(io.TeeReader(frame, &start), func(r *wire.Record, err error) bool {
		p.take(r, err)
		p.wanted = p.wanted || err == nil && wanted != nil && wanted(r)
		p.stale = p.stale || err == nil && x.server.dialect != wire.DialectTags && !r.Key.Mid.IsZero() && !from.Less(r.Key.Mid) && !from.IsZero()
		p.more = p.messages+p.broken >= mostRead
		return !p.more && !p.wanted
	})
	if answered, ok := c.(transport.Answered); ok && p.messages == 0 {
		why := p.err
		if why == nil || errors.Is(why, wire.ErrFrame) {
			why = errors.New("there is no message of a push server in it")
			p.err = answered.Reject(start.Bytes(), why)
		}
	}
	return p
}

// take counts a message.
func (p *polled) take(r *wire.Record, err error) {
	if err != nil {
		p.broken++
		return
	}
	if r.Key.Mid.IsZero() { // no push server's
		return
	}
	p.messages++
	if !r.Time.IsZero() && (p.oldest.IsZero() || r.Time.Before(p.oldest)) {
		p.oldest = r.Time
	}
}

// prefix keeps the beginning of what is written to it.
type prefix struct{ bytes.Buffer }

func (p *prefix) Write(b []byte) (int, error) {
	const most = 200
	if room := most - p.Len(); room > 0 {
		p.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// checkPolls waits for what the poll of the beginning has come to, and looks
// for the history.
func (x *examination) checkPolls(ctx context.Context, socket socketState) {
	if x.server == nil {
		x.skipped("there is no push server to look at", namePolls, nameHistory)
		x.checkClock(ctx, nil)
		return
	}
	var p polled
	f := finding{Skip, "the config has no address for long polling", ""}
	if x.polling == nil {
		if socket.works && x.server.readBySocket() {
			f.detail += ": the history is read by websockets"
		}
		x.found(namePolls, time.Now(), f)
	} else {
		f, p = x.waitForPoll(ctx, socket)
	}
	x.checkHistory(ctx, f, p, socket)
	x.checkClock(ctx, p.heads)
}

// waitForPoll is bound by pollHold, which has begun.
func (x *examination) waitForPoll(ctx context.Context, socket socketState) (finding, polled) {
	began := time.Now()
	p := <-x.polling
	if why := over(ctx); why != "" && p.err != nil {
		return x.found(namePolls, began, skip("%s: no answer so far", why)), p
	}
	f := p.judge()
	if f.status == Fail && socket.works && x.server.readBySocket() {
		f.status = Warn
		f.advice += "; until then the history is read by websockets"
	}
	return x.found(namePolls, began, f), p
}

// judge says what an answer is worth: one that comes at once without a message
// proves nothing.
func (p *polled) judge() finding {
	var answer *transport.AnswerError
	switch {
	case p.messages > 0 && p.err == nil && p.broken == 0:
		return pass("proved by %s after %s", p.count(), short(p.took))
	case p.messages > 0 && p.broken == 0:
		f := failed(p.err)
		return finding{Warn, fmt.Sprintf("%s, and then: %s", p.count(), f.detail), cmp.Or(f.advice, adviseBetween)}
	case p.messages > 0:
		return finding{Warn, fmt.Sprintf("%s, but %d more cannot be read", p.count(), p.broken), "something on the way changes what is in answers or cuts them, or the portal sends what is no JSON: look at what stands before the push server"}
	case errors.As(p.err, &answer) && errors.Is(p.err, transport.ErrSilent):
		return finding{Warn, fmt.Sprintf("held for %s, then %s that does not show that it is a push server's", short(p.took), statusText(http.StatusNotModified)), adviseBetween + ", and pass on the headers of answers"}
	case errors.Is(p.err, transport.ErrSilent):
		return pass("held for %s, then told that nothing is kept", short(p.took))
	case isTimeout(p.err) && p.took >= pollHold-time.Second:
		return finding{Fail, fmt.Sprintf("no answer in %s, though a push server says after 40s that nothing has come", short(p.took)), adviseSilent}
	}
	f := failed(p.err)
	f.detail += p.heads.named()
	const hung = 5 * time.Second
	if refused := new(transport.StatusError); errors.As(p.err, &refused) && refused.Status >= 500 && p.took > hung {
		f.detail += fmt.Sprintf(" after %s", short(p.took))
		f.advice = "the gateway ends polls that wait: raise its limit above 60s (nginx: proxy_read_timeout)"
	}
	return f
}

func (p *polled) count() string {
	switch {
	case p.more:
		return fmt.Sprintf("%d messages and more", p.messages)
	case p.messages == 1:
		return "1 message"
	default:
		return fmt.Sprintf("%d messages", p.messages)
	}
}

// checkClock compares this machine's clock with those of the portal and of its
// push server. They differ where one of them is wrong.
func (x *examination) checkClock(ctx context.Context, push *heads) {
	x.timed(ctx, nameClock, func(context.Context) finding {
		portal := x.config != nil && x.options.config == nil
		var shift time.Duration
		if portal {
			shift = x.config.ClockShift()
		}
		switch {
		case !portal && (push == nil || !push.known):
			return skip("nobody has told the time")
		case !portal:
			return judgeClock("push server", push.shift)
		case push == nil || !push.known:
			return judgeClock("portal", shift)
		}
		f := worst([]finding{judgeClock("portal", shift), judgeClock("push server", push.shift)})
		if apart := (shift - push.shift).Abs(); apart > clockShift {
			f.status, f.advice = Warn, "the clocks of the portal and its push server differ: set them right (NTP), or channels end at other times than their portal says"
		}
		return f
	})
}

// clockShift is a difference between two clocks that is worth a warning. The
// times that are compared are in whole seconds and a call old.
const clockShift = 5 * time.Second

func judgeClock(whose string, shift time.Duration) finding {
	switch {
	case shift.Abs() <= clockShift:
		return pass("the %s's is right", whose)
	case shift > 0:
		return finding{Warn, fmt.Sprintf("the %s's is %s ahead of this machine's", whose, shift.Round(time.Second)), adviseClock}
	default:
		return finding{Warn, fmt.Sprintf("the %s's is %s behind this machine's", whose, -shift.Round(time.Second)), adviseClock}
	}
}

const adviseClock = "set the clock right that is wrong, this machine's or the portal's (NTP): a subscription reckons with the difference, certificates and tokens do not"
