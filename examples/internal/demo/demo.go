// Package demo has a portal in memory for the examples, so that they run
// without an account.
package demo

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// interval is how long the portal waits between two events.
const interval = 300 * time.Millisecond

// Portal is a portal in memory.
type Portal struct {
	*pulltest.Portal
	stop    chan struct{}
	emitter sync.WaitGroup
}

// Start starts a portal that emits what next returns, with n from 1 on. It
// begins when a subscriber has had time to get ready, and goes on until it is
// closed.
func Start(next func(n int) pulltest.Message) *Portal {
	p := &Portal{Portal: pulltest.NewPortal(pulltest.WithHistory()), stop: make(chan struct{})}
	p.emitter.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 0; ; { // 0: the first subscriber is waited for
			select {
			case <-ticker.C:
				if n > 0 {
					p.Emit(next(n))
				}
				if n > 0 || len(p.Subscribers()) > 0 {
					n++
				}
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Close ends the portal. To close none is no mistake.
func (p *Portal) Close() {
	if p == nil {
		return
	}
	close(p.stop)
	p.emitter.Wait()
	p.HTTPClient().CloseIdleConnections()
	p.Portal.Close()
}

// Connect returns a client of the application on the portal that B24PULL_PORTAL
// and B24PULL_ACCESS_TOKEN name, and no Portal. With neither set that is a
// portal in memory, which emits what next returns. An access token lives an
// hour: a service takes the token source of oauth.Tokens, which refreshes it.
func Connect(next func(n int) pulltest.Message) (*b24pull.Client, *Portal, error) {
	address, token := os.Getenv("B24PULL_PORTAL"), os.Getenv("B24PULL_ACCESS_TOKEN")
	if (address == "") != (token == "") {
		return nil, nil, errors.New("B24PULL_PORTAL and B24PULL_ACCESS_TOKEN go together")
	}
	if address != "" {
		client, err := b24pull.New(b24pull.OAuth(address, tokens(token)))
		return client, nil, err
	}
	p := Start(next)
	client, err := Client(p.Portal)
	return client, p, err
}

// Client returns a client of the application on a portal in memory.
func Client(p *pulltest.Portal) (*b24pull.Client, error) {
	return b24pull.New(b24pull.OAuth(p.URL(), tokens(p.AccessToken())), b24pull.WithHTTPClient(p.HTTPClient()), b24pull.WithLimiter(nil))
}

func tokens(access string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: access})
}
