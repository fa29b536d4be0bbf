package realtime

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// attempt is the loop's side of one connection, from dialing to its end. The
// other side is a task that posts to the inbox. A nil attempt is one that was
// never opened.
type attempt struct {
	connection *connection
	replay     bool           // for a replay, not for live delivery
	poll       bool           // one poll of a live connection
	polls      bool           // it asks by polls, not by a websocket
	up         bool           // false once it has been given up: whatever it still posts is stale
	sent       time.Time      // when the request was with the server; zero: it is not yet
	begun      time.Time      // when its answer began; zero: it has not
	waits      atomic.Bool    // the rest of its answer waits for room
	waited     atomic.Int64   // nanoseconds that it has done so
	conn       transport.Conn // nil until opened
	line       *rpc.Line      // for calls; nil until opened, and where there are none
	ended      <-chan struct{}
	cancel     context.CancelFunc
	tasks      *tasks
}

// inbound is what a task posts to the loop.
type inbound struct {
	kind    inboundKind
	attempt *attempt
	conn    transport.Conn  // inOpened
	line    *rpc.Line       // inOpened
	batch   *delivery.Batch // inMessages
	config  *b24pull.Config // inConfig
	err     error
}

type inboundKind uint8

const (
	inConfig inboundKind = iota
	inWaits
	inBegins
	inSent
	inOpened
	inProgress
	inMessages
	inGarbled
	inPing
	inPong
	inHeartbeat
	inDown
)

// connect opens an attempt of a connection. The codec is the attempt's own.
func (l *loop) connect(k *attempt, t transport.Transport, at transport.Address) *attempt {
	ctx, cancel := context.WithCancel(l.ctx)
	k.up, k.ended, k.cancel, k.tasks, k.polls = true, ctx.Done(), cancel, &l.tasks, t == l.poll
	p := &poster{post: l.post, attempt: k, queue: l.queue}
	p.confirmer, p.confirmAt = l.confirmer, k.connection.endpoint.confirm
	codec := k.connection.endpoint.dialect.Codec(k.connection.endpoint.channels, p.answered)
	t = l.gated(t, p)
	l.tasks.Go(func() { serve(ctx, t, at, codec, p) })
	return k
}

// awaitsAnswer reports whether the attempt has asked for something, and has to
// prove what it is answered.
func (k *attempt) awaitsAnswer() bool { return k.replay || k.poll }

func (k *attempt) isUp() bool { return k != nil && k.up }

// answers notes that an answer goes on, and returns by when it has to do so
// again, or has to have come to its end.
func (k *attempt) answers(now time.Time, within time.Duration) time.Time {
	if k.begun.IsZero() {
		k.begun = now
	}
	next, end := now.Add(answerStall), k.begun.Add(within+time.Duration(k.waited.Load()))
	if end.Before(next) {
		return end
	}
	return next
}

// hangUp gives the attempt up. It does not wait for the connection to be
// closed.
func (k *attempt) hangUp(code int) {
	if !k.isUp() {
		return
	}
	k.up = false
	if k.conn == nil {
		k.cancel()
		return
	}
	if k.line != nil {
		k.line.Cut(errHungUp)
	}
	conn := k.conn
	k.tasks.Go(func() {
		conn.Close(code)
		k.cancel()
	})
	k.conn, k.line = nil, nil // the attempt is still known, what it held is not needed
}

// leave is hangUp where another connection has taken the attempt's place: calls
// that are under way get their answers before.
func (k *attempt) leave(code int) {
	if !k.isUp() || k.line == nil {
		k.hangUp(code)
		return
	}
	k.up = false
	conn, idle := k.conn, k.line.Retire()
	k.tasks.Go(func() {
		select {
		case <-idle:
		case <-k.ended:
		}
		conn.Close(code)
		k.cancel()
	})
	k.conn, k.line = nil, nil
}

// ping sends a ping. If that fails, reading fails as well, and tells.
func (k *attempt) ping() {
	if k.isUp() && k.conn != nil {
		conn := k.conn
		k.tasks.Go(func() { _ = conn.Ping() })
	}
}

