package oauth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// An installation is a portal over real sockets and the application's handler
// for its callbacks.
type installation struct {
	portal  *pulltest.Portal
	tokens  *oauth.Tokens
	handler string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	p := pulltest.NewPortal()
	t.Cleanup(p.Close)
	t.Cleanup(p.HTTPClient().CloseIdleConnections)
	store, err := oauth.NewTokenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	app := &oauth.Application{ClientID: p.Application().ClientID, ClientSecret: b24pull.Secret(p.Application().ClientSecret),
		AuthServer: p.AuthServer(), HTTPClient: p.HTTPClient()}
	tokens, err := oauth.NewTokens(app, store)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := oauth.ParseCallback(r)
		if err == nil {
			err = tokens.Handle(r.Context(), c)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	return &installation{p, tokens, server.URL}
}

// caller returns a call with the installation's token.
func (i *installation) caller(t *testing.T) func() error {
	t.Helper()
	client, err := b24pull.New(b24pull.OAuth(i.portal.URL(), i.tokens.Source(i.portal.MemberID())),
		b24pull.WithHTTPClient(i.portal.HTTPClient()), b24pull.WithLimiter(nil))
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		_, err := client.GetApplicationConfig(t.Context(), true)
		return err
	}
}

// TestInstallation_InstallOverSockets: the form and the event of one installation come at
// once, and the portal is believed when it uninstalls.
func TestInstallation_InstallOverSockets(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	rounds := 10
	if resttest.Thorough {
		rounds = 40
	}
	for range rounds {
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := i.portal.Install(t.Context(), i.handler); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := i.portal.InstallByEvent(t.Context(), i.handler); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		token, err := i.tokens.Get(t.Context(), i.portal.MemberID())
		if err != nil || string(token.ApplicationToken) != i.portal.Application().ApplicationToken {
			t.Fatalf("installed: %v, %v", token, err)
		}
		if err := i.portal.Uninstall(t.Context(), i.handler); err != nil {
			t.Errorf("uninstalled: %v", err)
		}
		if _, err := i.tokens.Get(t.Context(), i.portal.MemberID()); !errors.Is(err, b24pull.ErrNoToken) {
			t.Errorf("uninstalled: %v", err)
		}
	}
}

// TestInstallation_OpenedAfterLostAnswer: the way out that ErrInvalidGrant names is one, and
// the portal can still uninstall the application.
func TestInstallation_OpenedAfterLostAnswer(t *testing.T) {
	t.Parallel()
	for name, install := range map[string]func(*installation) error{
		"form":  func(i *installation) error { return i.portal.Install(t.Context(), i.handler) },
		"event": func(i *installation) error { return i.portal.InstallByEvent(t.Context(), i.handler) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstallation(t)
			if err := install(i); err != nil {
				t.Fatal(err)
			}
			call := i.caller(t)
			i.portal.ExpireToken()
			i.portal.Misbehave(pulltest.OAuth, pulltest.LoseAnswer)
			if err := call(); err == nil {
				t.Error("the answer is not lost")
			}
			i.portal.Behave(pulltest.OAuth)
			if err := call(); !errors.Is(err, b24pull.ErrInvalidGrant) {
				t.Errorf("after the lost answer: %v", err)
			}
			if err := i.portal.Open(t.Context(), i.handler); err != nil {
				t.Errorf("opened: %v", err)
			}
			if err := call(); err != nil {
				t.Errorf("after it was opened: %v", err)
			}
			if err := i.portal.Uninstall(t.Context(), i.handler); err != nil {
				t.Errorf("uninstalled: %v", err)
			}
			if err := call(); !errors.Is(err, b24pull.ErrUninstalled) {
				t.Errorf("after it was uninstalled: %v", err)
			}
		})
	}
}

// TestInstallation_ReinstalledUnseen: the application was away when the portal uninstalled
// it.
func TestInstallation_ReinstalledUnseen(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*installation) error{
		"installed": func(i *installation) error { return i.portal.Install(t.Context(), i.handler) },
		"opened": func(i *installation) error {
			i.portal.InstallByEvent(t.Context(), "http://127.0.0.1:1/") // the event is lost too
			return i.portal.Open(t.Context(), i.handler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstallation(t)
			if err := i.portal.Install(t.Context(), i.handler); err != nil {
				t.Fatal(err)
			}
			call := i.caller(t)
			if err := call(); err != nil {
				t.Error(err)
			}
			if err := i.portal.Uninstall(t.Context(), "http://127.0.0.1:1/"); err == nil {
				t.Error("the event has come")
			}
			if err := call(); !errors.Is(err, b24pull.ErrNoAuth) {
				t.Errorf("after it was uninstalled: %v", err)
			}
			if err := again(i); err != nil {
				t.Error(err)
			}
			if err := call(); err != nil {
				t.Errorf("after it was %s: %v", name, err)
			}
		})
	}
}
