// Package listen is the subcommand that prints the events of a Bitrix24 portal
// as they arrive.
package listen

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/chosen"
	"github.com/b24pull/b24pull/realtime"
)

const help = `usage: b24pull listen [flags]

listen prints the events of a Bitrix24 portal as they arrive, until Ctrl-C.

With nothing set it starts a portal of its own, in memory, that emits an event
every second and loses its connections now and then. To listen to a real portal
set

    B24PULL_WEBHOOK        https://PORTAL/rest/USER/CODE/, or
    B24PULL_PORTAL         https://PORTAL and
    B24PULL_ACCESS_TOKEN   an access token of an application installed there
                           (it lives an hour)

or give a saved config with -config FILE.

On a real portal an application's channels carry only what the application
itself sends with pull.application.event.add: -emit sends one such event.
Changes of CRM data are not among them; for those there are event.bind and
offline events.

Each line names the sender: backend is the portal, client another client of the
push server, whose messages can look like any of the portal's (from version 4
of the push server on; older ones name no other sender than the portal).

Flags:

`

// Run is the subcommand with its arguments and its surroundings. It returns the
// exit status: 0, 1 if it failed, 2 for a mistake of the caller.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdout: stdout, stderr: stderr}
	return p.run(ctx, args)
}

// program is the command with its surroundings.
type program struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	httpClient     *http.Client      // nil: the default
	options        []realtime.Option // further ones
	pace           time.Duration     // between events of the portal in memory; 0: a second

	configFile string
	json, emit bool
	count      int
}

const (
	exitFailed = 1
	exitUsage  = 2
)

func (p *program) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("listen", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // a mistake gets one line, below
	flags.StringVar(&p.configFile, "config", "", "listen with the config in this JSON `file`: the result object of pull.application.config.get or pull.config.get")
	flags.BoolVar(&p.json, "json", false, "print one JSON object a line")
	flags.BoolVar(&p.emit, "emit", false, "have the portal send one event, with pull.application.event.add (OAuth only)")
	flags.IntVar(&p.count, "n", 0, "stop after so many events (0: never)")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stderr, help)
		flags.SetOutput(p.stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
		err = chosen.Usagef("%w; see -h", err)
	default:
		err = p.checkArgs(flags)
	}
	if err == nil {
		err = p.listen(ctx)
	}
	switch {
	case err == nil, ctx.Err() != nil:
		return 0
	case errors.As(err, new(chosen.UsageError)):
		fmt.Fprintln(p.stderr, "b24pull listen:", err)
		return exitUsage
	default:
		fmt.Fprintln(p.stderr, "b24pull listen:", err)
		return exitFailed
	}
}

func (p *program) checkArgs(flags *flag.FlagSet) error {
	if err := chosen.CheckFlags(flags); err != nil {
		return err
	}
	switch rest := flags.Args(); {
	case len(rest) > 0:
		return chosen.Usagef("unexpected argument %q; see -h", rest[0])
	case p.count < 0:
		return chosen.Usagef("-n must not be negative")
	}
	return nil
}

// listen subscribes and prints.
func (p *program) listen(ctx context.Context) error {
	portal, err := p.portal(ctx)
	if err != nil {
		return err
	}
	defer portal.close()
	notes := &notes{out: p.stderr}
	notes.say("listening to %s", portal.name)
	if portal.note != "" {
		notes.say("%s", portal.note)
	}
	opts := slices.Concat(p.options, portal.options, []realtime.Option{realtime.WithObserver(notes.observe)})
	sub, err := realtime.Subscribe(portal.source, opts...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- p.whenReady(ctx, sub, portal, notes) }()

	err = p.print(ctx, sub)
	cancel()
	return errors.Join(err, ignoreCanceled(<-started))
}

// whenReady does what has to wait until nothing sent is missed.
func (p *program) whenReady(ctx context.Context, sub *realtime.Subscription, portal *target, notes *notes) error {
	if sub.WaitReady(ctx) != nil {
		return nil // the loop has the error
	}
	notes.say("ready: what is sent from now on is printed")
	if p.emit {
		err := portal.client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "listen.hello", Params: map[string]string{"text": "sent by -emit"}})
		if err != nil {
			sub.Close()
			return err
		}
	}
	if portal.ready != nil {
		portal.ready(ctx)
	}
	return nil
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// print prints each event until there are enough, or the subscription ends.
func (p *program) print(ctx context.Context, sub *realtime.Subscription) error {
	printed := 0
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := printEvent(p.stdout, m, p.json); err != nil {
			return err
		}
		if printed++; printed == p.count {
			break
		}
	}
	return nil
}

// target is what to listen to.
type target struct {
	name    string
	note    string // what a newcomer should know of it
	source  realtime.ConfigSource
	options []realtime.Option
	client  *b24pull.Client           // nil where there is no REST
	ready   func(ctx context.Context) // called once the subscription stands
	close   func()
}

// portal chooses by flags and environment.
func (p *program) portal(ctx context.Context) (t *target, err error) {
	from, err := chosen.Choose(chosen.Options{Getenv: p.getenv, HTTPClient: p.httpClient, ConfigFile: p.configFile, Emit: p.emit})
	switch {
	case err != nil:
		return nil, err
	case from == nil:
		t, err = embedded(cmp.Or(p.pace, time.Second))
	case from.Config != nil:
		t = p.withConfig(from)
	case from.Webhook:
		t, err = withWebhook(ctx, from)
	default:
		t = &target{name: from.Name, note: silence, source: from.Client, client: from.Client}
	}
	if err == nil && t.close == nil {
		t.close = func() {}
	}
	return t, err
}

const silence = "the application's channels carry only what the application itself sends with pull.application.event.add (try -emit); for changes of CRM data use event.bind or offline events"

// withWebhook listens to the application's channels where the portal gives them
// to a webhook, and otherwise to those of the webhook's user.
func withWebhook(ctx context.Context, from *chosen.Portal) (*target, error) {
	t := &target{name: from.Name, note: silence, source: from.Client, client: from.Client}
	_, err := from.Client.GetApplicationConfig(ctx, true)
	if errors.Is(err, b24pull.ErrWrongAuthType) {
		t.source = realtime.PortalConfig(from.Client)
		t.note = "the portal gives the application's channels to OAuth only; these are the channels of the webhook's user: what the portal sends to that user's browser. For changes of CRM data use event.bind or offline events"
		return t, nil
	}
	return t, err
}

// withConfig listens by a saved config.
func (p *program) withConfig(from *chosen.Portal) *target {
	t := &target{name: from.Name, source: realtime.FromConfig(from.Config)}
	for _, c := range []*b24pull.Channel{from.Config.Channels.Private, from.Config.Channels.Shared} {
		if c != nil && !c.End.IsZero() && time.Now().After(c.End) {
			t.note = "a channel in it ended at " + c.End.Format(time.RFC3339) + ": the server may refuse it, or nothing may come"
		}
	}
	if p.httpClient != nil {
		t.options = append(t.options, realtime.WithHTTPClient(p.httpClient))
	}
	return t
}
