package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
	"golang.org/x/time/rate"
)

// app is the application: the tokens of the portals that have installed it, and
// a subscription to each.
type app struct {
	*oauth.Application
	folder   string   // of tokens and cursors
	hosts    []string // of portals outside the cloud, or *.DOMAIN
	eventURL string   // where portals send events; "" if they are not told
	handler  func(portal *slog.Logger) realtime.Handler
	log      *slog.Logger

	ctx        context.Context // ends when the program is to end
	tokens     *oauth.Tokens
	exchanging chan struct{} // has a place for each code that is exchanged
	codes      *rate.Limiter // of codes that are exchanged
	listening  sync.WaitGroup

	mu      sync.Mutex
	portals map[string]*portal // by member id
}

// portal is one that has installed the application.
type portal struct {
	member, address string
	log             *slog.Logger
	// When the subscription has ended for good, and with what access token.
	ended time.Time
	token string
}

// stopTime is how long callbacks, handlers and refreshes have when the program
// ends.
const stopTime = 20 * time.Second

// serve takes callbacks, and listens to the portals whose tokens are stored,
// until ctx is done. What has been received is handled then.
func (a *app) serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	store, err := oauth.NewTokenFolder(a.folder)
	if err != nil {
		return err
	}
	if a.tokens, err = oauth.NewTokens(a.Application, store); err != nil {
		return err
	}
	members, err := store.Keys()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.ctx, a.portals = ctx, make(map[string]*portal)
	// Anybody can bring a code that is none: 8 are exchanged at once, and 60
	// without a distance, then one a second.
	a.exchanging, a.codes = make(chan struct{}, 8), rate.NewLimiter(1, 60)
	server := &http.Server{
		Handler: a.routes(), ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	a.log.Info("callbacks are served", "at", "http://"+l.Addr().String())
	for _, member := range members {
		if err := a.listen(ctx, member); err != nil {
			a.log.Error("no subscription", "member", member, "err", err)
		}
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
		cancel()
	}
	grace, end := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer end()
	err = errors.Join(err, server.Shutdown(grace))
	a.listening.Wait()
	return errors.Join(err, a.tokens.Wait(grace)) // a refresh that is broken off loses the token
}

// routes are where portals and users come. Whatever is read of a body is
// bounded.
func (a *app) routes() http.Handler {
	// A portal that installs the application has to be told the end of it.
	const installed = `<!doctype html><title>Installed</title><p>Installed.
<script src="https://api.bitrix24.com/api/v1/"></script>
<script>BX24.init(function () { BX24.installFinish() })</script>`
	mux := http.NewServeMux()
	for path, page := range map[string]string{"/install": installed, "/open": openPage, "/event": ""} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { a.answer(w, r, page, a.take(r)) })
	}
	mux.HandleFunc("GET /authorize", a.authorize)
	mux.HandleFunc("GET /redirect", a.redirect)
	return http.MaxBytesHandler(mux, 1<<20)
}

const openPage = `<!doctype html><title>Application</title><p>The application listens to this portal.`

// take does what a callback asks: the form of a user who installs or opens the
// application, or an event.
func (a *app) take(r *http.Request) error {
	c, err := oauth.ParseCallback(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	if err := a.tokens.Handle(r.Context(), c); err != nil {
		return err
	}
	a.log.Info("callback", "of", c)
	if c.Event != "" && !c.Installed() {
		return nil // an uninstallation has ended the subscription with the token
	}
	// a portal that does not wait has installed the application all the same
	return a.listen(context.WithoutCancel(r.Context()), c.MemberID)
}

// errRequest is a request that is none of a portal.
var errRequest = errors.New("bad request")

// refusal is an error that the user is told as it is.
type refusal string

func (e refusal) Error() string { return string(e) }

// answer has the page, or no more than a status; the log has the error.
func (a *app) answer(w http.ResponseWriter, r *http.Request, page string, err error) {
	if err == nil {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
		return
	}
	var told refusal
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errRequest):
		status = http.StatusBadRequest
	case errors.As(err, &told), errors.Is(err, oauth.ErrApplicationToken), errors.Is(err, b24pull.ErrNoToken), errors.Is(err, b24pull.ErrInvalidGrant):
		status = http.StatusForbidden
	}
	a.log.Warn("refused", "path", r.URL.Path, "err", err)
	http.Error(w, cmp.Or(string(told), http.StatusText(status)), status)
}

