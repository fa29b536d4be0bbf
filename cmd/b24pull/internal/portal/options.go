package portal

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
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
}

func defaults() *options {
	return &options{control: "127.0.0.1:0", spec: control.Spec{Name: "portal", Version: 4, Address: ""}}
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
	f.IntVar(&o.spec.Version, "version", o.spec.Version, "version of the push server, 1 to 5")
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
// is no flag is an error: it is a slip of the pen.
func fromEnvironment(flags *flag.FlagSet, environ []string) error {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, entry := range environ {
		variable, value, _ := strings.Cut(entry, "=")
		name, ours := strings.CutPrefix(variable, prefix)
		if !ours || value == "" {
			continue
		}
		name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		switch {
		case flags.Lookup(name) == nil:
			return fmt.Errorf("the environment has %s, and there is no flag -%s", variable, name)
		case given[name]:
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
	}
	return nil
}

// specs are the portals to start.
func (o *options) specs() ([]control.Spec, error) {
	if o.processes != "" {
		subscribers, publishers, _ := strings.Cut(o.processes, ",")
		n := new(control.Processes)
		var err, failed error
		n.Subscribers, err = strconv.Atoi(subscribers)
		n.Publishers, failed = strconv.Atoi(publishers)
		if err != nil || failed != nil {
			return nil, fmt.Errorf("-processes: want two numbers such as 2,2, not %q", o.processes)
		}
		o.spec.Processes = n
	}
	if err := o.readFiles(); err != nil {
		return nil, err
	}
	if o.spec.Version == 0 {
		return nil, fmt.Errorf("version: want 1 to 5")
	}
	if err := o.spec.Check(); err != nil {
		return nil, err
	}
	switch {
	case (o.certFile == "") != (o.keyFile == ""):
		return nil, fmt.Errorf("-cert and -cert-key go together")
	case o.certFile != "" && o.caFile != "":
		return nil, fmt.Errorf("-ca-file is for certificates made up here: leave it out with -cert")
	case o.file != "" && len(o.several) > 0:
		return nil, fmt.Errorf("give -portals or -portal, not both")
	case o.file != "":
		return o.fromFile()
	case len(o.several) > 0:
		return o.fromFlags()
	}
	return []control.Spec{o.spec}, nil
}

// readFiles reads what is too long for a flag.
func (o *options) readFiles() error {
	for _, from := range []struct {
		flag, value string
	}{{"users", o.users}, {"answers", o.answers}} {
		if from.value == "" {
			continue
		}
		data, err := jsonOrFile(from.value)
		if err == nil && !json.Valid(data) {
			err = fmt.Errorf("it is no JSON")
		}
		if err == nil {
			err = control.Decode(fmt.Appendf(nil, "{%q:%s,\"name\":%q}", from.flag, data, o.spec.Name), &o.spec)
		}
		if err != nil {
			return fmt.Errorf("-%s: %w", from.flag, err)
		}
	}
	return nil
}

// fromFile are the portals of -portals.
func (o *options) fromFile() ([]control.Spec, error) {
	data, err := jsonOrFile(o.file)
	if err != nil {
		return nil, fmt.Errorf("-portals: %w", err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("-portals: want a list of objects: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("-portals: the list is empty")
	}
	var specs []control.Spec
	for i, one := range list {
		spec := o.spec
		err := control.Decode(one, &spec)
		if err == nil {
			err = spec.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("-portals: portal %d: %w", i+1, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// fromFlags are the portals of -portal.
func (o *options) fromFlags() ([]control.Spec, error) {
	var specs []control.Spec
	for _, text := range o.several {
		spec := o.spec
		parts := strings.SplitN(text, ":", 3)
		spec.Name = parts[0]
		if len(parts) > 1 {
			version, err := strconv.Atoi(parts[1])
			if err != nil || version == 0 { // to a Spec 0 is none
				return nil, fmt.Errorf("-portal %q: want name:version:host:port, with a version of 1 to 5", text)
			}
			spec.Version = version
		}
		if len(parts) > 2 {
			spec.Address = parts[2]
		}
		if err := spec.Check(); err != nil {
			return nil, fmt.Errorf("-portal %q: %w", text, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// jsonOrFile reads a file, if what it is given is not JSON itself.
func jsonOrFile(text string) ([]byte, error) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return []byte(text), nil
	}
	data, err := os.ReadFile(text)
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), err
}
