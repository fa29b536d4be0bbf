package doctor

import (
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/chosen"
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
func (p *program) target() (*target, error) {
	from, err := chosen.Choose(chosen.Options{Getenv: p.getenv, HTTPClient: p.httpClient, ConfigFile: p.configFile, Emit: p.emit})
	switch {
	case err != nil:
		return nil, err
	case from == nil:
		return embedded()
	}
	t := &target{name: from.Name, client: from.Client, close: func() {}}
	if from.Config != nil {
		t.options = append(t.options, doctor.WithConfig(from.Config))
		if p.httpClient != nil {
			t.options = append(t.options, doctor.WithHTTPClient(p.httpClient))
		}
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