// listen has a portal listened to whose token is stored. Anybody can send
// forms: a subscription that has ended for good is begun again with another
// token, or after a minute.
func (a *app) listen(ctx context.Context, member string) error {
	token, err := a.tokens.Get(ctx, member)
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.portals[member]
	switch {
	case err != nil:
		return err
	case a.ctx.Err() != nil:
		return errors.New("the program is ending; the token is stored")
	case p != nil && (p.ended.IsZero() || p.token == token.AccessToken && time.Since(p.ended) < time.Minute):
		return nil
	}
	p = &portal{member: member, address: token.Portal, log: a.log.With("portal", token.Portal)}
	a.portals[member] = p
	a.listening.Go(func() {
		for again := true; again; {
			again = a.again(p, a.subscribe(p))
		}
	})
	return nil
}

// again reports whether a subscription is followed by another one. It is told
// why it has ended; nil: the program ends.
func (a *app) again(p *portal, ended error) bool {
	p.log.Info("the subscription has ended", "err", ended)
	removed := false
	if errors.Is(ended, b24pull.ErrUninstalled) || errors.Is(ended, realtime.ErrCursorMismatch) {
		err := os.Remove(a.cursor(p)) // what follows begins anew, and what was sent meanwhile is lost
		removed = err == nil || errors.Is(err, fs.ErrNotExist)
	}
	a.mu.Lock() // before it is looked: an installation that comes now is to find it gone
	defer a.mu.Unlock()
	token, err := a.tokens.Get(context.WithoutCancel(a.ctx), p.member)
	switch {
	case errors.Is(err, b24pull.ErrNoToken):
		delete(a.portals, p.member)
		return false
	case err == nil && removed: // if it was uninstalled, it is installed again
		p.address = token.Portal
		return true
	case err == nil:
		p.token = token.AccessToken
	}
	p.ended = time.Now()
	return false
}

func (a *app) cursor(p *portal) string { return filepath.Join(a.folder, p.member+".cursor") }

// subscribe listens to a portal until it uninstalls the application, the
// program ends, or trying again cannot help.
func (a *app) subscribe(p *portal) error {
	source := a.tokens.Source(p.member)
	client, err := b24pull.New(b24pull.OAuth(p.address, source), b24pull.WithHTTPClient(a.HTTPClient),
		b24pull.WithMoved(func(ctx context.Context, _, to string) error { return a.moved(ctx, p, to) }))
	if err != nil {
		return err
	}
	cursor, err := realtime.NewCursorFile(a.cursor(p))
	if err != nil {
		return err
	}
	sub, err := realtime.Subscribe(client,
		realtime.WithCursorStore(cursor),
		realtime.WithLogger(p.log),
		realtime.WithErrorPolicy(func(*realtime.HandlerError, int) realtime.ErrorAction { return realtime.SkipMessage() }),
	)
	if err != nil {
		return err
	}
	life, end := source.Context(context.WithoutCancel(a.ctx)) // ends when the token is deleted
	defer context.AfterFunc(a.ctx, func() {
		time.AfterFunc(stopTime, end)
		sub.Drain(life)
	})()
	var beginning sync.WaitGroup
	beginning.Go(func() {
		select {
		case <-sub.Ready():
			p.log.Info("subscribed")
		case <-life.Done():
			return
		}
		if err := errors.Join(a.bind(life, client), greet(life, client)); err != nil && life.Err() == nil {
			p.log.Error("the portal does not send all events", "err", err)
		}
	})
	err = sub.Run(life, a.handler(p.log))
	if cause := context.Cause(life); cause != nil {
		err = cause
	}
	end()
	beginning.Wait()
	return err
}

// bind has the portal tell when it uninstalls the application.
func (a *app) bind(ctx context.Context, client *b24pull.Client) error {
	if a.eventURL == "" {
		return nil
	}
	type binding struct {
		Event   string `json:"event"`
		Handler string `json:"handler"`
	}
	var bound []binding
	if _, err := client.Call(ctx, "event.get", nil, &bound, b24pull.Idempotent()); err != nil {
		return err
	}
	for _, b := range bound {
		if strings.EqualFold(b.Event, "ONAPPUNINSTALL") && b.Handler == a.eventURL {
			return nil
		}
	}
	_, err := client.Call(ctx, "event.bind", binding{"ONAPPUNINSTALL", a.eventURL}, nil)
	return err
}

// moved is asked when a portal says that it has another address, before that
// gets a token. What is neither in the cloud nor named by the environment may
// be anybody's.
func (a *app) moved(ctx context.Context, p *portal, to string) error {
	if !a.allows(strings.TrimPrefix(to, "https://")) {
		p.log.Error("the portal has moved, and is not followed: name the host in B24PULL_PORTALS if it is the portal's", "to", to)
		return errUnknown
	}
	a.mu.Lock()
	p.address = to
	a.mu.Unlock()
	err := a.tokens.Update(ctx, p.member, func(t *oauth.Token) error {
		t.Portal = to
		return nil
	})
	p.log.Warn("the portal has moved, and its address is stored unless there is an error", "to", to, "err", err)
	return nil
}
