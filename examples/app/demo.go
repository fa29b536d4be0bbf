package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
)

// demo goes through the life of an installation with a portal in memory, over
// real sockets.
func demo(ctx context.Context, listen string, logger *slog.Logger) error {
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
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	address, heard := "http://"+l.Addr().String(), make(chan string, 10)
	a := ofPortal(portal, l, folder, logger)
	a.handler = func(p fleet.Portal) realtime.Handler {
		h := handler(p)
		return realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
			defer func() { heard <- m.Command }()
			return h.Handle(ctx, m)
		})
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- a.serve(serving, l) }()
	logger.Info("-- a portal in memory, since B24PULL_CLIENT_ID is not set", "portal", portal.URL())
	err = walk(ctx, portal, address, heard, logger)
	portal.HTTPClient().CloseIdleConnections()
	stop()
	if err = errors.Join(err, <-served); err == nil {
		logger.Info("-- done")
	}
	return err
}

// ofPortal is the application of a portal in memory.
func ofPortal(portal *pulltest.Portal, l net.Listener, folder string, logger *slog.Logger) *app {
	of := portal.Application()
	address := "http://" + l.Addr().String()
	return &app{
		Application: &oauth.Application{
			ClientID: of.ClientID, ClientSecret: b24pull.Secret(of.ClientSecret),
			RedirectURL: address + "/redirect", AuthServer: portal.AuthServer(), HTTPClient: portal.HTTPClient(),
		},
		folder: folder, opts: []fleet.Option{fleet.WithEventURL(address + "/event")}, handler: handler, log: logger,
	}
}

// walk is what the portal and a user do with the application at the address.
func walk(ctx context.Context, portal *pulltest.Portal, address string, heard <-chan string, logger *slog.Logger) error {
	hear := func(err error) error {
		if err != nil {
			return err
		}
		select {
		case <-heard:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no event came: %w", context.Cause(ctx))
		}
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"the portal installs the application: a form", func() error { return hear(portal.Install(ctx, address+"/install")) }},
		{"and the event ONAPPINSTALL", func() error { return portal.InstallByEvent(ctx, address+"/install") }},
		{"a user authorizes the application", func() error { return browse(ctx, portal, address+"/authorize?portal=") }},
		{"the access token and the channel expire: the subscription refreshes both", func() error {
			portal.ExpireToken()
			portal.ExpireChannel(pulltest.Shared, "get_config")
			portal.Emit(pulltest.Message{Command: helloCommand, Params: hello{"hello after a refresh"}, To: pulltest.Shared})
			return hear(nil)
		}},
		{"the portal uninstalls the application", func() error { return portal.Uninstall(ctx, address+"/event") }},
	} {
		logger.Info("-- " + step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// browse is a user who opens the link in a browser.
func browse(ctx context.Context, portal *pulltest.Portal, link string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link+strings.TrimPrefix(portal.URL(), "https://"), nil)
	if err != nil {
		return err
	}
	jar, _ := cookiejar.New(nil) // fails with options alone
	resp, err := (&http.Client{Transport: portal.HTTPClient().Transport, Jar: jar}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the browser ends at %s", resp.Status)
	}
	return nil
}
