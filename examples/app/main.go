// Command app is an application that Bitrix24 portals install: it keeps their
// tokens, listens to each of them, and forgets one that uninstalls it.
//
// With nothing set it goes through all that with a portal of its own, in
// memory, and ends. To serve real portals set
//
//	B24PULL_CLIENT_ID      of the application, as it was registered
//	B24PULL_CLIENT_SECRET
//	B24PULL_REDIRECT_URL   https://HOST/redirect, as it was registered
//	B24PULL_TOKEN_FOLDER   for tokens and cursors, which are secret; the default is b24pull-app
//	B24PULL_PORTALS        hosts of portals like portal.example or *.company.example, separated by commas, beside those of the cloud
//	B24PULL_AUTH_SERVER    the default is https://oauth.bitrix.info, for the East https://oauth.bitrix24.tech
//
// have https://HOST lead to the address of -listen, and register these
// addresses:
//
//	https://HOST/install   the installation of the application, by a form or by ONAPPINSTALL
//	https://HOST/open      the application itself
//
// The address https://HOST/authorize?portal=portal.bitrix24.com lets a user
// authorize the application by the way of a code.
//
// Each portal is listened to until it uninstalls the application, or until
// Ctrl-C. When the program starts again it goes on with all portals where it
// stopped.
//
// To make an application of your own of it, begin with handler. What installs,
// listens and uninstalls is package fleet. demo.go is the portal in memory, and
// can be deleted with its call.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
)

func main() {
	listen := flag.String("listen", "", "serve the callbacks at this `address` (default 127.0.0.1:8080, with the portal in memory any free port)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, os.Getenv, os.Stderr); err != nil {
		log.Fatal("app: ", err)
	}
}

func run(ctx context.Context, listen string, getenv func(string) string, out io.Writer) error {
	logger := slog.New(slog.NewTextHandler(out, nil))
	a, err := configure(getenv, logger)
	if err != nil {
		return err
	}
	if a == nil {
		return demo(ctx, cmp.Or(listen, "127.0.0.1:0"), logger)
	}
	l, err := net.Listen("tcp", cmp.Or(listen, "127.0.0.1:8080"))
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	return a.serve(ctx, l)
}

// hello is an event of the application's own. Others carry what the application
// needs.
type hello struct {
	Text string `json:"text"`
}

const helloCommand = "app.hello"

// handler is what the application does with the events of a portal.
func handler(p fleet.Portal) realtime.Handler {
	mux := realtime.NewMux()
	realtime.On(mux, "application", helloCommand, func(_ context.Context, h hello, _ realtime.Message) error {
		p.Log.Info(helloCommand, "text", h.Text)
		return nil
	})
	mux.HandleDefault(realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		p.Log.Info("no handler", "event", m)
		return nil
	}))
	return mux
}

// greet is what the application does as soon as no event of a portal can be
// missed: it has the portal send one to all who use the application.
func greet(ctx context.Context, p fleet.Portal) error {
	return p.Client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: helloCommand, Params: hello{"hello from the application"}})
}

// app is what differs between real portals and the one in memory.
type app struct {
	*oauth.Application
	folder  string // of tokens and cursors
	opts    []fleet.Option
	handler func(fleet.Portal) realtime.Handler
	log     *slog.Logger
}

// configure makes the application of the environment, or none if nothing is
// set.
func configure(getenv func(string) string, logger *slog.Logger) (*app, error) {
	env := func(name string) string { return strings.TrimSpace(getenv("B24PULL_" + name)) }
	id, secret, redirect := env("CLIENT_ID"), env("CLIENT_SECRET"), env("REDIRECT_URL")
	folder, server, hosts := env("TOKEN_FOLDER"), env("AUTH_SERVER"), env("PORTALS")
	if cmp.Or(id, secret, redirect, folder, server, hosts) == "" {
		return nil, nil
	}
	if id == "" || secret == "" || redirect == "" {
		return nil, errors.New("set all of B24PULL_CLIENT_ID, B24PULL_CLIENT_SECRET and B24PULL_REDIRECT_URL")
	}
	u, err := url.Parse(redirect)
	if err != nil || u.Host == "" || u.User != nil || redirect != "https://"+u.Host+"/redirect" {
		return nil, errors.New("B24PULL_REDIRECT_URL: want https://HOST/redirect")
	}
	return &app{
		Application: &oauth.Application{
			ClientID: id, ClientSecret: b24pull.Secret(secret), RedirectURL: redirect, AuthServer: server,
			// Any portal may be a stranger's. If all are yours, in a private
			// network, leave the transport out.
			HTTPClient: &http.Client{Transport: b24pull.PublicTransport()},
		},
		folder: cmp.Or(folder, "b24pull-app"),
		opts: []fleet.Option{
			fleet.WithEventURL("https://" + u.Host + "/event"),
			fleet.WithPortals(strings.FieldsFunc(hosts, func(c rune) bool { return c == ',' || c == ' ' })...),
		},
		handler: handler, log: logger,
	}, nil
}

// serve takes callbacks, and listens to the portals whose tokens are stored,
// until ctx is done. What has been received is handled then.
func (a *app) serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	store, err := oauth.NewTokenFolder(a.folder)
	if err != nil {
		return err
	}
	members, err := store.Keys()
	if err != nil {
		return err
	}
	cursors, err := fleet.NewCursorFolder(a.folder)
	if err != nil {
		return err
	}
	left, err := cursors.Keys()
	if err != nil {
		return err
	}
	tokens, err := oauth.NewTokens(a.Application, store)
	if err != nil {
		return err
	}
	// A message whose handler fails is logged and skipped.
	skip := realtime.WithErrorPolicy(func(*realtime.HandlerError, int) realtime.ErrorAction { return realtime.SkipMessage() })
	portals, err := fleet.NewApplication(tokens, a.handler, append(a.opts, fleet.WithLogger(a.log),
		fleet.WithCursors(cursors.Cursors), fleet.WithReady(greet), fleet.WithSubscription(skip))...)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /install", portals.Callback(fleet.InstallPage()))
	mux.Handle("POST /open", portals.Callback(http.HandlerFunc(open)))
	mux.Handle("POST /event", portals.Callback(nil))
	mux.Handle("GET /authorize", portals.Authorize())
	mux.Handle("GET /redirect", portals.Redirect(http.HandlerFunc(open)))
	server := &http.Server{
		Handler: http.MaxBytesHandler(mux, 1<<20), ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	a.log.Info("callbacks are served", "at", "http://"+l.Addr().String())
	portals.Start(ctx, append(members, left...)...) // of those without a token the cursor is removed
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(grace), portals.Shutdown(grace))
}

// open is the application's page.
func open(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!doctype html><title>Application</title><p>The application listens to this portal.")
}
