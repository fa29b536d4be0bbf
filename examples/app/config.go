package main

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// config is what the application is and where it keeps what it knows.
type config struct {
	application      *oauth.Application
	applicationToken b24pull.Secret // "" if the portals tell it
	folder           string
	hosts            []string             // of portals, or *.DOMAIN; to let users authorize there
	events           string               // the public address for events; "" if portals are not to be told
	http             *http.Client         // nil: the default
	heard            func(command string) // called when an event has been handled; may be nil
}

// configure reads the environment. There is no config if nothing is set.
func (p *program) configure() (*config, error) {
	env := func(name string) string { return strings.TrimSpace(p.getenv(name)) }
	needed := []string{"B24PULL_CLIENT_ID", "B24PULL_CLIENT_SECRET", "B24PULL_REDIRECT_URL"}
	var missing []string
	for _, name := range needed {
		if env(name) == "" {
			missing = append(missing, name)
		}
	}
	further := env("B24PULL_TOKEN_FOLDER") + env("B24PULL_APPLICATION_TOKEN") + env("B24PULL_AUTH_SERVER") + env("B24PULL_PORTALS")
	switch {
	case len(missing) == len(needed) && further == "":
		return nil, nil
	case len(missing) > 0:
		return nil, usagef("set %s as well", strings.Join(missing, " and "))
	}
	events, err := url.Parse(env("B24PULL_REDIRECT_URL"))
	if err != nil || events.Scheme != "https" || events.Host == "" || events.Path != "/redirect" || events.RawQuery != "" {
		return nil, usagef("B24PULL_REDIRECT_URL: want https://HOST/redirect")
	}
	events.Path = "/event"
	client := p.httpClient
	if client == nil && env("B24PULL_PRIVATE_NETWORK") == "" {
		client = &http.Client{Transport: b24pull.PublicTransport()} // any portal may be a stranger's
	}
	return &config{
		application: &oauth.Application{
			ClientID: env("B24PULL_CLIENT_ID"), ClientSecret: b24pull.Secret(env("B24PULL_CLIENT_SECRET")),
			RedirectURL: env("B24PULL_REDIRECT_URL"), AuthServer: env("B24PULL_AUTH_SERVER"), HTTPClient: client,
		},
		applicationToken: b24pull.Secret(env("B24PULL_APPLICATION_TOKEN")),
		folder:           cmp.Or(env("B24PULL_TOKEN_FOLDER"), "b24pull-app"),
		hosts:            strings.FieldsFunc(strings.ToLower(env("B24PULL_PORTALS")), func(c rune) bool { return c == ',' || c == ' ' }),
		events:           events.String(),
		http:             client,
	}, nil
}
