package realtime

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestSpin_NoSpinning: whatever a server or a source answers at once and for
// ever, ten minutes see a number of requests that a server can bear. What is
// counted are polls, websockets and configs.
func TestSpin_NoSpinning(t *testing.T) {
	t.Parallel()
	same := func(w http.ResponseWriter) { // one message for ever, in the framing of version 3
		fmt.Fprint(w, `#!NGINXNMS!#{"id":1,"mid":"17954211000000000000000001","channel":"c","tag":"1","time":"Mon, 23 Nov 2026 10:00:00 GMT","text":{"module_id":"application","command":"same","params":[]}}#!NGINXNME!#`)
	}
	answers := map[string]func(w http.ResponseWriter){
		"not modified": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) },
		"empty":        func(w http.ResponseWriter) {},
		"same message": same,
		"same twice":   func(w http.ResponseWriter) { same(w); same(w) },
		"garbage":      func(w http.ResponseWriter) { fmt.Fprint(w, "garbage") },
		"bad request":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
		"bad gateway":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"redirect":     func(w http.ResponseWriter) { w.WriteHeader(http.StatusFound) },
	}
	for name, answer := range answers {
		for _, version := range []int{2, 3, 5} {
			for _, transport := range both {
				t.Run(fmt.Sprint(name, " version ", version, " ", transport), func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) {
						var asked counts
						l.open(pulltest.WithVersion(version), asked.count(func(w http.ResponseWriter, r *http.Request) bool {
							if requestKind(r) != "poll" {
								return false
							}
							answer(w)
							return true
						}))
						l.subscribe(nil, WithTransport(transport))
						l.run(nil)
						time.Sleep(10 * time.Minute)
						synctest.Wait()
						asked.bound(t, 700, 50, 50)
					})
				})
			}
		}
	}
}

// mutable is a source that changes what the portal says.
type mutable struct {
	*b24pull.Client
	change func(cfg *b24pull.Config)
}

func (s mutable) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	cfg, err := s.Client.GetApplicationConfig(ctx, cache)
	if err == nil {
		s.change(cfg)
	}
	return cfg, err
}

// TestSpin_NoSpinningOfConfigs: the same within an hour, for configs that are
// always past their end, or always other ones.
func TestSpin_NoSpinningOfConfigs(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	changes := map[string]func(cfg *b24pull.Config){
		"past its end":    func(cfg *b24pull.Config) { cfg.Expires = time.Now().Add(-time.Hour) },
		"just at its end": func(cfg *b24pull.Config) { cfg.Expires = time.Now() },
		"ends at once":    func(cfg *b24pull.Config) { cfg.Expires = time.Now().Add(time.Second) },
		"other channel, past its end": func(cfg *b24pull.Config) {
			cfg.Channels.Private.ID = b24pull.Secret(fmt.Sprintf("%032x", n.Add(1)))
			cfg.Channels.Private.End = time.Now().Add(-time.Minute)
		},
		"other channel, ends at once": func(cfg *b24pull.Config) {
			cfg.Channels.Private.ID = b24pull.Secret(fmt.Sprintf("%032x", n.Add(1)))
			cfg.Channels.Private.End = time.Now().Add(time.Second)
		},
		"other channel": func(cfg *b24pull.Config) {
			cfg.Channels.Private.ID = b24pull.Secret(fmt.Sprintf("%032x", n.Add(1)))
		},
		"other server": func(cfg *b24pull.Config) {
			cfg.Server.Hostname = fmt.Sprint(n.Add(1))
			cfg.Expires = time.Now()
		},
	}
	for name, change := range changes {
		for _, transport := range both {
			t.Run(name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					var asked counts
					l.open(pulltest.WithVersion(2), asked.count(func(http.ResponseWriter, *http.Request) bool { return false }))
					l.subscribe(mutable{client(t, l.portal), change}, WithTransport(transport))
					l.run(nil)
					time.Sleep(time.Hour)
					synctest.Wait()
					asked.bound(t, 4000, 200, 200)
				})
			})
		}
	}
}
