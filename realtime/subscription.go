package realtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/senders"
	"github.com/b24pull/b24pull/realtime/internal/shared"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Subscription receives the events of one portal. It is made by [Subscribe]
// and run once, with [Subscription.Run] or [Subscription.Messages]; connections
// that break, and what they missed, are its own affair and do not surface. All
// its methods can be called from any goroutine, also from a handler.
type Subscription struct {
	source  ConfigSource
	opts    options
	polls   *http.Client // of polls, which keeps connections
	dial    transport.Transport
	poll    transport.Transport
	history transport.Transport
	posting transport.Posting // of what confirms messages of polls

	queue *delivery.Queue
	state stateBox
	ready chan struct{}
	stats counters

	calls   rpc.Caller
	senders senders.Book

	done       chan struct{}
	lastErrors lastErrors

	mu      sync.Mutex
	run     bool
	over    bool  // done is closed
	err     error // what the run has come to
	closed  bool
	drained bool
	cancel  context.CancelCauseFunc // of the run; nil before
	drain   context.CancelCauseFunc // of the machine alone

	guard   guard
	events  *emitter
	acks    *delivery.Acks
	commits *committer
}

// Subscribe makes a subscription to the portal that source gives the config of.
// It checks what it is given and does no I/O: the portal is asked, and the push
// server connected to, by Run or Messages.
func Subscribe(source ConfigSource, opts ...Option) (*Subscription, error) {
	if config.IsNil(source) {
		return nil, errors.New("realtime: Subscribe: the config source is nil; give a *b24pull.Client, FromConfig or PortalConfig (of nil, these are nil too)")
	}
	s := &Subscription{source: source, opts: options{
		maxMessages: defaultMaxMessages, maxBytes: defaultMaxBytes,
		backoff: defaultBackoff, settle: delivery.SettleTime, pingInterval: adaptive, saveInterval: defaultSaveInterval,
		policy: defaultPolicy, observer: func(Event) {},
	}}
	o := &s.opts
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("realtime: Subscribe: an option is nil")
		}
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.store != nil && !o.cursor.IsZero() {
		return nil, errors.New("realtime: Subscribe: WithCursor and WithCursorStore are two places to start from; give one")
	}
	if fixed, ok := source.(fixedConfig); ok {
		if _, err := o.endpoint(fixed()); err != nil {
			return nil, err
		}
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	if o.httpClient == nil {
		o.httpClient = config.HTTPClient(source)
	}
	polls := transport.PollingClient(o.httpClient)
	header := config.Header(source, o.header)
	single := transport.OwnClient(o.httpClient)
	socket := transport.Socket{Dial: transport.DialOver(single), Header: header}
	if o.dialer != nil {
		socket.Dial = transport.DialWith(o.dialer)
	}
	s.polls, s.dial, s.history = polls, &socket, &transport.History{Socket: socket}
	s.poll = &transport.Polling{Client: polls, Header: header}
	s.posting = transport.Posting{Client: single, Header: header, Wait: confirmWithin}
	s.queue = delivery.NewQueue(o.maxMessages, o.maxBytes)
	s.ready, s.done = make(chan struct{}), make(chan struct{})
	s.queue.Join(o.shared.Budget)
	s.events = newEmitter(&s.stats, s.tell)
	s.events.guard = &s.guard
	s.guard.waits = cmp.Or(o.shared.Waits, new(shared.Goroutines))
	return s, nil
}

// confirmWithin is how long a request may take that confirms messages.
const confirmWithin = 10 * time.Second

// State returns where the subscription stands. It changes on its own; use
// [WithObserver] to follow it.
func (s *Subscription) State() State { return s.state.get() }

// Stats returns what the subscription has done so far.
func (s *Subscription) Stats() Stats {
	stats := s.stats.snapshot()
	stats.QueuedMessages, stats.QueuedBytes = s.queue.Taken()
	return stats
}

// Format writes the state, whatever the verb: a subscription holds secrets that
// fmt would find.
func (s *Subscription) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "realtime.Subscription(%s)", s.State())
}

