package oauth

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/b24pull/b24pull"
	"golang.org/x/oauth2"
)

func mustNew(t testing.TB, auth b24pull.Auth, opts ...b24pull.Option) *b24pull.Client {
	t.Helper()
	c, err := b24pull.New(auth, append([]b24pull.Option{once}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put stores a token, as who has the key locked does.
func put(ctx context.Context, store TokenStore, key string, t *Token) error {
	held, err := store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer held.Unlock()
	return held.Save(ctx, t)
}

// remove deletes a token.
func remove(ctx context.Context, store TokenStore, key string) error {
	held, err := store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer held.Unlock()
	return held.Delete(ctx)
}

// A tapped is a locked token of another store; the functions that are there
// take the place of its methods.
type tapped struct {
	LockedToken
	load   func(context.Context) (*Token, error)
	save   func(context.Context, *Token) error
	del    func(context.Context) error
	unlock func()
}

func (l *tapped) Load(ctx context.Context) (*Token, error) {
	if l.load != nil {
		return l.load(ctx)
	}
	return l.LockedToken.Load(ctx)
}

func (l *tapped) Save(ctx context.Context, t *Token) error {
	if l.save != nil {
		return l.save(ctx, t)
	}
	return l.LockedToken.Save(ctx, t)
}

func (l *tapped) Delete(ctx context.Context) error {
	if l.del != nil {
		return l.del(ctx)
	}
	return l.LockedToken.Delete(ctx)
}

func (l *tapped) Unlock() {
	if l.unlock != nil {
		l.unlock()
		return
	}
	l.LockedToken.Unlock()
}

// tap locks a key of a store and puts in the place of its methods those that
// with returns.
func tap(ctx context.Context, store TokenStore, key string, with func(LockedToken) tapped) (LockedToken, error) {
	held, err := store.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	l := with(held)
	l.LockedToken = held
	return &l, nil
}

// once keeps tests on the wall's clock from pausing.
var once = b24pull.WithRetry(b24pull.Retry{Attempts: 1})

func oauthClient(t testing.TB, srv *httptest.Server, ts oauth2.TokenSource, opts ...b24pull.Option) *b24pull.Client {
	t.Helper()
	return mustNew(t, b24pull.OAuth(srv.URL, ts), append([]b24pull.Option{b24pull.WithHTTPClient(srv.Client())}, opts...)...)
}

func webhookClient(t testing.TB, srv *httptest.Server, opts ...b24pull.Option) *b24pull.Client {
	t.Helper()
	return mustNew(t, b24pull.Webhook(srv.URL+"/rest/1/s3cr3thookcode/"), append([]b24pull.Option{b24pull.WithHTTPClient(srv.Client())}, opts...)...)
}

func event(ctx context.Context, c *b24pull.Client) error {
	return c.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "test"})
}

type sourceFunc func() (*oauth2.Token, error)

// publicChannelsError is the error of the public channels in a portal's config,
// which are decoded when they are asked for.
func publicChannelsError(t *testing.T, srv *httptest.Server) error {
	t.Helper()
	cfg, err := webhookClient(t, srv).GetConfig(context.Background(), true)
	if err != nil {
		t.Fatal("the config is refused whole")
	}
	_, err = cfg.PublicChannels()
	return err
}

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }
