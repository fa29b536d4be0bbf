package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/fifo"
	notice "github.com/b24pull/b24pull/internal/notices"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// Stats counts what a subscription has done since it was run. The counters, of
// type uint64, only grow; the rest is what it is at the moment.
type Stats struct {
	Messages      uint64 // put into the queue for the user
	Bytes         uint64 // that these messages took
	Repeats       uint64 // that came live a second time and were dropped
	Replays       uint64 // of the history that were answered, or had nothing to read
	BrokenReplays uint64 // that broke off, and were gone on with
	Found         uint64 // messages that only a replay has brought
	Undecodable   uint64 // messages, or rests of frames, that could not be decoded
	Gaps          uint64 // reported as Gap
	Forgotten     uint64 // messages that are not remembered any more, and may come again ([Forgotten])
	Renewals      uint64 // configs fetched in place of another
	Reconnects    map[Cause]uint64
	Lag           time.Duration // from the portal's clock in a recent live message (server_time_unix) to its arrival; clocks that differ count

	Handled uint64 // messages that count as handled, the skipped ones among them
	Failed  uint64 // calls of a handler that it has answered with an error; one that gives up with its context is none
	Retried uint64 // of these, those after which it is called again
	Skipped uint64 // messages that count as handled since their handler failed

	Saves       uint64    // of the cursor
	FailedSaves uint64    // that the store has answered with an error
	LastSave    time.Time // when the store has saved last, at the start of the run too; zero: never. What has not changed is not saved, so it grows old on a quiet portal

	QueuedMessages int // received, and not yet taken by a handler or the loop over Messages
	QueuedBytes    int // that these take, of the 16 MiB that there is room for; package fleet bounds those of many

	// CursorLag is for how long the oldest message that is not handled has been
	// waiting since it was put into the queue, to a tenth of a second; 0 if
	// all are handled. So far the cursor is behind what has been received: it
	// passes no message that is not handled. (Here one counts as handled when
	// its handler has returned, also where Commit was called for it before.)
	// What the store has not saved yet is not in it: that is as old as the save
	// interval, as long as there are no FailedSaves.
	CursorLag time.Duration
}

// Cause is why a connection was lost or could not be made.
type Cause string

// The causes of a reconnect.
const (
	CauseNetwork Cause = "network" // it broke off, or could not be made
	CauseClosed  Cause = "closed"  // the server closed it with a code
	CauseRefused Cause = "refused" // the server, or a proxy before it, answered with an HTTP status
	CauseStuck   Cause = "stuck"   // a ping or a poll was not answered
	CauseCrowded Cause = "crowded" // too many connections
	CauseConfig  Cause = "config"  // the config could not be fetched, or its channels were refused
	CausePaused  Cause = "paused"  // the queue was full
)

func causeOf(c StateChange) Cause {
	var status *StatusError
	var closed *CloseError
	switch why := classify(c.Cause); {
	case c.To == StatePaused:
		return CausePaused
	case c.From == StateConfiguring, why == failConfig:
		return CauseConfig
	case why == failCrowded:
		return CauseCrowded
	case errors.Is(c.Cause, errStuck):
		return CauseStuck
	case errors.As(c.Cause, &closed):
		return CauseClosed
	case errors.As(c.Cause, &status):
		return CauseRefused
	default:
		return CauseNetwork
	}
}

// counters are the Stats of a running subscription.
type counters struct {
	mu      sync.Mutex
	stats   Stats
	sampled time.Time

	done   uint64           // so many messages, in the order of the queue, are handled without one before them that is not
	oldest time.Time        // when the next one was put into the queue, roughly; of no meaning if there is none
	marks  fifo.Queue[mark] // the same of those behind it
	marked time.Time        // when the last of these was made
}

// mark says that message n, counted from 0, was put into the queue at a time;
// those behind it, up to the next mark, within markEvery.
type mark struct {
	n  uint64
	at time.Time
}

const markEvery = 100 * time.Millisecond

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Reconnects = maps.Clone(stats.Reconnects)
	if c.done < stats.Messages {
		stats.CursorLag = max(time.Since(c.oldest), 0)
	}
	return stats
}

// handled counts a message that is handled, if it has not been counted before,
// and takes how many are handled without one before them that is not.
func (c *counters) handled(first bool, done uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first {
		c.stats.Handled++
	}
	if done <= c.done {
		return
	}
	c.done = done
	for c.marks.Len() > 0 && c.marks.First().n <= done {
		m, _ := c.marks.Pop()
		c.oldest = m.at
	}
}

// event counts an event that the observer is told of.
func (c *counters) event(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
	switch e := e.(type) {
	case StateChange:
		if e.To == StateWaiting || e.To == StatePaused {
			if s.Reconnects == nil {
				s.Reconnects = make(map[Cause]uint64)
			}
			s.Reconnects[causeOf(e)]++
		}
	case ReplayEnded:
		if e.Err != nil {
			s.BrokenReplays++
		} else {
			s.Replays++
		}
		s.Found += uint64(e.Found)
	case Repeat:
		s.Repeats++
	case Undecodable:
		s.Undecodable++
	case Gap:
		s.Gaps++
	case Renewal:
		if e.Err == nil {
			s.Renewals++
		}
	case Forgotten:
		s.Forgotten += uint64(e.Messages)
	case HandlerFailed:
		s.Failed++
		switch e.Action {
		case ActionRetry:
			s.Retried++
		case ActionSkip:
			s.Skipped++
		}
	case Saved:
		s.Saves++
		s.LastSave = time.Now()
	case SaveFailed:
		s.FailedSaves++
	}
}

