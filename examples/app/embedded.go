package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// embedded goes through the life of an installation with a portal in memory,
// over real sockets.
func (p *program) embedded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	portal := pulltest.NewPortal()
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	folder, err := os.MkdirTemp("", "b24pull-app")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	l, err := net.Listen("tcp", orLoopback(p.listen))
	if err != nil {
		return usagef("-listen: %w", err)
	}
	address := "http://" + l.Addr().String()
	p.say("a portal in memory at %s, since B24PULL_CLIENT_ID is not set", portal.URL())
	events := make(chan string, 10)
	s, err := p.serveOn(ctx, l, &config{
		application: &oauth.Application{
			ClientID: portal.Application().ClientID, ClientSecret: b24pull.Secret(portal.Application().ClientSecret),
			RedirectURL: address + "/redirect", AuthServer: portal.AuthServer(), HTTPClient: portal.HTTPClient(),
		},
		folder: folder, http: portal.HTTPClient(), heard: func(command string) { events <- command },
	})
	if err != nil {
		return err
	}
	t := &tour{service: s, portal: portal, address: address, events: events}
	err = t.walk(ctx)
	portal.HTTPClient().CloseIdleConnections()
	return errors.Join(err, s.stop())
}

func orLoopback(listen string) string {
	if listen == "" {
		return "127.0.0.1:0"
	}
	return listen
}

// tour is the way through an installation.
type tour struct {
	*service
	portal  *pulltest.Portal
	address string // of the callbacks
	events  chan string
}

func (t *tour) walk(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"the portal installs the application: a form", t.install},
		{"and the event ONAPPINSTALL", func(ctx context.Context) error { return t.portal.InstallByEvent(ctx, t.address+"/install") }},
		{"a user authorizes the application", t.authorize},
		{"the access token expires, and the application sends an event", t.expire},
		{"the portal uninstalls the application", t.uninstall},
	}
	for _, step := range steps {
		t.say("-- %s", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	t.say("-- done")
	return nil
}

func (t *tour) install(ctx context.Context) error {
	if err := t.portal.Install(ctx, t.address+"/install"); err != nil {
		return err
	}
	return t.hear(ctx)
}

// hear waits until an event has been handled.
func (t *tour) hear(ctx context.Context) error {
	select {
	case <-t.events:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no event came: %w", ctx.Err())
	}
}

// authorize is the user's browser.
func (t *tour) authorize(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := http.Client{Transport: t.portal.HTTPClient().Transport, Jar: jar}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.address+"/authorize?portal="+strings.TrimPrefix(t.portal.URL(), "https://"), nil)
	if err != nil {
		return err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the browser ends at %s", resp.Status)
	}
	return nil
}

func (t *tour) expire(ctx context.Context) error {
	member := t.portal.MemberID()
	before, err := t.tokens.Get(ctx, member)
	if err != nil {
		return err
	}
	t.portal.ExpireToken()
	if err := t.app.portal(member).greet(ctx, "hello with a refreshed token"); err != nil {
		return err
	}
	after, err := t.tokens.Get(ctx, member)
	switch {
	case err != nil:
		return err
	case after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken:
		return errors.New("the tokens that are stored are the old ones")
	}
	t.say("member %s: the call has gone on with a new token, and the rotated refresh token is stored", member)
	return t.hear(ctx)
}

func (t *tour) uninstall(ctx context.Context) error {
	member := t.portal.MemberID()
	p := t.app.portal(member)
	if err := t.portal.Uninstall(ctx, t.address+"/event"); err != nil {
		return err
	}
	_, err := t.tokens.Get(ctx, member)
	switch {
	case !errors.Is(err, b24pull.ErrNoToken):
		return fmt.Errorf("the tokens are still there: %w", err)
	case p.running():
		return errors.New("the subscription goes on")
	case !errors.Is(p.err, b24pull.ErrUninstalled):
		return fmt.Errorf("the subscription has ended otherwise: %w", p.err)
	}
	return nil
}
