package realtime

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// TestFailFast_AtTheStart: what somebody has to see to ends a subscription that
// has never worked, soon, and without an observer or a logger, and says what to
// do. Nothing secret is in it.
func TestFailFast_AtTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongs {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				w := newWorld(l)
				w.open(tt.portal...)
				source := (*world).source
				if tt.source != nil {
					source = tt.source
				}
				from := source(w)
				tt.set(w, true)
				sub, err := Subscribe(from, tt.opts...)
				if err != nil {
					t.Fatal(err)
				}
				l.sub = sub
				l.run(nil)
				began := time.Now()
				err = sub.WaitReady(within(t, time.Hour))
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if err == nil || errors.Is(err, context.DeadlineExceeded) || err != sub.Err() {
					t.Fatalf("WaitReady returned %v", err)
				}
				for _, want := range tt.text {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q is not in: %v", want, err)
					}
				}
				if of := strings.HasPrefix(tt.name, "push server"); of != strings.Contains(err.Error(), "push server") {
					t.Errorf("it is not of the push server: %v", err)
				}
				if strings.Contains(err.Error(), pulltest.SecretMark) || strings.Contains(err.Error(), "s3cr"+"3t") {
					t.Error("a secret is in the error")
				}
			})
		})
	}
}

// TestFailFast_Later: the same is met with patience by one that has worked,
// where it can pass, and nothing is lost of what is sent afterwards.
func TestFailFast_Later(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongs {
		if tt.source != nil && tt.final {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				w := newWorld(l)
				life := time.Hour
				if tt.source == nil {
					life *= 24 // nobody refreshes it
				}
				w.open(append(tt.portal, pulltest.WithAccessTokenLife(life))...)
				source := (*world).source
				if tt.source != nil {
					source = tt.source
				}
				l.subscribe(source(w), tt.opts...)
				l.run(nil)
				if err := l.sub.WaitReady(within(t, time.Minute)); err != nil {
					t.Fatal(err)
				}
				good := w.token.Load()
				tt.set(w, true)
				l.portal.ExpireConfig()
				l.portal.Cut()
				time.Sleep(shorter(3*time.Hour, 90*time.Minute))
				synctest.Wait()
				if tt.final {
					if !isOver(l.sub.Done()) {
						t.Error("it goes on")
					}
					return
				}
				if isOver(l.sub.Done()) {
					t.Fatalf("Run returned %v", l.sub.Err())
				}
				tt.set(w, false)
				w.token.Store(good)
				time.Sleep(20 * time.Minute)
				l.tickFor(time.Minute, time.Second)
				l.wantTicks()
			})
		})
	}
}

