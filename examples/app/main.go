// Command app is an application that Bitrix24 portals install: it keeps their
// tokens, listens to each of them, and forgets one that uninstalls it.
//
// With nothing set it goes through all that with a portal of its own, in
// memory, and ends. To serve real portals set
//
//	B24PULL_CLIENT_ID           of the application, as it was registered
//	B24PULL_CLIENT_SECRET
//	B24PULL_REDIRECT_URL        https://HOST/redirect, as it was registered
//	B24PULL_TOKEN_FOLDER        for tokens and cursors, which are secret; the default is b24pull-app
//	B24PULL_APPLICATION_TOKEN   of an application for one portal, where no ONAPPINSTALL tells it
//	B24PULL_PORTALS             hosts of portals like portal.example or *.company.example, separated by commas, beside those of the cloud
//	B24PULL_AUTH_SERVER         the default is https://oauth.bitrix.info, for the East https://oauth.bitrix24.tech
//	B24PULL_PRIVATE_NETWORK     anything, where portals of your own are in a private network: else only public addresses are connected to
//
// have https://HOST lead to the address of -listen, and register these
// addresses:
//
//	https://HOST/install   the installation of the application, by a form or by ONAPPINSTALL
//	https://HOST/open      the application itself
//
// Events like ONAPPUNINSTALL come to https://HOST/event, which portals are told
// with event.bind. The address
// https://HOST/authorize?portal=portal.bitrix24.com lets a user authorize the
// application by the way of a code: on a portal that has installed it, on one
// of the cloud, and on those of B24PULL_PORTALS, but nowhere else. A portal
// that moves is followed into the cloud and to those of B24PULL_PORTALS.
//
// Each portal is listened to until it uninstalls the application, or until
// Ctrl-C. When the program starts again it goes on with all portals where it
// stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

const help = `app is an application that Bitrix24 portals install. With nothing set it installs itself on a portal in memory.
For real ones set B24PULL_CLIENT_ID, B24PULL_CLIENT_SECRET and B24PULL_REDIRECT_URL.

`

// program is the command with its surroundings.
type program struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	httpClient     *http.Client // nil: the default

	listen string

	saying sync.Mutex
}

const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is what the caller has to correct.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (p *program) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // a mistake gets one line, below
	flags.StringVar(&p.listen, "listen", "", "serve the callbacks at this `address` (default 127.0.0.1:8080, with the portal in memory any free port)")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stderr, help)
		flags.SetOutput(p.stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
		err = usagef("%w; see -help", err)
	case flags.NArg() > 0:
		err = usagef("unexpected argument %q; see -help", flags.Arg(0))
	default:
		err = p.choose(ctx)
	}
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintln(p.stderr, "app:", err)
		return exitUsage
	default:
		fmt.Fprintln(p.stderr, "app:", err)
		return exitFailed
	}
}

// choose serves real portals if the environment tells the application, and else
// the one in memory.
func (p *program) choose(ctx context.Context) error {
	c, err := p.configure()
	switch {
	case err != nil:
		return err
	case c == nil:
		return p.embedded(ctx)
	}
	s, err := p.serve(ctx, c)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		p.say("stopping: what has been received is handled first")
		err = nil
	case err = <-s.failed:
	}
	return errors.Join(err, s.stop())
}

// say prints a line.
func (p *program) say(format string, args ...any) {
	p.saying.Lock()
	defer p.saying.Unlock()
	fmt.Fprintf(p.stdout, format+"\n", args...)
}