// post hands something to the loop, if it still runs.
func (l *loop) post(in inbound) {
	l.bed.Visit()
	defer l.bed.Leave()
	select {
	case l.inbox <- in:
	case <-l.ctx.Done():
	}
}

// serve is the task behind an attempt: it opens the connection and posts what
// comes, until it ends.
func serve(ctx context.Context, t transport.Transport, at transport.Address, codec wire.Codec, p *poster) {
	c, err := t.Open(ctx, at, p)
	if err != nil {
		p.tell(inDown, ownError(err))
		return
	}
	if c, ok := c.(transport.Busy); ok {
		p.gathers = true
		c.BeforeWaiting(p.flush)
	}
	p.carryCalls(c, at)
	p.post(inbound{kind: inOpened, attempt: p.attempt, conn: c, line: p.line})
	p.received, p.yield = c.Received, p.take
	r := &reader{conn: c, codec: codec, progress: progress{p: p}}
	if r.patient, _ = c.(transport.Patient); r.patient != nil {
		p.attempt.tasks.Go(r.run) // with a small stack
		return
	}
	r.readAll()
}

// A reader reads a connection until it ends.
type reader struct {
	conn     transport.Conn
	patient  transport.Patient // conn, if it is one
	codec    wire.Codec
	progress progress
	begun    time.Time // when this goroutine did
}

// freshAfter is for how long a goroutine reads before another one goes on where
// nothing more has come yet: its stack has grown, and what waits, often for
// minutes, is to have a small one.
const freshAfter = time.Second

// readAll reads to the end.
func (r *reader) readAll() {
	defer r.conn.Close(transport.CloseNormal)
	for r.next() {
	}
}

// run reads, and waits between, until another goroutine goes on. It defers
// nothing, so that it takes little of a stack: a panic ends the context, and
// that closes the connection.
func (r *reader) run() {
	for r.begun = time.Now(); !r.mayLeave(); {
		if r.patient.Await() && !r.next() {
			r.conn.Close(transport.CloseNormal)
			return
		}
	}
	r.progress.p.attempt.tasks.Go(r.run)
}

// mayLeave reports whether another goroutine is to go on.
func (r *reader) mayLeave() bool { return r.patient.Quiet() && time.Since(r.begun) >= freshAfter }

// next reads a frame. It reports whether there may be another.
func (r *reader) next() bool {
	c, p := r.conn, r.progress.p
	frame, err := c.Next()
	if err != nil {
		p.down(ownError(err))
		return false
	}
	r.progress.frame, r.progress.fresh = frame, true
	err = p.frame(r.codec, &r.progress)
	p.confirm(0)
	switch err = p.judge(c, err); {
	case errors.Is(err, wire.ErrFrame):
		p.tell(inGarbled, err)
	case err != nil:
		p.down(err)
		return false
	}
	return true
}

// maxPolled is how many messages of a poll are confirmed before its end.
const maxPolled = 500

// arrived notes a message of a poll. Those of a websocket have been confirmed
// over that.
func (p *poster) arrived(id string) {
	switch {
	case p.confirmAt.URL == "":
	case !p.attempt.polls:
		p.confirmer.Confirmed(id)
	default:
		p.polled = append(p.polled, id)
		p.confirm(maxPolled)
	}
}

// confirm has the messages of a poll confirmed, if there are more than so many.
func (p *poster) confirm(more int) {
	if len(p.polled) > more {
		p.confirmer.Add(p.confirmAt, p.polled)
		p.polled = nil
	}
}

// down: the connection is gone.
func (p *poster) down(err error) {
	if p.line != nil {
		p.line.Cut(err)
	}
	p.tell(inDown, err)
}

