// Package portal is the subcommand that runs Bitrix24 portals of package
// pulltest for tests in any language, with an API over HTTP to control them.
package portal

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal/control"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal/page"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

const help = `usage: b24pull portal [flags]

portal runs a Bitrix24 portal for tests in any language: its REST methods for
the pull API, a push server of any version, and the authorization server of its
application. Beside it stands an API over HTTP that does to it whatever a test
needs: publish, cut connections, fail, expire tokens, replace channels, …

When everything listens, one line of JSON is printed on stdout:

    {"control":"http://127.0.0.1:…","ca_file":"…","portals":[{"name":…,"url":…,
    "webhook":…,"client_id":…,"access_token":…,…}]}

It holds the secrets that the program under test needs. Clients that insist on
https are told of the certificate authority in ca_file: by NODE_EXTRA_CA_CERTS
for Node, SSL_CERT_FILE for Go and Python, -d curl.cainfo= for PHP, --cacert for
curl.

The control address has a page for people, and /openapi.json for programs.
docs/portal.md has it all with examples. Ctrl-C or SIGTERM ends it, with exit
status 0.

Each flag can be set in the environment, too: -ca-file is
B24PULL_PORTAL_CA_FILE, true or false for flags without a value. The command
line comes before the environment.

Flags:

`

// Run is the subcommand with its arguments and its environment, as of
// os.Environ. It returns the exit status: 0 when it was told to end, 1 if it
// failed, 2 for a mistake of the caller.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	o := defaults()
	flags := o.flags()
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, help)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return 0
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case err == nil:
		err = fromEnvironment(flags, environ)
	}
	var specs []control.Spec
	if err == nil {
		flags.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
		specs, err = o.specs()
	}
	if err != nil {
		fmt.Fprintf(stderr, "b24pull portal: %v; see -h\n", err)
		return exitUsage
	}
	if err := o.run(ctx, specs, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "b24pull portal:", err)
		return exitFailed
	}
	return 0
}

// ready is the line on stdout.
type ready struct {
	Control string         `json:"control"`
	CAFile  string         `json:"ca_file,omitempty"`
	Portals []control.Info `json:"portals"`
}

// run serves until the context is done.
func (o *options) run(ctx context.Context, specs []control.Spec, stdout, stderr io.Writer) error {
	listener, err := net.Listen("tcp", o.control)
	if err != nil {
		return fmt.Errorf("-control: %w", err)
	}
	defer listener.Close()
	portals, remove, err := o.portals()
	if err != nil {
		return err
	}
	defer remove()
	defer portals.Close()
	for _, spec := range specs {
		info, err := portals.Start(spec)
		if err != nil {
			return err
		}
		fmt.Fprintf(stderr, "portal %s: version %d at %s\n", info.Name, info.Version, info.URL)
	}
	at := "http://" + reachable(listener.Addr())
	server := &http.Server{
		Handler:           control.New(portals, o.controlHosts(), page.Handler),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends streams, too
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := json.NewEncoder(stdout).Encode(ready{at, o.caFile, portals.List()}); err != nil {
		server.Close()
		return fmt.Errorf("cannot print the ready line: %w", err)
	}
	fmt.Fprintf(stderr, "control: %s has a page, and the API\n", at)
	select {
	case err = <-served:
		return fmt.Errorf("control: %w", err)
	case <-ctx.Done():
	}
	return shutdown(server)
}

// reachable is an address as one calls it from this machine.
func reachable(at net.Addr) string {
	if tcp, ok := at.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return at.String()
}

// shutdown lets requests end that are under way, for a moment.
func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	return nil
}

// portals is an empty set, whose certificates are those of the flags or signed
// by an authority made up here. remove removes its file if nobody has asked for
// it by its name.
func (o *options) portals() (portals *control.Portals, remove func(), err error) {
	remove = func() {}
	if o.own != nil {
		return control.NewPortals(func(...string) (tls.Certificate, error) { return *o.own, nil }, nil), remove, nil
	}
	a, err := newAuthority()
	if err != nil {
		return nil, nil, err
	}
	if o.caFile == "" {
		f, err := os.CreateTemp("", "b24pull-portal-*.pem")
		if err != nil {
			return nil, nil, fmt.Errorf("cannot make a file for the certificate authority: %w", err)
		}
		f.Close()
		o.caFile = f.Name()
		remove = func() { os.Remove(o.caFile) }
	}
	if err := os.WriteFile(o.caFile, a.pem(), 0o644); err != nil {
		remove()
		return nil, nil, fmt.Errorf("-ca-file: %w", err)
	}
	return control.NewPortals(a.certify, a.pem()), remove, nil
}

// controlHosts are the names that requests to the control API may be for,
// besides loopback.
func (o *options) controlHosts() []string {
	var hosts []string
	for _, name := range o.hosts {
		hosts = append(hosts, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	if host, _, err := net.SplitHostPort(o.control); err == nil && host != "" {
		hosts = append(hosts, strings.ToLower(host))
	}
	return hosts
}
