package portal

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal/control"
)

// options are what the flags say.
type options struct {
	control           string
	hosts             words
	caFile            string
	certFile, keyFile string
	file              string   // portals in JSON
	several           []string // of -portal
	answers           string

	users     string
	processes string
	spec      control.Spec // of the one portal, or what several have in common

	given map[string]bool // the flags that are set
	own   *tls.Certificate
}

func defaults() *options {
	return &options{given: make(map[string]bool), control: "127.0.0.1:0", spec: control.Spec{Name: "portal", Version: 4, Address: ""}}
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("portal", flag.ContinueOnError)
	f.SetOutput(io.Discard) // a mistake gets one line
	f.StringVar(&o.control, "control", o.control, "`host:port` of the control API; port 0 takes a free one")
	f.Var(&o.hosts, "control-host", "`names`, with commas between them, by which the control API may be called besides localhost")
	f.StringVar(&o.caFile, "ca-file", "", "write the certificate authority to this `file`, as PEM; a temporary one if empty")
	f.StringVar(&o.certFile, "cert", "", "a certificate of your own for https, a PEM `file`, in place of those made up; with -cert-key")
	f.StringVar(&o.keyFile, "cert-key", "", "its private key, a PEM `file`")
	f.StringVar(&o.spec.Name, "name", o.spec.Name, "`name` of the portal in the control API")
	f.Var((*version)(&o.spec.Version), "version", "version of the push server, 1 to 5")
	f.StringVar(&o.spec.Address, "address", "", "`host:port` for https; a free loopback port if empty")
	f.StringVar(&o.spec.Hostname, "hostname", "", "`name` that the portal calls itself by, where it is not that of the address")
	f.StringVar(&o.spec.PlainAddress, "http", "", "`host:port` for plain http, beside https")
	f.BoolVar(&o.spec.PlainURLs, "http-urls", false, "all addresses that the portal tells of itself are plain http; with -http")
	f.StringVar(&o.spec.PushPath, "push-path", "", "`path` below which the push server lives (default /push); / for /sub/, /pub/, /rest/ and /server-stat/ at the root")
	f.StringVar(&o.spec.Key, "key", "", "the `key` that the portal shares with its push server, to sign channels")
	f.StringVar(&o.spec.Seed, "seed", "", "any `text`: makes the channel ids the same in every run")
	f.StringVar(&o.users, "users", "", "a `file` of the portal's users: [{\"id\":1,\"name\":\"Ann\",\"admin\":true},…], the first is who the webhook acts for; or that JSON itself")
	f.Var((*words)(&o.spec.Scopes), "scope", "`scopes` of the application and the webhook, with commas between them (default pull,pull_channel,user)")
	f.BoolVar(&o.spec.Shared, "shared", false, "a push server that many portals share, as in the cloud")
	f.BoolVar(&o.spec.Hostile, "hostile", false, "wider holes than real servers have, disorder of 1 s, two processes of each kind, a ping every 5 s")
	f.StringVar(&o.processes, "processes", "", "processes of the push server, `subscribers,publishers` (default 1,1, with -hostile 2,2)")
	f.StringVar(&o.answers, "answers", "", "a `file` of results of further REST methods: {\"crm.deal.get\": {…}}; or that JSON itself")
	f.StringVar(&o.file, "portals", "", "a `file` with a list of portals, as POST /v1/portals takes each; or that JSON itself. The flags above are for portals that do not say")
	f.Func("portal", "one of several portals, `name:version:host:port`, the address may be left out; can be repeated", func(text string) error {
		o.several = append(o.several, text)
		return nil
	})
	return f
}

// version is a flag: the version of a push server.
type version int

func (v *version) String() string { return strconv.Itoa(int(*v)) }

func (v *version) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 5 {
		return fmt.Errorf("want a number from 1 to 5, not %q", text)
	}
	*v = version(n)
	return nil
}

// words is a flag: words with commas between them.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(text string) error {
	*w = strings.Split(text, ",")
	if slices.Contains(*w, "") {
		return fmt.Errorf("an empty word in %q", text)
	}
	return nil
}

const prefix = "B24PULL_PORTAL_"

// fromEnvironment sets the flags that the command line has not. A variable that
// is no flag is an error: it is a slip of the pen. Kubernetes sets some for the
// containers beside a service that is called b24pull-portal.
func fromEnvironment(flags *flag.FlagSet, environ []string) error {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, entry := range environ {
		variable, value, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, prefix)
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if !ours || value == "" || name == "port" || strings.HasPrefix(name, "port-") || strings.HasPrefix(name, "service-") {
			continue
		}
		switch {
		case flags.Lookup(name) == nil:
			return fmt.Errorf("the environment has %s, and there is no flag -%s", variable, name)
		case given[name]:
			continue
		}
		if err := flags.Set(name, value); err != nil {
			if b, ok := flags.Lookup(name).Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
				err = fmt.Errorf("want true or false, not %q", value)
			}
			return fmt.Errorf("%s: %w", variable, err)
		}
	}
	return nil
}