// poster posts to the loop in the name of one attempt.
type poster struct {
	post     func(inbound)
	queue    *delivery.Queue
	attempt  *attempt
	received func(id string)                // the connection's; is told of each message
	yield    func(*wire.Record, error) bool // take
	line     *rpc.Line                      // nil where it carries no calls
	believed bool                           // there was a message of a push server
	start    []byte                         // of the answer, where the attempt asks
	held     *delivery.Decoded              // the first that proves nothing, until another does

	batch   *delivery.Batch // to be posted; nil: nothing
	size    int             // of it, in bytes
	begun   time.Time       // when its first message was decoded
	gathers bool            // a batch goes on over frames: flush is called before more is waited for

	confirmer *transport.Confirmer
	confirmAt transport.Address // of messages of a poll; no URL: they are not to be
	polled    []string          // ids of those that are to be
}

// tell posts what has happened after all messages before it.
func (p *poster) tell(kind inboundKind, err error) {
	p.flush()
	p.post(inbound{kind: kind, attempt: p.attempt, err: err})
}

func (p *poster) Waits()     { p.tell(inWaits, nil) }
func (p *poster) Begins()    { p.tell(inBegins, nil) }
func (p *poster) Sent()      { p.tell(inSent, nil) }
func (p *poster) Pinged()    { p.tell(inPing, nil) }
func (p *poster) Ponged()    { p.tell(inPong, nil) }
func (p *poster) Heartbeat() { p.tell(inHeartbeat, nil) }

// A batch goes to the loop when it has so many messages or bytes, or when
// nothing more has come yet. Where that is not known it goes at the end of its
// frame, or when its first message has waited so long.
const (
	batchBytes = 256 << 10
	batchDelay = 50 * time.Millisecond
)

// awaitRoom has the answer to a replay be read only as there is room: while the
// user is behind the server keeps the rest, and need not be asked again.
func (k *attempt) awaitRoom(q *delivery.Queue) {
	if !q.IsScarce() {
		return
	}
	begun := time.Now()
	k.waits.Store(true)
	q.AwaitRoom(k.ended)
	k.waited.Add(int64(time.Since(begun)))
	k.waits.Store(false)
}

// easeWithin is how long nothing is read since the user is behind, before what
// is read pauses the subscription: servers, and what stands before them, wait
// that long with what they send.
const easeWithin = 250 * time.Millisecond

// flush posts the batch.
func (p *poster) flush() {
	if batch := p.batch; batch != nil {
		p.batch = nil
		if p.attempt.replay {
			p.attempt.awaitRoom(p.queue)
		} else {
			p.queue.Ease(easeWithin, p.attempt.ended)
		}
		p.post(inbound{kind: inMessages, attempt: p.attempt, batch: batch})
	}
}

// add puts a message into the batch, which it may complete.
func (p *poster) add(r *wire.Record, err error) {
	if p.batch == nil {
		p.batch, p.size = delivery.NewBatch(), 0
		if !p.gathers {
			p.begun = time.Now()
		}
	}
	p.batch = p.batch.Add(r, err)
	most, bytes := delivery.MaxBatch, batchBytes
	if p.attempt.replay {
		most, bytes = p.queue.Portion(most, bytes)
	}
	if p.size += r.Size; len(*p.batch) >= most || p.size >= bytes {
		p.flush()
	}
}

// waited posts a batch that has waited for long.
func (p *poster) waited() {
	if p.batch != nil && !p.gathers && time.Since(p.begun) >= batchDelay {
		p.flush()
	}
}

// frame decodes one frame and posts its messages in batches.
func (p *poster) frame(c wire.Codec, frame io.Reader) error {
	err := c.Decode(frame, p.yield)
	if !p.gathers {
		p.flush()
	}
	return err
}

// take takes what has been decoded.
func (p *poster) take(r *wire.Record, err error) bool {
	if !p.believes(r, err) {
		if p.held == nil {
			p.held = &delivery.Decoded{Message: delivery.Message{Record: *r}, Err: decodeError(err)}
		}
		return true
	}
	p.received(r.ID)
	p.arrived(r.ID)
	if p.held != nil {
		p.add(&p.held.Message.Record, p.held.Err)
		p.held = nil
	}
	p.add(r, decodeError(err))
	return true
}
