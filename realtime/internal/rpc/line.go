// Package rpc has the calls of a client to a push server from version 5 on:
// those of one connection (Line), and those that outlast connections (Caller).
// It dials nothing, and reads nothing but the answers that it is handed.
package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// MaxInFlight is how many calls of one connection wait for their answers at
	// a time. Further ones wait for one of them to end.
	MaxInFlight = 64
	// AnswerWithin is how long an answer is waited for.
	AnswerWithin = 20 * time.Second
	// MaxCallSize is how long a call may be, in bytes: a push server drops the
	// connection for more.
	MaxCallSize = 1 << 20
)

// UnansweredError is a call that has no answer.
type UnansweredError struct {
	Method string
	Sent   bool  // it may have reached the server, and may have been carried out
	Err    error // why there is no answer
}

func (e *UnansweredError) Error() string {
	text := "the call of " + quote.Name(e.Method) + " was not sent"
	if e.Sent {
		text = "the call of " + quote.Name(e.Method) + " was not answered, and may have been carried out"
	}
	return text + ": " + quote.Error(e.Err).Error()
}

func (e *UnansweredError) Unwrap() error { return e.Err }

var (
	errTimeout = fmt.Errorf("no answer within %v", AnswerWithin)
	errRetired = errors.New("the connection takes no more calls")
)

// A Line carries the calls of one connection. Its methods can be called from
// any goroutine.
type Line struct {
	send  func(text []byte) error
	clean func(text string) string

	slots   chan struct{}
	out     chan outgoing // calls to be written
	retired chan struct{} // closed when no more calls are taken
	idle    chan struct{} // closed when then none is in flight any more
	done    chan struct{} // closed when it is cut

	mu       sync.Mutex
	cause    error // why it is cut
	retiring bool
	last     uint64                      // id
	waiting  map[uint64]chan wire.Answer // by id
}

// outgoing is a call on its way to the connection.
type outgoing struct {
	frame  []byte
	failed chan<- error // is told if it could not be sent
}

// NewLine makes the line of a connection over which send sends a text frame,
// all of it unless it fails; clean takes out of a server's words what is
// secret.
func NewLine(send func(text []byte) error, clean func(text string) string) *Line {
	return &Line{
		send: send, clean: clean,
		slots: make(chan struct{}, MaxInFlight), out: make(chan outgoing),
		retired: make(chan struct{}), idle: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[uint64]chan wire.Answer),
	}
}

// Run writes the calls, until the line is cut. Nothing is sent before.
func (l *Line) Run() {
	for {
		select {
		case next := <-l.out:
			if err := l.send(next.frame); err != nil {
				next.failed <- err
				l.Cut(err)
			}
		case <-l.done:
			return
		}
	}
}

// Cut ends the line: the connection is gone, and no answer comes any more. All
// calls end at once. Only the first cause counts.
func (l *Line) Cut(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = cause
		close(l.done)
	}
}

// Retire has the line take no more calls. The channel returned is closed when
// no call waits for its answer any more.
func (l *Line) Retire() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.retiring {
		l.retiring = true
		close(l.retired)
		l.noteIdle()
	}
	return l.idle
}

// noteIdle is called where one call less is in flight. The caller holds l.mu.
func (l *Line) noteIdle() {
	if !l.retiring || len(l.waiting) > 0 {
		return
	}
	select {
	case <-l.idle:
	default:
		close(l.idle)
	}
}

// Answered hands an answer to the call that it is to. One to no call that
// waits is dropped.
func (l *Line) Answered(a wire.Answer) {
	l.mu.Lock()
	answer := l.waiting[a.ID]
	delete(l.waiting, a.ID)
	l.mu.Unlock()
	if answer != nil {
		answer <- a.Clone()
	}
}

// Call makes a call and waits for its answer. The error is the server's own, a
// *wire.RPCError; or an *UnansweredError; or that of a call that cannot be
// made.
func (l *Line) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	encoded, err := encode(method, params)
	if err != nil {
		return nil, err
	}
	return l.call(ctx, method, encoded)
}

func (l *Line) call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	unsent := func(why error) error { return &UnansweredError{Method: method, Err: why} }
	if err := ctx.Err(); err != nil {
		return nil, unsent(err)
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, unsent(ctx.Err())
	case <-l.retired:
		return nil, unsent(errRetired)
	case <-l.done:
		return nil, unsent(l.cause)
	}
	id, answer, err := l.register()
	if err != nil {
		return nil, unsent(err)
	}
	defer l.forget(id)
	failed := make(chan error, 1)
	select {
	case l.out <- outgoing{wire.AppendCall(nil, id, method, params), failed}:
	case <-ctx.Done():
		return nil, unsent(ctx.Err())
	case <-l.done:
		return nil, unsent(l.cause)
	}
	a, err := l.wait(ctx, answer)
	if err != nil {
		select {
		case err := <-failed:
			return nil, unsent(err)
		default:
			return nil, &UnansweredError{Method: method, Sent: true, Err: err}
		}
	}
	return l.result(method, a)
}

// register gives a call its id. It fails where the line takes no more calls.
func (l *Line) register() (id uint64, answer chan wire.Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.cause != nil:
		return 0, nil, l.cause
	case l.retiring:
		return 0, nil, errRetired
	}
	l.last++
	answer = make(chan wire.Answer, 1)
	l.waiting[l.last] = answer
	return l.last, answer, nil
}

func (l *Line) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
	l.noteIdle()
}

// wait waits for the answer of a call that is on its way.
func (l *Line) wait(ctx context.Context, answer <-chan wire.Answer) (wire.Answer, error) {
	late := time.NewTimer(AnswerWithin)
	defer late.Stop()
	var err error
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = errTimeout
	case <-l.done:
		err = l.cause
	}
	select {
	case a := <-answer: // it came in the same moment
		return a, nil
	default:
		return wire.Answer{}, err
	}
}

// result is what an answer comes to.
func (l *Line) result(method string, a wire.Answer) (json.RawMessage, error) {
	switch failed := a.Err.(type) {
	case nil:
		return a.Result, nil
	case *wire.RPCError:
		failed.Message = l.clean(failed.Message)
		return nil, failed
	default:
		return nil, &UnansweredError{Method: method, Sent: true, Err: fmt.Errorf("the answer cannot be used: %w", failed)}
	}
}

// encode makes the params of a call JSON, nil if there are none.
func encode(method string, params any) (json.RawMessage, error) {
	const frame = 64 // bytes around the method and the params
	if method == "" {
		return nil, errors.New("the call has no method")
	}
	var encoded json.RawMessage
	if params != nil {
		var err error
		if encoded, err = json.Marshal(params); err != nil {
			return nil, fmt.Errorf("params of %s: %w", quote.Name(method), quote.Error(err))
		}
	}
	if string(encoded) == "null" {
		encoded = nil
	}
	switch size := len(method) + len(encoded) + frame; {
	case len(encoded) > 0 && encoded[0] != '{' && encoded[0] != '[':
		return nil, fmt.Errorf("params of %s: want a struct, a map or a list, got %T", quote.Name(method), params)
	case size > MaxCallSize:
		return nil, fmt.Errorf("the call of %s has %d bytes; a push server takes %d", quote.Name(method), size, MaxCallSize)
	}
	return encoded, nil
}