// Delivered counts messages that go to the user.
func (c *counters) Delivered(messages ...delivery.Message) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range messages {
		switch {
		case c.done == c.stats.Messages:
			c.oldest, c.marked = now, now
		case now.Sub(c.marked) >= markEvery:
			c.marks.Push(mark{c.stats.Messages, now})
			c.marked = now
		}
		c.stats.Messages++
		c.stats.Bytes += uint64(messages[i].Size)
	}
}

// Arrived takes the lag of a live message, once a second at the most.
func (c *counters) Arrived(given []byte, now time.Time) {
	if len(given) == 0 || now.Sub(c.sampled) < time.Second { // sampled is the loop's alone
		return
	}
	c.sampled = now
	var extra struct {
		Unix json.Number `json:"server_time_unix"`
	}
	if json.Unmarshal(given, &extra) != nil {
		return
	}
	seconds, err := extra.Unix.Float64()
	if err != nil || seconds <= 0 || seconds > 1e11 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Lag = now.Sub(time.UnixMicro(int64(seconds * 1e6)))
}

// emitter is the one place that events go through: there they are counted,
// logged, and told to the observer, one at a time. The loop tells while it
// lives, of what others post as well, and later who posts.
type emitter struct {
	stats   *counters
	tell    func(Event)     // the log and the observer
	ctx     context.Context // of receiving
	guard   *guard          // around what is told outside of the loop; nil: there is none
	wake    chan struct{}
	woken   func()  // is called after each signal of wake; nil: there is no loop
	notices notices // of the one who tells

	mu      sync.Mutex
	posted  []Event // one of a kind at the most
	looping bool    // the loop tells
	telling bool    // another does
	ending  bool    // nothing is summed up any more
}

// notices sum up what can be caused in any number.
type notices = notice.Notices[noticeKind, Event]

func newEmitter(stats *counters, tell func(context.Context, Event)) *emitter {
	e := &emitter{stats: stats, ctx: context.Background(), wake: make(chan struct{}, 1)}
	e.tell = func(told Event) {
		if tell == nil {
			return // it has panicked
		}
		call := tell
		tell = nil
		call(e.ctx, told)
		tell = call
	}
	e.notices = notices{Tell: e.tell, Sum: summed}
	return e
}

// emit takes an event of the loop's.
func (t *emitter) emit(e Event) {
	t.stats.event(e)
	t.announce(e)
}

// announce tells of an event, at once or with others of its kind.
func (t *emitter) announce(e Event) {
	if kind, ok := kindOfNotice(e); ok {
		t.notices.Add(kind, e, time.Now())
		return
	}
	t.tell(e)
}

// post takes an event of another goroutine, one that can be summed up. It waits
// for nobody: the observer may be the one who has caused it.
func (t *emitter) post(e Event) {
	t.stats.event(e)
	t.mu.Lock()
	kind, _ := kindOfNotice(e)
	i := slices.IndexFunc(t.posted, func(p Event) bool { other, _ := kindOfNotice(p); return other == kind })
	if i < 0 {
		t.posted = append(t.posted, e)
	} else {
		t.posted[i] = summed(t.posted[i], e)
	}
	mine, woken := !t.looping && !t.telling, t.woken
	t.telling = t.telling || mine
	t.mu.Unlock()
	switch {
	case !mine:
		select {
		case t.wake <- struct{}{}:
		default:
		}
		if woken != nil {
			woken()
		}
	case t.guard != nil:
		t.guard.catch(t.tellPosted)
	default:
		t.tellPosted()
	}
}

// tellPosted tells of what was posted until there is nothing more.
func (t *emitter) tellPosted() {
	for {
		t.mu.Lock()
		list, all := t.posted, t.ending
		t.posted = nil
		if len(list) == 0 && !(all && !t.notices.Next().IsZero()) {
			t.telling = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		for _, e := range list {
			t.announce(e)
		}
		if all {
			t.notices.FlushAll()
		} else {
			t.notices.Flush(time.Now())
		}
	}
}

// take has the loop tell, which runs in a context.
func (t *emitter) take(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx, t.looping = ctx, true
}

// wakes has a loop be woken where something is posted for it.
func (t *emitter) wakes(loop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.woken = loop
}

// release has those tell who post: the loop is over.
func (t *emitter) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looping = false
}

// flush has the loop tell all there is.
func (t *emitter) flush() {
	t.tellPosted()
	t.notices.FlushAll()
}

// finish tells what is left at the end of a run; from now on all is told at
// once.
func (t *emitter) finish() {
	t.mu.Lock()
	mine := !t.telling
	t.telling, t.ending = true, true
	t.mu.Unlock()
	if mine {
		t.tellPosted()
	}
}
