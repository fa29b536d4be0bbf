package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// The tests of this file run OAuth against pulltest's authorization server: in
// memory and over real sockets.

// lives is an application that has a token of a portal.
type lives struct {
	*testing.T
	portal *pulltest.Portal
	app    *oauth.Application
	first  *oauth.Token
}

func withPortal(t *testing.T, test func(l *lives), opts ...pulltest.Option) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := pulltest.NewPortal(append(opts, pulltest.WithNetwork(pulltest.NewNetwork()))...)
			defer p.Close()
			test(authorized(t, p))
		})
	})
	t.Run("sockets", func(t *testing.T) {
		t.Parallel()
		p := pulltest.NewPortal(opts...)
		defer p.Close()
		test(authorized(t, p))
	})
}

// authorized goes the way of a code.
func authorized(t *testing.T, p *pulltest.Portal) *lives {
	t.Helper()
	registered := p.Application()
	app := &oauth.Application{ClientID: registered.ClientID, ClientSecret: b24pull.Secret(registered.ClientSecret), RedirectURL: "https://app.example/redirect",
		AuthServer: p.AuthServer(), HTTPClient: p.HTTPClient()}
	to, err := app.AuthCodeURL(p.URL(), "the state")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.HTTPClient().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	code, err := oauth.ParseRedirect(httptest.NewRequest(http.MethodGet, resp.Header.Get("Location"), nil), "the state")
	if err != nil {
		t.Fatal(err)
	}
	first, err := app.Exchange(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if first.Portal != p.URL() || first.MemberID != p.MemberID() || first.UserID != 1 || first.Status != "L" || first.ServerEndpoint != p.AuthServer()+"/rest/" ||
		strings.Join(first.Scope, " ") != "pull pull_channel user" || time.Until(first.Expiry).Round(time.Minute) != time.Hour {
		t.Errorf("got %v", first)
	}
	return &lives{t, p, app, first}
}

// keep returns the Tokens of a store with the first token.
func (l *lives) keep(store oauth.TokenStore) *oauth.Tokens {
	l.Helper()
	ts, err := oauth.NewTokens(l.app, store)
	if err == nil {
		err = ts.Put(l.Context(), l.first.MemberID, l.first)
	}
	if err != nil {
		l.Fatal(err)
	}
	return ts
}

func (l *lives) client(source oauth2.TokenSource) *b24pull.Client {
	l.Helper()
	c, err := b24pull.New(b24pull.OAuth(l.portal.URL(), source), b24pull.WithHTTPClient(l.portal.HTTPClient()), b24pull.WithLimiter(nil))
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lives) read(c *b24pull.Client) error {
	_, err := c.GetApplicationConfig(l.Context(), true)
	return err
}

// A holder still holds a token that has been refreshed long ago.
type holder struct {
	old oauth2.Token
	*oauth.TokenSource
}

func (h holder) Token() (*oauth2.Token, error) { return &h.old, nil }

// TestOAuth_ThousandRefreshOnce: goroutines over five seconds, all of which hold the
// expired token.
func TestOAuth_ThousandRefreshOnce(t *testing.T) {
	t.Parallel()
	withPortal(t, func(l *lives) {
		goroutines, over := 1000, 5*time.Second
		if !resttest.Thorough {
			goroutines, over = resttest.Rounds(200), time.Second
		}
		ts := l.keep(new(oauth.MemoryStore))
		source := ts.Source(l.first.MemberID)
		l.portal.ExpireToken()
		l.portal.Misbehave(pulltest.OAuth, pulltest.Delay(over/5))
		before := l.portal.Stats()
		var wg sync.WaitGroup
		for i := range goroutines {
			wg.Go(func() {
				time.Sleep(over * time.Duration(i) / time.Duration(goroutines))
				if err := l.read(l.client(holder{l.first.Token, source})); err != nil {
					l.Errorf("goroutine %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		after := l.portal.Stats()
		if got := after.TokenRequests - before.TokenRequests; got != 1 || after.Refreshes-before.Refreshes != 1 {
			l.Errorf("%d requests of a token, want 1", got)
		}
		got := after.Calls - before.Calls
		if exact := !strings.HasSuffix(l.Name(), "/sockets"); got < 2*goroutines || exact && got > 2*goroutines { // over sockets a busy machine has some repeated
			l.Errorf("%d calls, want %d: each is refused once", got, 2*goroutines)
		}
	})
}

// TestOAuth_TwoTokensRefreshOnce: what two processes with one TokenFolder do, in one.
func TestOAuth_TwoTokensRefreshOnce(t *testing.T) {
	t.Parallel()
	p := pulltest.NewPortal()
	defer p.Close()
	l, folder := authorized(t, p), t.TempDir()
	var sources []*oauth.TokenSource
	for range 2 {
		store, err := oauth.NewTokenFolder(folder)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, l.keep(store).Source(l.first.MemberID))
	}
	for range resttest.Rounds(3) {
		p.ExpireToken()
		p.Misbehave(pulltest.OAuth, pulltest.Delay(100*time.Millisecond))
		before := p.Stats()
		held, err := sources[0].Token()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range resttest.Rounds(100) {
			wg.Go(func() {
				if err := l.read(l.client(holder{*held, sources[i%2]})); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := p.Stats().TokenRequests - before.TokenRequests; got != 1 {
			t.Errorf("%d requests of a token, want 1", got)
		}
	}
}

// TestOAuth_TokensOfAYear: each refresh brings another refresh token, after the life
// of the access token and no sooner; the one before is dead.
func TestOAuth_TokensOfAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithStringNumbers())
		defer p.Close()
		l := authorized(t, p)
		ts := l.keep(new(oauth.MemoryStore))
		c := l.client(ts.Source(l.first.MemberID))
		last := l.first
		for month := range 12 {
			time.Sleep(30 * 24 * time.Hour)
			for range 3 {
				if err := l.read(c); err != nil {
					t.Fatalf("month %d: %v", month, err)
				}
			}
			stored, err := ts.Get(t.Context(), l.first.MemberID)
			if err != nil || stored.RefreshToken == last.RefreshToken || p.Stats().Refreshes != month+1 {
				t.Errorf("month %d: %v, %d refreshes", month, err, p.Stats().Refreshes)
			}
			if _, err := l.app.Refresh(t.Context(), last); !errors.Is(err, b24pull.ErrInvalidGrant) {
				t.Errorf("month %d: the refresh token of before: %v", month, err)
			}
			last = stored
		}
		time.Sleep(181 * 24 * time.Hour)
		if err := l.read(c); !errors.Is(err, b24pull.ErrInvalidGrant) {
			t.Errorf("after half a year: %v", err)
		}
	})
}

// TestOAuth_LostAnswer: the error names the way out, which is another token.
func TestOAuth_LostAnswer(t *testing.T) {
	t.Parallel()
	withPortal(t, func(l *lives) {
		ts := l.keep(new(oauth.MemoryStore))
		c := l.client(ts.Source(l.first.MemberID))
		for _, fault := range []pulltest.Fault{pulltest.LoseAnswer, pulltest.Garble} {
			l.portal.ExpireToken()
			l.portal.Misbehave(pulltest.OAuth, fault)
			before := l.portal.Stats().TokenRequests
			err := l.read(c)
			if err == nil || !strings.Contains(err.Error(), "the new token may be lost with the answer") || !strings.Contains(err.Error(), "have a user open or authorize") {
				l.Errorf("got %v", err)
			}
			if asked := l.portal.Stats().TokenRequests - before; asked != 1 {
				l.Errorf("asked %d times", asked)
			}
			l.portal.Behave(pulltest.OAuth)
			for range 2 {
				if err := l.read(c); !errors.Is(err, b24pull.ErrInvalidGrant) || b24pull.ClassOf(err) != b24pull.ClassFinal {
					l.Errorf("the next: %v", err)
				}
			}
			again := authorized(l.T, l.portal)
			if err := ts.Put(l.Context(), again.first.MemberID, again.first); err != nil {
				l.Error(err)
			}
			if err := l.read(c); err != nil {
				l.Errorf("authorized again: %v", err)
			}
		}
	})
}

// TestOAuth_Outage of the authorization server: nothing is lost.
func TestOAuth_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer p.Close()
		l := authorized(t, p)
		c := l.client(l.keep(new(oauth.MemoryStore)).Source(l.first.MemberID))
		p.ExpireToken()
		p.Misbehave(pulltest.OAuth, pulltest.BadGateway)
		before := p.Stats()
		err := l.read(c)
		if err == nil || !strings.Contains(err.Error(), "answered HTTP 502") || b24pull.ClassOf(err) != b24pull.ClassUnavailable {
			t.Errorf("got %v", err)
		}
		if calls := p.Stats().Calls - before.Calls; calls != 2 {
			t.Errorf("%d calls, want 2", calls)
		}
		time.AfterFunc(500*time.Millisecond, func() { p.Behave(pulltest.OAuth) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := c.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "after.the.outage"}); err != nil {
			t.Errorf("an event: %v", err)
		}
		if refreshes := p.Stats().Refreshes; refreshes != 1 {
			t.Errorf("%d refreshes, want 1", refreshes)
		}
	})
}

// TestOAuth_PortalsAsTheyAre: whatever a portal and the authorization server write
// around and beside the tokens, a year of refreshes is lived through, and
// nothing is sent to another address than before.
func TestOAuth_PortalsAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pulltest.Fault{
		"a byte order mark":    pulltest.ByteOrderMark,
		"a notice":             pulltest.PHPNotice,
		"warnings all around":  pulltest.PHPWarnings,
		"http":                 pulltest.InsecureEndpoint,
		"another's address":    pulltest.TokenField("client_endpoint", "https://evil.example/rest/"),
		"no address":           pulltest.TokenField("client_endpoint", nil),
		"lives for ever":       pulltest.TokenField("expires", int64(1<<60)),
		"an error beside them": pulltest.TokenField("error", "authorization_error"),
		"passing refusals":     pulltest.AuthorizationError.Times(1),
	} {
		t.Run(name, func(t *testing.T) {
			withPortal(t, func(l *lives) {
				folder := l.TempDir()
				store, err := oauth.NewTokenFolder(folder)
				if err != nil {
					l.Fatal(err)
				}
				ts := l.keep(store)
				c := l.client(ts.Source(l.first.MemberID))
				for refreshes := 1; refreshes <= 3; refreshes++ {
					l.portal.Misbehave(services(name), fault)
					l.portal.ExpireToken()
					if err := l.read(c); err != nil {
						l.Fatal(err)
					}
					stored, err := ts.Get(l.Context(), l.first.MemberID)
					if err != nil || stored.Portal != l.portal.URL() || l.portal.Stats().Refreshes != refreshes {
						l.Errorf("%v, %v after %d refreshes", err, stored, l.portal.Stats().Refreshes)
					}
				}
			})
		})
	}
}

