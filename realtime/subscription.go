package realtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync"

	"github.com/b24pull/b24pull"
)

// A Subscription receives the events of one portal. It is made by [Subscribe] and run once, with
// [Subscription.Run] or [Subscription.Messages]; connections that break, and what they missed, are its own
// affair and do not surface. All its methods can be called from any goroutine, also from a handler.
type Subscription struct {
	source  ConfigSource
	opts    options
	dial    transport
	dialRPC transport
	poll    transport
	history transport

	queue *queue
	state stateBox
	ready chan struct{}
	stats counters

	mu     sync.Mutex
	run    bool
	closed bool
	cancel context.CancelCauseFunc // of the run; nil before

	trouble error // why the machine was not connected when it stopped; nil if it was
}

// Subscribe makes a subscription to the portal that source gives the config of. It checks what it is given and
// does no I/O: the portal is asked, and the push server connected to, by Run or Messages.
func Subscribe(source ConfigSource, opts ...Option) (*Subscription, error) {
	if isNil(source) {
		return nil, errors.New("realtime: Subscribe: the config source is nil; give a *b24pull.Client, FromConfig or PortalConfig")
	}
	o := options{maxMessages: defaultMaxMessages, maxBytes: defaultMaxBytes, backoff: defaultBackoff, observer: func(Event) {}}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("realtime: Subscribe: an option is nil")
		}
		if err := opt(&o); err != nil {
			return nil, err
		}
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
		o.httpClient = clientOf(source)
	}
	if o.dialer == nil {
		var err error
		if o.dialer, err = dialerFrom(o.httpClient); err != nil {
			return nil, err
		}
	}
	rpc := socketTransport{dialer: o.dialer, rpc: true}
	return &Subscription{
		source:  source,
		opts:    o,
		dial:    &socketTransport{dialer: o.dialer},
		dialRPC: &rpc,
		poll:    newPollTransport(o.httpClient),
		history: &historyTransport{rpc},
		queue:   newQueue(o.maxMessages, o.maxBytes),
		ready:   make(chan struct{}),
	}, nil
}

// isNil catches the nil sources that a user is likely to come by.
func isNil(source ConfigSource) bool {
	switch s := source.(type) {
	case nil:
		return true
	case *b24pull.Client:
		return s == nil
	}
	return false
}

func clientOf(source ConfigSource) *http.Client {
	if s, ok := source.(httpClienter); ok {
		if c := s.HTTPClient(); c != nil {
			return c
		}
	}
	return &http.Client{}
}

// Messages runs the subscription and yields its messages, in order and each once. It ends
//
//   - when the loop is left; then every goroutine of the subscription has stopped;
//   - silently after Close;
//   - after yielding one error, with a zero Message: the context's when it is done, or one that trying again
//     cannot help, such as [b24pull.ErrWrongAuthType] or [ErrConfigExpired].
//
// A message counts as handled when the loop asks for the next one; leaving the loop, by break or by a panic,
// leaves the last one unhandled.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		err := s.consume(ctx, func(_ context.Context, m Message) error {
			if !yield(m, nil) {
				return errLeft
			}
			return nil
		})
		if err != nil && err != errLeft {
			yield(Message{}, err)
		}
	}
}

// Run runs the subscription and calls h for each message, in order, one at a time and each once. It blocks,
// and when it returns every goroutine of the subscription has stopped. A handler's error ends it with a
// [*HandlerError]; otherwise it returns nil after Close, the context's error when that is done, or the error
// that trying again cannot help. A handler that ignores its context is waited for.
func (s *Subscription) Run(ctx context.Context, h Handler) error {
	if h == nil {
		return errors.New("realtime: Run: the handler is nil")
	}
	return s.consume(ctx, func(ctx context.Context, m Message) error {
		err := h.Handle(ctx, m)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return ctx.Err() // the handler gave up because it was told to
		default:
			return &HandlerError{Message: m, Err: err}
		}
	})
}

var (
	errLeft   = errors.New("the consumer wants no more")
	errClosed = errors.New("the subscription was closed")
)

// consume runs the machine beside the consumer and returns when both have stopped: nil after Close.
func (s *Subscription) consume(ctx context.Context, handle func(context.Context, Message) error) error {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.machine(ctx)
	}()
	defer func() {
		cancel(errLeft) // a panic's way out
		<-stopped
	}()
	err = s.deliver(ctx, handle)
	cancel(err)
	<-stopped
	switch {
	case context.Cause(ctx) == errClosed && errors.Is(err, context.Canceled):
		return nil
	case ctx.Err() != nil && err == ctx.Err() && s.trouble != nil:
		return fmt.Errorf("%w; not connected: %w", err, s.trouble)
	}
	return err
}

// deliver hands over message by message until there is an error.
func (s *Subscription) deliver(ctx context.Context, handle func(context.Context, Message) error) error {
	for {
		m, err := s.queue.pop(ctx)
		if err != nil {
			return err
		}
		if err := handle(ctx, m); err != nil {
			return err
		}
		m.ledger.handled(m)
	}
}

// begin marks the subscription as run, and makes the context that Close cancels.
func (s *Subscription) begin(ctx context.Context) (context.Context, context.CancelCauseFunc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run {
		return nil, nil, ErrAlreadyRun
	}
	s.run = true
	ctx, s.cancel = context.WithCancelCause(ctx)
	if s.closed {
		s.cancel(errClosed)
	}
	return ctx, s.cancel, nil
}

func (s *Subscription) machine(ctx context.Context) {
	l := &loop{
		source:  s.source,
		opts:    &s.opts,
		socket:  s.dial,
		rpc:     s.dialRPC,
		poll:    s.poll,
		history: s.history,
		observe: func(e Event) { s.stats.event(e); s.opts.observer(e) },
		log:     s.opts.logger,
		queue:   s.queue,
		state:   &s.state,
		ready:   s.ready,
		stats:   &s.stats,
	}
	err := l.run(ctx)
	s.trouble = l.trouble
	s.queue.finish(err)
}

// Ready returns a channel that is closed when the subscription is first established: it is connected and knows
// where the history ends, so what is published from now on arrives. On channels for which the server keeps
// nothing, that takes two seconds longer. It stays open if the subscription ends before.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// State returns where the subscription stands. It changes on its own; use [WithObserver] to follow it.
func (s *Subscription) State() State { return s.state.get() }

// Stats returns what the subscription has done so far.
func (s *Subscription) Stats() Stats { return s.stats.snapshot() }

// Format writes the state, whatever the verb: a subscription holds secrets that fmt would find.
func (s *Subscription) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "realtime.Subscription(%s)", s.State())
}

// Close ends the subscription: Run returns nil, and the loop over Messages ends, as soon as the handler that is
// running returns. Close does not wait for that. Messages that were received and not handled are dropped; the
// server still has them. It can be called more than once, and before Run.
func (s *Subscription) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.cancel != nil {
		s.cancel(errClosed)
	}
}
