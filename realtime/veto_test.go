package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestVeto_VetoedMove: a subscription whose portal moves where the application
// does not want it goes on as long as its channels live, sends the other host
// nothing, asks neither the portal nor the application all the time, and
// follows once it may.
func TestVeto_VetoedMove(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]func(*pulltest.Portal) b24pull.Auth{
		"OAuth": func(p *pulltest.Portal) b24pull.Auth {
			return b24pull.OAuth(p.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.AccessToken()}))
		},
		"webhook": func(p *pulltest.Portal) b24pull.Auth { return b24pull.Webhook(p.Webhook()) },
	} {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var there, asked atomic.Int32
				var allowed atomic.Bool
				l.open(pulltest.WithWebhookConfig(), pulltest.WithHandler(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Host == "new.example" && strings.HasPrefix(r.URL.Path, "/rest/") {
							there.Add(1)
						}
						next.ServeHTTP(w, r)
					})
				}))
				no := fmt.Errorf("not before the administrator has confirmed it (%w)", b24pull.ErrPortalDeleted) // final elsewhere
				c, err := b24pull.New(auth(l.portal), b24pull.WithHTTPClient(l.portal.HTTPClient()), b24pull.WithMoved(func(context.Context, string, string) error {
					if asked.Add(1); allowed.Load() {
						return nil
					}
					return no
				}))
				if err != nil {
					t.Fatal(err)
				}
				l.subscribe(c)
				l.run(nil)
				<-l.sub.Ready()
				l.portal.Move("new.example")
				before := l.portal.Stats().Redirects
				l.portal.ExpireConfig()
				l.tickFor(10*time.Minute, time.Second)
				calls := l.portal.Stats().Redirects - before
				if there.Load() != 0 || asked.Load() < 5 || asked.Load() > 11 || calls < 5 || calls > 15 {
					t.Errorf("the new address got %d requests, the old one %d; the application was asked %d times", there.Load(), calls, asked.Load())
				}
				if r := lifeEvents[Renewal](l); len(r) == 0 || !errors.Is(r[len(r)-1].Err, no) {
					t.Errorf("renewals %+v", r)
				}
				allowed.Store(true)
				l.tickFor(3*time.Minute, time.Second)
				if there.Load() == 0 || c.Portal() != "https://new.example" {
					t.Errorf("the new address got %d requests, the portal is %s", there.Load(), c.Portal())
				}
				if lost, _, _ := l.ticked(); lost > 0 { // the new host name is taken for another server's, so some come again
					t.Errorf("lost %d of %d", lost, l.ticks)
				}
			})
		})
	}
}