// TestOAuth_FirstTokensAsTheyAre: a code and a form bring a token, though the
// authorization server answers oddly.
func TestOAuth_FirstTokensAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pulltest.Fault{
		"warnings all around": pulltest.PHPWarnings,
		"http":                pulltest.InsecureEndpoint,
		"no address":          pulltest.TokenField("client_endpoint", nil),
		"no member":           pulltest.TokenField("member_id", nil),
		"passing refusals":    pulltest.AuthorizationError.Times(1),
	} {
		t.Run(name, func(t *testing.T) {
			withPortal(t, func(l *lives) {
				l.portal.Misbehave(services(name), fault)
				authorized(l.T, l.portal)
				l.portal.Misbehave(services(name), fault)
				ts, err := oauth.NewTokens(l.app, new(oauth.MemoryStore))
				if err != nil {
					l.Fatal(err)
				}
				given := l.portal.Token(1)
				form := strings.NewReader("AUTH_ID=" + given.AccessToken + "&REFRESH_ID=" + given.RefreshToken + "&member_id=" + l.portal.MemberID())
				r := httptest.NewRequest(http.MethodPost, "/install?PROTOCOL=0&DOMAIN="+strings.TrimPrefix(l.portal.URL(), "https://"), form)
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				callback, err := oauth.ParseCallback(r)
				if err == nil {
					err = ts.Handle(l.Context(), callback)
				}
				if err != nil {
					l.Fatal(err)
				}
				stored, err := ts.Get(l.Context(), l.portal.MemberID())
				if err != nil || stored.Portal != l.portal.URL() {
					l.Errorf("%v, %v", err, stored)
				}
				if err := l.read(l.client(ts.Source(l.portal.MemberID()))); err != nil {
					l.Error(err)
				}
			})
		})
	}
}

// services are those that a fault is for.
func services(fault string) pulltest.Service {
	if fault == "passing refusals" {
		return pulltest.OAuth
	}
	return pulltest.REST | pulltest.OAuth
}
