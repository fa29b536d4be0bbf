package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
)

// A portal is one that has installed the application, and the subscription to
// it.
type portal struct {
	app    *app
	member string
	client *b24pull.Client
	sub    *realtime.Subscription
	cursor string // file
	began  time.Time
	life   context.Context
	end    context.CancelFunc
	ended  chan struct{}
	err    error // why, once it has ended; nil: the program stopped it
	anew   bool  // once it has ended: it can begin again, without the cursor
}

// newPortal makes the client and the subscription. It does no I/O.
func (a *app) newPortal(member, address string) (*portal, error) {
	p := &portal{app: a, member: member, began: time.Now(), cursor: filepath.Join(a.folder, member+".cursor"), ended: make(chan struct{})}
	source := a.tokens.Source(member)
	opts := []b24pull.Option{b24pull.WithMoved(p.moved)}
	if a.http != nil {
		opts = append(opts, b24pull.WithHTTPClient(a.http))
	}
	var err error
	if p.client, err = b24pull.New(b24pull.OAuth(address, source), opts...); err != nil {
		return nil, err
	}
	p.sub, err = realtime.Subscribe(p.client,
		realtime.WithCursorStore(realtime.NewFileStore(p.cursor)),
		realtime.WithLogger(a.logger.With("portal", address)),
		realtime.WithErrorPolicy(func(*realtime.HandlerError, int) realtime.ErrorAction { return realtime.SkipMessage() }),
	)
	if err != nil {
		return nil, err
	}
	p.life, p.end = source.Context(context.Background())
	return p, nil
}

func (p *portal) say(format string, args ...any) {
	p.app.say("%s: "+format, append([]any{p.client.Portal()}, args...)...)
}

func (p *portal) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// moved is asked when the portal says that it has another address, before that
// gets a token. It is stored for the next start. What is neither in the cloud
// nor named by the environment may be anybody's.
func (p *portal) moved(_ context.Context, _, to string) error {
	_, host, _ := strings.Cut(to, "://")
	if !cloudPortal(host) && !p.app.names(host) {
		p.say("it has moved to %s, which is not followed: name the host in B24PULL_PORTALS if it is the portal's", to)
		return fmt.Errorf("%s is no host of the cloud and is not in B24PULL_PORTALS", host)
	}
	err := p.app.tokens.Update(p.life, p.member, func(t *oauth.Token) error {
		t.Portal = to
		return nil
	})
	p.app.say("%s: the portal has moved there", to)
	if err != nil {
		p.app.say("%s: the new address is not stored: %v", to, err)
	}
	return nil
}

// run listens until the portal uninstalls the application, the program ends, or
// trying again cannot help.
func (p *portal) run() {
	defer close(p.ended)
	ctx, cancel := context.WithCancel(p.life)
	var beginning sync.WaitGroup
	beginning.Go(func() { p.begin(ctx) })
	p.err = p.sub.Run(p.life, p.events())
	if p.err != nil && p.life.Err() != nil {
		p.err = context.Cause(p.life)
	}
	cancel()
	beginning.Wait()
	p.end()
	switch {
	case p.err == nil:
		p.say("the subscription has ended and its cursor is stored")
	case errors.Is(p.err, b24pull.ErrUninstalled):
		os.Remove(p.cursor) // another installation begins anew
		p.say("the subscription has ended: %v", p.err)
	case errors.Is(p.err, realtime.ErrCursorMismatch):
		p.anew = os.Remove(p.cursor) == nil
		p.say("the subscription begins anew, and what was sent since the program stopped is lost: %v", p.err)
	case errors.Is(p.err, b24pull.ErrInvalidGrant):
		p.say("the subscription has ended: %v: at /authorize?portal=%s", p.err, strings.TrimPrefix(p.client.Portal(), "https://"))
	default:
		p.say("the subscription has ended: %v", p.err)
	}
}

// begin does what has to wait until nothing sent is missed.
func (p *portal) begin(ctx context.Context) {
	select {
	case <-p.sub.Ready():
	case <-ctx.Done():
		return
	}
	p.say("subscribed")
	if err := p.bind(ctx); err != nil && ctx.Err() == nil {
		p.say("the portal will not tell when it uninstalls the application: %v", err)
	}
	if err := p.greet(ctx, "hello from the application"); err != nil && ctx.Err() == nil {
		p.say("no event was sent: %v", err)
	}
}

const uninstallation = "ONAPPUNINSTALL"

// bind asks the portal to tell when it uninstalls the application, unless it
// knows that already.
func (p *portal) bind(ctx context.Context) error {
	if p.app.events == "" {
		return nil
	}
	type binding struct {
		Event   string `json:"event"`
		Handler string `json:"handler"`
	}
	wanted := binding{uninstallation, p.app.events}
	var bound []binding
	if _, err := p.client.Call(ctx, "event.get", nil, &bound, b24pull.Idempotent()); err != nil {
		return err
	}
	for i := range bound {
		bound[i].Event = strings.ToUpper(bound[i].Event)
	}
	if slices.Contains(bound, wanted) {
		return nil
	}
	_, err := p.client.Call(ctx, "event.bind", wanted, nil)
	return err
}
