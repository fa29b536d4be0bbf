package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
)

// A Portal is one that has installed the application.
type Portal struct {
	// MemberID names the portal, and is its key in the fleet and in the token
	// store. It stays when the portal moves.
	MemberID string
	// Address is the portal's scheme and host when the subscription began.
	Address string
	// Client calls the portal with the token that is stored, also from a
	// handler.
	Client *b24pull.Client
	// Log is the application's logger, and names the portal.
	Log *slog.Logger
}

// An Application listens to every portal that has installed a Bitrix24
// application, from its installation until it uninstalls it. Its http.Handlers
// are where portals and users come; it keeps the tokens by way of an
// [oauth.Tokens], each under the portal's member id.
//
// Whether a portal is listened to depends on whether its token is stored, and
// on nothing else: callbacks, in whatever order and however quick, have that
// looked at. A portal that uninstalls the application and installs it again
// goes on, in the same process, where it was; otherwise with all that its push
// server has kept, so that nothing is lost from the installation on.
//
// What a portal tells last decides what is done where a subscription has
// ended for good. Is the token deleted, the key is forgotten, and with it the
// cursor. Is it revoked, or may not do what is needed, the portal is listened to
// again after the next callback that brings another token, or after any one a
// minute later.
type Application struct {
	fleet   *Fleet
	tokens  *oauth.Tokens
	handler func(Portal) realtime.Handler
	refused refusals
}

// NewApplication makes an application without portals. It does no I/O. handler
// makes the handler of a portal's messages; it is called once for each
// subscription, and so again for a portal whose subscription has ended and is
// begun again.
func NewApplication(tokens *oauth.Tokens, handler func(Portal) realtime.Handler, opts ...Option) (*Application, error) {
	switch {
	case tokens == nil:
		return nil, errors.New("fleet: NewApplication: the tokens are nil; give those of oauth.NewTokens")
	case handler == nil:
		return nil, errors.New("fleet: NewApplication: the handler is nil")
	}
	f, err := newFleet(opts)
	if err != nil {
		return nil, err
	}
	a := &Application{fleet: f, tokens: tokens, handler: handler}
	a.refused.log = f.opts.logger
	return a, nil
}

// Format counts the portals, whatever the verb.
func (a *Application) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "fleet.Application(%d portals)", len(a.fleet.Keys()))
}

// Fleet is the fleet of the portals, each under its member id. Other
// subscriptions can be added to it under keys that are no member ids. A portal
// that is removed from it is listened to again after its next callback.
func (a *Application) Fleet() *Fleet { return a.fleet }

// Start has portals listened to whose tokens are stored, by their member ids:
// at the beginning all that the token store has, as [oauth.TokenFolder.Keys]
// returns. It can be called again, as a process does where others take
// callbacks too: what has another token by now, or is not listened to yet,
// begins. The end of ctx ends the looking at stored tokens.
//
// A process that is killed while a portal uninstalls the application may leave
// its cursor in the store. A member id without a token has its cursor removed,
// so give those that have a cursor as well, as [CursorFolder.Keys] returns them.
func (a *Application) Start(ctx context.Context, members ...string) {
	for _, member := range members {
		a.touch(ctx, member, true)
	}
}

// touch has a portal looked at again, and listened to if it was not. It comes
// after its token was stored or deleted.
func (a *Application) touch(ctx context.Context, member string, installed bool) {
	if installed && a.begin(member) {
		return
	}
	token, err := a.tokens.Get(ctx, member)
	f := a.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[member]
	switch gone := m == nil || m.ending; {
	case gone && installed: // meanwhile
		_ = f.start(member, &tenant{app: a, member: member})
		return
	case m == nil:
		return
	}
	m.touched = true
	another := err != nil || token.AccessToken != m.opened
	switch resting := m.status.State == StateDelayed || m.status.State == StateWaiting; {
	case resting && (another || time.Since(m.since) >= touchPause):
		m.wake()
	case !resting && another:
		if t, ok := m.runner.(*tenant); ok {
			t.bindAgain()
		}
	}
}

// begin has a portal listened to, and reports false if it was already.
func (a *Application) begin(member string) bool {
	f := a.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[member]; m != nil && !m.ending {
		return false
	}
	_ = f.start(member, &tenant{app: a, member: member}) // after Shutdown none begins, and the token is stored
	return true
}

// touchPause is how long a subscription that has ended rests before a callback
// without another token has it begun again: anybody can send callbacks.
const touchPause = time.Minute

// Shutdown ends all subscriptions as [Fleet.Shutdown] does, removes the cursors
// of portals that have uninstalled the application by then, and waits for
// the tokens that are just being refreshed ([oauth.Tokens.Wait]), within the
// same deadline. End the HTTP server before.
func (a *Application) Shutdown(ctx context.Context) error {
	return errors.Join(a.fleet.Shutdown(ctx), a.tokens.Wait(ctx))
}

