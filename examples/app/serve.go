package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/oauth"
	"golang.org/x/time/rate"
)

// maxExchanging is how many codes are exchanged at once.
const maxExchanging = 8

// stopTime is how long callbacks, handlers and refreshes have when the program
// ends.
const stopTime = 20 * time.Second

// service is the application with its server.
type service struct {
	*app
	server *http.Server
	failed chan error // why the server has stopped by itself
}

// serve begins to serve callbacks, and goes on with the portals that are known.
func (p *program) serve(ctx context.Context, c *config) (*service, error) {
	l, err := net.Listen("tcp", cmp.Or(p.listen, "127.0.0.1:8080"))
	if err != nil {
		return nil, usagef("-listen: %w", err)
	}
	return p.serveOn(ctx, l, c)
}

func (p *program) serveOn(ctx context.Context, l net.Listener, c *config) (*service, error) {
	a, members, err := p.newApp(c)
	if err != nil {
		l.Close()
		return nil, usageError{err}
	}
	s := &service{app: a, failed: make(chan error, 1), server: &http.Server{
		Handler: a.routes(), ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}}
	go func() { s.failed <- s.server.Serve(l) }()
	p.say("callbacks are served at http://%s", l.Addr())
	for _, member := range members {
		if err := a.start(ctx, member); err != nil {
			p.say("member %s: %v", member, err)
		}
	}
	return s, nil
}

// newApp opens the folder and returns the portals whose tokens are in it.
func (p *program) newApp(c *config) (a *app, members []string, err error) {
	store, err := oauth.NewFileStore(c.folder)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := oauth.NewTokens(c.application, store)
	if err != nil {
		return nil, nil, err
	}
	members, err = store.Keys()
	logger := slog.New(slog.NewTextHandler(p.stderr, nil))
	return &app{
		config: c, tokens: tokens, say: p.say, logger: logger, portals: make(map[string]*portal), exchanging: make(chan struct{}, maxExchanging),
		codes: rate.NewLimiter(codesPerSecond, codesAtOnce),
	}, members, err
}

// stop ends the server and then the subscriptions, with all that was received
// handled.
func (s *service) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := s.server.Shutdown(ctx)
	return errors.Join(err, s.drain(ctx))
}
