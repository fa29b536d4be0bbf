// Package chosen finds out which portal a subcommand is to work with, by its
// flags and by the environment.
package chosen

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
)

// UsageError is what the caller of a subcommand has to correct.
type UsageError struct{ error }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Options are what a subcommand was told.
type Options struct {
	Getenv     func(string) string
	HTTPClient *http.Client // nil: the default
	ConfigFile string
	Emit       bool // a portal is wanted that can be asked to send
}

// A Portal is what was chosen: one with a client, or a push server by its
// config.
type Portal struct {
	Name    string
	Client  *b24pull.Client // nil where there is no REST
	Webhook bool            // the client has a webhook, not a token
	Config  *b24pull.Config // nil where there is a client
}

// CheckFlags reports a -config that was given and names no file, which would be
// taken for none.
func CheckFlags(flags *flag.FlagSet) error {
	empty := false
	flags.Visit(func(f *flag.Flag) { empty = empty || f.Name == "config" && f.Value.String() == "" })
	if empty {
		return Usagef("-config: the name of the file is empty")
	}
	return nil
}

// Choose returns what was chosen, nil if nothing was.
func Choose(o Options) (*Portal, error) {
	env := func(name string) string { return strings.TrimSpace(o.Getenv(name)) }
	webhook, portal, token := env("B24PULL_WEBHOOK"), env("B24PULL_PORTAL"), env("B24PULL_ACCESS_TOKEN")
	oauth := portal != "" || token != ""
	switch {
	case o.ConfigFile != "" && o.Emit:
		return nil, Usagef("-emit needs a portal to ask, and -config has none")
	case o.ConfigFile != "":
		return fromFile(o.ConfigFile)
	case webhook != "" && oauth:
		return nil, Usagef("set either B24PULL_WEBHOOK, or B24PULL_PORTAL and B24PULL_ACCESS_TOKEN")
	case webhook != "" && o.Emit:
		return nil, Usagef("-emit needs an application: set B24PULL_PORTAL and B24PULL_ACCESS_TOKEN in place of B24PULL_WEBHOOK")
	case webhook != "":
		p, err := o.withClient("B24PULL_WEBHOOK", " with a webhook", b24pull.Webhook(webhook))
		if err == nil {
			p.Webhook = true
		}
		return p, err
	case oauth && (portal == "" || token == ""):
		return nil, Usagef("B24PULL_PORTAL and B24PULL_ACCESS_TOKEN go together")
	case oauth:
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
		return o.withClient("B24PULL_PORTAL", " as an application", b24pull.OAuth(portal, tokens))
	}
	return nil, nil
}

// withClient is the portal in a variable of the environment.
func (o Options) withClient(variable, as string, auth b24pull.Auth) (*Portal, error) {
	var opts []b24pull.Option
	if o.HTTPClient != nil {
		opts = append(opts, b24pull.WithHTTPClient(o.HTTPClient))
	}
	client, err := b24pull.New(auth, opts...)
	if err != nil {
		return nil, Usagef("%s: %w", variable, err)
	}
	return &Portal{Name: client.Portal() + as, Client: client}, nil
}

// MaxConfig is more bytes than any config has.
const MaxConfig = 8 << 20

func fromFile(name string) (*Portal, error) {
	data, err := readConfig(name)
	if err != nil {
		return nil, Usagef("-config: %w", err)
	}
	cfg := new(b24pull.Config)
	if err := cfg.UnmarshalJSON(data); err != nil { // json.Unmarshal would refuse a byte order mark
		return nil, Usagef("-config %s: %w", name, err)
	}
	return &Portal{Name: "the push server in " + name, Config: cfg}, nil
}

func readConfig(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxConfig+1))
	if err == nil && len(data) > MaxConfig {
		err = fmt.Errorf("%s has more than %d MiB: it is no config", name, MaxConfig>>20)
	}
	return data, err
}
