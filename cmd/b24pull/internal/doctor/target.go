package doctor

import (
	"os"
	"strings"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// target is what is checked.
type target struct {
	name     string
	client   *b24pull.Client // nil where there is no REST
	options  []doctor.Option
	embedded bool // a portal of our own, to which events may be sent
	close    func()
}

// target chooses by flags and environment.
func (p *program) target() (t *target, err error) {
	env := func(name string) string { return strings.TrimSpace(p.getenv(name)) }
	webhook, portal, token := env("B24PULL_WEBHOOK"), env("B24PULL_PORTAL"), env("B24PULL_ACCESS_TOKEN")
	oauth := portal != "" || token != ""
	switch {
	case p.configFile != "" && p.emit:
		return nil, usagef("-emit needs a portal to ask, and -config has none")
	case p.configFile != "":
		t, err = p.fromFile()
	case webhook != "" && oauth:
		return nil, usagef("set either B24PULL_WEBHOOK, or B24PULL_PORTAL and B24PULL_ACCESS_TOKEN")
	case webhook != "" && p.emit:
		return nil, usagef("-emit needs an application: set B24PULL_PORTAL and B24PULL_ACCESS_TOKEN in place of B24PULL_WEBHOOK")
	case webhook != "":
		t, err = p.ofPortal("B24PULL_WEBHOOK", " with a webhook", b24pull.Webhook(webhook))
	case oauth && (portal == "" || token == ""):
		return nil, usagef("B24PULL_PORTAL and B24PULL_ACCESS_TOKEN go together")
	case oauth:
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
		t, err = p.ofPortal("B24PULL_PORTAL", " as an application", b24pull.OAuth(portal, tokens))
	default:
		t, err = embedded()
	}
	if err == nil && t.close == nil {
		t.close = func() {}
	}
	return t, err
}

func (p *program) ofPortal(variable, as string, auth b24pull.Auth) (*target, error) {
	var opts []b24pull.Option
	if p.httpClient != nil {
		opts = append(opts, b24pull.WithHTTPClient(p.httpClient))
	}
	client, err := b24pull.New(auth, opts...)
	if err != nil {
		return nil, usagef("%s: %w", variable, err)
	}
	return &target{name: client.Portal() + as, client: client}, nil
}

func (p *program) fromFile() (*target, error) {
	data, err := os.ReadFile(p.configFile)
	if err != nil {
		return nil, usagef("-config: %w", err)
	}
	cfg := new(b24pull.Config)
	if err := cfg.UnmarshalJSON(data); err != nil { // json.Unmarshal would refuse a byte order mark
		return nil, usagef("-config %s: %w", p.configFile, err)
	}
	t := &target{name: "the push server in " + p.configFile, options: []doctor.Option{doctor.WithConfig(cfg)}}
	if p.httpClient != nil {
		t.options = append(t.options, doctor.WithHTTPClient(p.httpClient))
	}
	return t, nil
}

// embedded is a portal in memory.
func embedded() (*target, error) {
	portal := pulltest.NewPortal()
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		portal.Close()
		return nil, err
	}
	return &target{
		name:     "a portal in memory, since neither B24PULL_WEBHOOK nor B24PULL_PORTAL is set",
		client:   client,
		embedded: true,
		close: func() {
			portal.HTTPClient().CloseIdleConnections()
			portal.Close()
		},
	}, nil
}