// A tenant is a portal that has installed the application.
type tenant struct {
	app    *Application
	member string

	mu  sync.Mutex
	run *binding // of the subscription that runs and is ready; nil: none is
}

// open makes a client and a subscription of the token that is stored.
func (t *tenant) open(ctx context.Context, m *member) (*job, error) {
	a := t.app
	opts := &a.fleet.opts
	source := a.tokens.Source(t.member)
	life, cancel := source.Context(m.ctx) // before the token is read: it may be deleted then
	token, err := a.tokens.Get(ctx, t.member)
	if err != nil {
		cancel()
		if errors.Is(err, b24pull.ErrNoToken) {
			err = m.noToken(err)
		}
		return nil, err
	}
	log := opts.logger.With("portal", quote.Name(token.Portal), "member", quote.Name(t.member))
	a.fleet.mu.Lock()
	m.opened, m.address, m.log = token.AccessToken, token.Portal, log
	a.fleet.mu.Unlock()
	app := a.tokens.Application()
	httpClient := cmp.Or(app.HTTPClient, http.DefaultClient)
	client, err := b24pull.New(b24pull.OAuth(token.Portal, source), append(append([]b24pull.Option{b24pull.WithHTTPClient(httpClient)},
		opts.application.client...), b24pull.WithMoved(func(ctx context.Context, _, to string) error { return t.allowMove(ctx, m, to) }))...)
	if err != nil {
		cancel()
		return nil, err
	}
	portal := Portal{MemberID: t.member, Address: token.Portal, Client: client, Log: log}
	handler := a.handler(portal)
	if handler == nil {
		cancel()
		return nil, errors.New("fleet: the application's function has returned no handler")
	}
	return &job{
		source: client, handler: handler, history: true, ctx: life, cancel: cancel,
		ready: func(ctx context.Context) { t.ready(ctx, m, portal) }, over: t.over,
	}, nil
}

// ready does what is done beside a subscription once it is ready.
func (t *tenant) ready(ctx context.Context, m *member, portal Portal) {
	opts := &t.app.fleet.opts.application
	t.mu.Lock()
	t.run = &binding{ctx: gate.With(ctx, t.app.fleet.shared.Gate, nil), client: portal.Client, address: opts.eventURL, tell: m.tell, waits: &m.waits}
	t.run.begin()
	t.mu.Unlock()
	if opts.ready != nil {
		if err := safely(func() error { return opts.ready(ctx, portal) }); err != nil && (ctx.Err() == nil || isPanic(err)) {
			m.tell(Event{Kind: KindReadyFailed, Err: err})
		}
	}
}

// over waits for what was begun beside a subscription, whose context has ended.
func (t *tenant) over() {
	t.mu.Lock()
	b := t.run
	t.run = nil
	t.mu.Unlock()
	if b != nil {
		b.running.Wait()
	}
}

// ended forgets a portal that has no token any more.
func (t *tenant) ended(m *member, err error) (leaves bool) {
	if b24pull.EndingOf(err) != b24pull.EndsRun {
		return false
	}
	_, failed := t.stored(m.life)
	return errors.Is(failed, b24pull.ErrNoToken)
}

// gone reports whether the portal has no token any more.
func (t *tenant) gone(m *member) bool {
	_, err := t.stored(context.WithoutCancel(m.life))
	return errors.Is(err, b24pull.ErrNoToken)
}

// changed reports whether another token is stored than that which the last run
// began with, or none, or the store cannot tell: the next run asks it again.
func (t *tenant) changed(m *member) bool {
	token, err := t.stored(m.life)
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	return err != nil || token.AccessToken != m.opened && !token.Revoked
}

func (t *tenant) stored(ctx context.Context) (token *oauth.Token, err error) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	err = safely(func() (err error) { token, err = t.app.tokens.Get(ctx, t.member); return err })
	return token, err
}

// allowMove is asked when a portal says that it has another address, before that
// gets a token. What is neither in the cloud nor named by WithPortals may be
// anybody's.
func (t *tenant) allowMove(ctx context.Context, m *member, to string) error {
	if !t.app.fleet.opts.application.hosts.Allow(to) {
		m.tell(Event{Kind: KindMoved, To: to, Err: errForeign})
		return errForeign
	}
	m.fleet.mu.Lock()
	m.address = to
	m.fleet.mu.Unlock()
	err := t.app.tokens.Update(ctx, t.member, func(token *oauth.Token) error {
		token.Portal = to
		return nil
	})
	m.tell(Event{Kind: KindMoved, To: to, Err: err})
	return nil
}

var errForeign = errors.New("the host is neither in the Bitrix24 cloud nor named by WithPortals, and is not followed")
