package control

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/b24pull/b24pull/pulltest"
)

// MostPortals is how many portals there may be at once.
const MostPortals = 64

// Portals are those that run, in the order of their beginning.
type Portals struct {
	certify   Certify
	authority []byte // PEM

	mu     sync.Mutex
	open   []*running
	begun  map[string]bool // names of those that are being started
	closed bool
}

// running is a portal at work.
type running struct {
	*pulltest.Portal
	spec    Spec
	journal *journal
	streams atomic.Int64
}

// end ends a portal, and the streams of what happens on it.
func (p *running) end() {
	p.Close()
	p.journal.end()
}

// Certify makes a certificate for names and addresses; for loopback it is
// anyway.
type Certify func(names ...string) (tls.Certificate, error)

// NewPortals returns an empty set. The portals' certificates are those that
// certify makes, or made up by each portal if it is nil; authority is what signs them, as PEM, nil if that is not known.
func NewPortals(certify Certify, authority []byte) *Portals {
	return &Portals{certify: certify, authority: authority, begun: make(map[string]bool)}
}

// Start starts one more portal.
func (ps *Portals) Start(spec Spec) (Info, error) {
	if err := spec.check(); err != nil {
		return Info{}, err
	}
	if err := ps.begin(spec.Name); err != nil {
		return Info{}, err
	}
	p, err := ps.launch(spec)
	ps.mu.Lock()
	delete(ps.begun, spec.Name)
	closed := ps.closed
	if err == nil && !closed {
		ps.open = append(ps.open, p)
	}
	ps.mu.Unlock()
	switch {
	case err != nil:
		return Info{}, fmt.Errorf("portal %q: %w", spec.Name, err)
	case closed:
		p.end()
		return Info{}, refuse(http.StatusServiceUnavailable, "closing", "the program is ending")
	}
	return p.info(), nil
}

func (ps *Portals) launch(spec Spec) (*running, error) {
	opts := spec.options()
	if ps.certify != nil {
		certificate, err := ps.certify(spec.names()...)
		if err != nil {
			return nil, err
		}
		opts = append(opts, pulltest.WithCertificate(certificate))
	}
	p := &running{spec: spec, journal: newJournal()}
	var failed error
	err := attempt(func() {
		p.Portal, failed = pulltest.Start(append(opts, pulltest.WithObserver(p.journal.add))...)
	})
	if err == nil && failed == nil {
		p.canned()
	}
	if failed != nil {
		err = refuse(http.StatusBadRequest, "not_possible", "%s", inWordsOfHere(strings.TrimPrefix(failed.Error(), "pulltest: ")))
	}
	return p, err
}

// canned gives the answers that the spec has.
func (p *running) canned() {
	for method, result := range p.spec.Answers {
		p.Answer(method, result)
	}
}

// begin takes the name.
func (ps *Portals) begin(name string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case ps.begun[name] || ps.find(name) >= 0:
		return refuse(http.StatusConflict, "name_taken", "name: there is a portal %q already; take another name, or DELETE that one", name)
	case len(ps.open)+len(ps.begun) >= MostPortals:
		return refuse(http.StatusConflict, "too_many", "there are %d portals already; DELETE one", MostPortals)
	}
	ps.begun[name] = true
	return nil
}

// Stop ends a portal.
func (ps *Portals) Stop(name string) error {
	ps.mu.Lock()
	i := ps.find(name)
	if i < 0 {
		ps.mu.Unlock()
		return noPortal(name)
	}
	p := ps.open[i]
	ps.open = slices.Delete(ps.open, i, i+1)
	ps.mu.Unlock()
	p.end()
	return nil
}

// Close ends all portals, and lets no other begin.
func (ps *Portals) Close() {
	ps.mu.Lock()
	open := ps.open
	ps.open, ps.closed = nil, true
	ps.mu.Unlock()
	for _, p := range open {
		p.end()
	}
}

// List describes the portals.
func (ps *Portals) List() []Info {
	ps.mu.Lock()
	open := slices.Clone(ps.open)
	ps.mu.Unlock()
	infos := make([]Info, len(open))
	for i, p := range open {
		infos[i] = p.info()
	}
	return infos
}

func (ps *Portals) get(name string) (*running, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if i := ps.find(name); i >= 0 {
		return ps.open[i], nil
	}
	return nil, noPortal(name)
}

func (ps *Portals) find(name string) int {
	return slices.IndexFunc(ps.open, func(p *running) bool { return p.spec.Name == name })
}

func noPortal(name string) error {
	return refuse(http.StatusNotFound, "no_portal", "there is no portal %q; GET /v1/portals lists them", short(name))
}

// Info is what a client needs to know of a portal. It holds the secrets that
// are to be given to the program under test.
type Info struct {
	Name             string   `json:"name"`
	Version          int      `json:"version" doc:"Version of the push server."`
	URL              string   `json:"url" doc:"The portal's address, without a trailing slash."`
	PlainURL         string   `json:"plain_url,omitempty" doc:"The same over plain http."`
	PushURL          string   `json:"push_url" doc:"The base of the push server's paths, without a trailing slash."`
	AuthURL          string   `json:"auth_url" doc:"The base of the authorization server, which has /oauth/token/."`
	Webhook          string   `json:"webhook" doc:"An incoming webhook of the first user; method names are appended."`
	APIWebhook       string   `json:"api_webhook" doc:"The same by the address of the newer REST."`
	ClientID         string   `json:"client_id"`
	ClientSecret     string   `json:"client_secret"`
	ApplicationToken string   `json:"application_token"`
	AccessToken      string   `json:"access_token" doc:"An access token of the application for the first user."`
	MemberID         string   `json:"member_id"`
	Shared           bool     `json:"shared" doc:"Whether the push server is one that many portals share."`
	Hostile          bool     `json:"hostile"`
	Scopes           []string `json:"scopes"`
	Users            []User   `json:"users"`
}

func (p *running) info() Info {
	a := p.Application()
	info := Info{
		Name:             p.spec.Name,
		Version:          p.spec.version(),
		URL:              p.URL(),
		PlainURL:         p.PlainURL(),
		PushURL:          p.PushURL(),
		AuthURL:          p.AuthServer(),
		Webhook:          p.Webhook(),
		APIWebhook:       p.APIWebhook(),
		ClientID:         a.ClientID,
		ClientSecret:     a.ClientSecret,
		ApplicationToken: a.ApplicationToken,
		AccessToken:      p.AccessToken(),
		MemberID:         p.MemberID(),
		Shared:           p.spec.Shared,
		Hostile:          p.spec.Hostile,
		Scopes:           p.Scopes(),
	}
	for _, u := range p.Users() {
		info.Users = append(info.Users, User(u))
	}
	return info
}
