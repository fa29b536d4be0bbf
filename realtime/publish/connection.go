package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// pingEvery is how often a connection of the publisher's own is pinged, and
	// deafAfter how long nothing may come before it is given up.
	pingEvery = 20 * time.Second
	deafAfter = 45 * time.Second
)

// lookRPC makes the address of websockets of version 5.
func (a *account) lookRPC(secrets redact.Redactor) error {
	s := &a.cfg.Server
	base, bad := config.Base(false, "websocket", s.WebSocketSecure, s.WebSocket, "wss", "ws")
	if !s.WebSocketEnabled || base == "" {
		return config.Because(fmt.Errorf("%w: clients of version %d publish over a websocket, and there are none", ErrUnavailable, s.Version), bad)
	}
	query, err := config.Query(a.cfg, a.dialect)
	if err != nil {
		return err
	}
	a.socket = transport.Address{URL: config.WithQuery(base, query), Secrets: secrets, RPC: true}
	return nil
}

// A connection is a connection to a push server of version 5 that is the
// publisher's own. What it is told of messages is no subscription's: there is
// no history to it.
type connection struct {
	line   *rpc.Line
	conn   transport.Duplex
	codec  wire.Codec
	pinged func() // called when the server has pinged; may be nil
	heard  atomic.Int64
}

// open connects.
func (p *Publisher) open(ctx context.Context, a *account, pinged func()) (*connection, error) {
	s := &connection{pinged: pinged}
	socket := transport.Socket{Dial: transport.DialOver(p.client), Header: p.header}
	conn, err := socket.Open(ctx, a.socket, s)
	if err != nil {
		return nil, ownError(err)
	}
	var ok bool
	if s.conn, ok = conn.(transport.Duplex); !ok {
		conn.Close(transport.CloseNormal)
		return nil, errors.New("publish: the connection cannot be written to")
	}
	s.line = rpc.NewLine(s.conn.Send, func(text string) string { return a.socket.Secrets.Line(text, quote.TextLimit) })
	s.codec = a.dialect.Codec(nil, s.line.Answered)
	return s, nil
}

// serve reads until the connection ends, and hands on its messages. Calls are
// answered meanwhile.
func (s *connection) serve(record func(wire.Record)) error {
	var tasks sync.WaitGroup
	over := make(chan struct{})
	tasks.Go(s.line.Run)
	tasks.Go(func() { s.watch(over) })
	err := s.read(record)
	s.line.Cut(err)
	close(over)
	s.conn.Close(transport.CloseNormal)
	tasks.Wait()
	return err
}

func (s *connection) read(record func(wire.Record)) error {
	s.hear()
	for {
		frame, err := s.conn.Next()
		if err != nil {
			return ownError(err)
		}
		s.hear()
		err = s.codec.Decode(frame, func(r *wire.Record, bad error) bool {
			s.conn.Received(r.ID)
			if bad == nil {
				record(*r)
			}
			return true
		})
		if err != nil && !errors.Is(err, wire.ErrFrame) {
			return ownError(err)
		}
		if _, err := io.Copy(io.Discard, frame); err != nil {
			return ownError(err)
		}
	}
}

// watch pings the server, and ends a connection over which nothing comes.
func (s *connection) watch(over <-chan struct{}) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
		}
		if time.Since(time.Unix(0, s.heard.Load())) > deafAfter || s.conn.Ping() != nil {
			s.conn.Close(transport.CloseStuck)
			return
		}
	}
}

func (s *connection) hear() { s.heard.Store(time.Now().UnixNano()) }

// Sent implements transport.Sink.
func (s *connection) Sent() {}

// Pinged implements transport.Sink.
func (s *connection) Pinged() {
	s.hear()
	if s.pinged != nil {
		s.pinged()
	}
}

// Ponged implements transport.Sink.
func (s *connection) Ponged() { s.hear() }

// Heartbeat implements transport.Sink.
func (s *connection) Heartbeat() { s.hear() }