// Commit counts m as handled, also before its handler returns or the loop over
// Messages asks for the next one, and saves the cursor. When it returns nil, m
// does not come again after a restart. When it returns an error, ctx's if that
// is done before or while it waits, m counts as handled all the same and the
// next save holds it. Without [WithCursorStore] there is nothing to save. It is
// an error for a message that the subscription has not delivered.
func (s *Subscription) Commit(ctx context.Context, m Message) error {
	s.mu.Lock()
	mine := s.acks != nil && m.acks == s.acks
	commits := s.commits
	s.mu.Unlock()
	if !mine {
		return errors.New("realtime: Commit: the message was not delivered by this subscription")
	}
	if m.acks.Handled(m.receipt) {
		s.stats.handled(true, 0)
	}
	return commits.save(ctx, false)
}

// Call calls a method of the push server, over the websocket that the
// subscription is connected by, and returns the result of the answer: JSON-RPC,
// which push servers speak from version 5 on. params becomes JSON, and has to
// be an object or a list there; nil for none. It can be called from any
// goroutine, also from a handler, and several times at once.
//
// While there is no connection, also before Run, Call waits for one, until ctx
// is done. An answer is waited for 20 seconds at the most. The error is
//
//   - a [*RPCError], which the server has answered;
//   - an [*UnansweredError], if there is no answer: the connection was lost, the
//     time was over, ctx was done. It says whether the call may have been
//     carried out. Call does not repeat what it has sent;
//   - [ErrUnsupportedServer], by errors.Is, if the server is older than version
//     5, or the subscription is connected by long polling;
//   - [ErrClosed], by errors.Is, after Close and after the end of the run.
//
// A subscription that is paused, since its queue is full, is not connected. If
// it still is after 20 seconds the call ends, unsent: it may be a handler's,
// for which the queue waits.
func (s *Subscription) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	result, err := s.calls.Call(ctx, method, params)
	var failed *rpc.UnansweredError
	if errors.As(err, &failed) && !failed.Sent && ctx.Err() != nil {
		failed.Err = fmt.Errorf("the subscription is %v: %w", s.describe(), failed.Err)
	}
	return result, callError(err)
}

// describe says where the subscription stands to one who waits for it.
func (s *Subscription) describe() string {
	if state := s.State(); state != StateIdle {
		return state.String()
	}
	return "not run yet"
}

// AddSenders tells the subscription whose public channels are whose, by user
// id, as [b24pull.Client.ListPublicChannels] returns them, so that the Sender
// of a message has its UserID. The channels of the portal's config are known
// without it; those of an application are not in the config. Of 100,000 public
// ids, the last told are remembered. It can be called at any time, and counts
// for messages that are delivered afterwards.
func (s *Subscription) AddSenders(channels map[int64]b24pull.PublicChannel) { s.senders.Add(channels) }

// offerCalls says by what calls are made now.
func (l *loop) offerCalls() {
	switch s := l.main; {
	case s.status.state == StateClosed:
		l.calls.Lack(ErrClosed, 0)
	case s.endpoint.server == "":
		l.calls.Use(nil)
	case s.endpoint.dialect != wire.DialectRPC:
		l.calls.Lack(errCallsVersion, 0)
	case s.status.polling:
		l.calls.Lack(errCallsPolled, 0)
	case s.status.state == StatePaused:
		l.calls.Lack(errCallsPaused, rpc.AnswerWithin)
	case s.status.state == StateLive && s.live.isUp():
		l.calls.Use(s.live.line)
	default:
		l.calls.Use(nil)
	}
}

// carryCalls has calls go over a live websocket of a server that takes them.
func (p *poster) carryCalls(c transport.Conn, at transport.Address) {
	socket, ok := c.(transport.Duplex)
	if !ok || !at.RPC || p.attempt.awaitsAnswer() {
		return
	}
	p.line = rpc.NewLine(socket.Send, func(text string) string { return at.Secrets.Line(text, quote.TextLimit) })
	p.attempt.tasks.Go(p.line.Run)
}

// answered takes the answer to a call.
func (p *poster) answered(a wire.Answer) {
	if p.line != nil {
		p.line.Answered(a)
	}
}