// TestFailFast_Passes: what passes is waited for from the start.
func TestFailFast_Passes(t *testing.T) {
	t.Parallel()
	passing := map[string]func(w *world, wrong bool){
		"REST fails":             misbehave(pulltest.REST, pulltest.BadGateway),
		"REST is busy":           misbehave(pulltest.REST, pulltest.RESTError(503, "QUERY_LIMIT_EXCEEDED")),
		"half an answer":         misbehave(pulltest.REST, pulltest.Garble),
		"an empty answer":        misbehave(pulltest.REST, pulltest.FalseAnswer(200, "text/html", "")),
		"REST stalls":            misbehave(pulltest.REST, pulltest.Stall),
		"authorization fails":    misbehave(pulltest.OAuth, pulltest.BadGateway),
		"no push server answers": misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(404)),
		"it fails":               misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(502)),
		"a page for a websocket": misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.WebPage),
		"one way is not trusted, the other fails": func(w *world, wrong bool) {
			distrust(theSocket)(w, wrong)
			misbehave(pulltest.Polls, pulltest.Refuse(502))(w, wrong)
		},
	}
	for name, set := range passing {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				w := newWorld(l)
				w.open()
				from := w.refreshing()
				set(w, true)
				l.subscribe(from)
				l.run(nil)
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				if isOver(l.sub.Done()) {
					t.Fatalf("Run returned %v", l.sub.Err())
				}
				set(w, false)
				if err := l.sub.WaitReady(within(t, 30*time.Minute)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFailFast_Tokens: an expired token that has no refresh token ends a start,
// and says who brings another.
func TestFailFast_Tokens(t *testing.T) {
	inBubble(t, func(t *testing.T, l *life) {
		w := newWorld(l)
		w.open()
		tokens, c := w.tokens()
		given := w.portal.Token(w.portal.Users()[0].ID)
		w.portal.ExpireToken()
		old := &oauth.Token{Token: oauth2.Token{AccessToken: given.AccessToken, Expiry: time.Now().Add(-time.Hour)}}
		if err := tokens.Put(t.Context(), "portal", old); err != nil {
			t.Fatal(err)
		}
		l.subscribe(c)
		l.run(nil)
		if err := l.sub.WaitReady(within(t, time.Minute)); err == nil || err != l.sub.Err() || !strings.Contains(err.Error(), "open or authorize the application again") {
			t.Errorf("WaitReady returned %v", err)
		}
	})
}

// A configSource has one config, which another REST client may have got.
type configSource struct {
	*b24pull.Client
	change func(*b24pull.Config) *b24pull.Config
}

func (s configSource) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	cfg, err := s.Client.GetApplicationConfig(ctx, cache)
	if err != nil {
		return nil, err
	}
	return s.change(cfg), nil
}

// TestFailFast_Config: a config that is of no use, and will not be of any by
// waiting, ends a start; after that it is met with patience.
func TestFailFast_Config(t *testing.T) {
	t.Parallel()
	none := func(*b24pull.Config) *b24pull.Config { return nil }
	of := func(change func(s *b24pull.Server)) func(*b24pull.Config) *b24pull.Config {
		return func(cfg *b24pull.Config) *b24pull.Config {
			change(&cfg.Server)
			return cfg
		}
	}
	for name, tt := range map[string]struct {
		change func(*b24pull.Config) *b24pull.Config
		opts   []Option
		want   string // "": it is waited for
	}{
		"none":               {none, nil, "no config"},
		"an empty one":       {func(*b24pull.Config) *b24pull.Config { return new(b24pull.Config) }, nil, "decode an answer"},
		"no address":         {of(func(s *b24pull.Server) { s.WebSocketEnabled, s.LongPollingSecure, s.LongPolling = false, "", "" }), nil, "Push & Pull settings"},
		"no address to poll": {of(func(s *b24pull.Server) { s.Version, s.LongPollingSecure, s.LongPolling = 2, "", "" }), nil, "long polling"},
		"a bad address": {of(func(s *b24pull.Server) { s.WebSocketSecure, s.WebSocket = "rt.example", "" }),
			[]Option{WithTransport(TransportWebSocket)}, "websocket_secure"},
		"a bad address to poll": {of(func(s *b24pull.Server) { s.LongPollingSecure, s.LongPolling = "rt.example", "" }),
			[]Option{WithTransport(TransportLongPolling)}, "long_polling_secure"},
		"no channel": {func(cfg *b24pull.Config) *b24pull.Config {
			cfg.Channels = b24pull.Channels{}
			return cfg
		}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(configSource{client(t, l.portal), tt.change}, tt.opts...)
				l.run(nil)
				err := l.sub.WaitReady(within(t, time.Minute))
				switch ended := isOver(l.sub.Done()); {
				case ended != (tt.want != "") || err == nil:
					t.Errorf("ended: %v, %v", ended, err)
				case !strings.Contains(err.Error(), tt.want):
					t.Errorf("%q is not in: %v", tt.want, err)
				}
			})
		})
	}
	t.Run("later", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			var wrong atomic.Bool
			l.subscribe(configSource{client(t, l.portal), func(cfg *b24pull.Config) *b24pull.Config {
				if wrong.Load() {
					return none(cfg)
				}
				return cfg
			}})
			l.run(nil)
			<-l.sub.Ready()
			wrong.Store(true)
			l.portal.ExpireConfig()
			time.Sleep(time.Hour)
			if isOver(l.sub.Done()) {
				t.Fatalf("Run returned %v", l.sub.Err())
			}
			wrong.Store(false)
			time.Sleep(20 * time.Minute)
			l.tickFor(time.Minute, time.Second)
			l.wantTicks()
		})
	})
}
