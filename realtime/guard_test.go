package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

var errExploded = errors.New("exploded")

// explode is what a callback of the user's does.
func explode() { panic(errExploded) }

// charge explodes on the first call after it is armed.
type charge struct {
	armed atomic.Bool
	bang  func()
}

func (c *charge) touch() {
	if c.armed.CompareAndSwap(true, false) {
		c.bang()
	}
}

type explosiveStore struct {
	*charge
	MemoryStore
	load, save bool
}

func (s *explosiveStore) Load(ctx context.Context) (Cursor, error) {
	if s.load {
		s.touch()
	}
	return s.MemoryStore.Load(ctx)
}

func (s *explosiveStore) Save(ctx context.Context, c Cursor) error {
	if s.save {
		s.touch()
	}
	return s.MemoryStore.Save(ctx, c)
}

type explosiveLog struct {
	*charge
	slog.Handler
	asked   bool   // Enabled explodes, not Handle
	message string // that Handle explodes at
}

func (h *explosiveLog) Enabled(context.Context, slog.Level) bool {
	if h.asked {
		h.touch()
	}
	return true
}

func (h *explosiveLog) Handle(_ context.Context, r slog.Record) error {
	if !h.asked && r.Message == h.message {
		h.touch()
	}
	return nil
}

type explosiveSource struct {
	*charge
	ConfigSource
}

func (s explosiveSource) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	s.touch()
	return s.ConfigSource.GetApplicationConfig(ctx, cache)
}

type explosiveTokens struct {
	*charge
	token string
}

func (s explosiveTokens) Token() (*oauth2.Token, error) {
	s.touch()
	return &oauth2.Token{AccessToken: s.token}, nil
}

type explosiveTripper struct {
	*charge
	next http.RoundTripper
}

func (t explosiveTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	t.touch()
	return t.next.RoundTrip(r)
}

// explosion is a callback that explodes. setUp gives the options, and the
// source if it is another than the portal; light has it be called once the
// charge is armed, nil where it is called anyway.
type explosion struct {
	name  string
	early bool // it is armed from the beginning
	own   bool // it is called by the goroutine of Run, whose stack is not lost
	setUp func(l *life, c *charge) (ConfigSource, []Option)
	light func(l *life)
}

func restClient(l *life, tokens oauth2.TokenSource, opts ...b24pull.Option) *b24pull.Client {
	opts = append(opts, b24pull.WithHTTPClient(l.portal.HTTPClient()), b24pull.WithRetry(b24pull.Retry{Attempts: 1}))
	c, err := b24pull.New(b24pull.OAuth(l.portal.URL(), tokens), opts...)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func emitOne(l *life) { l.emit("one more") }
func cut(l *life)     { l.portal.Cut() }
func renewAll(l *life) {
	l.portal.Control("config_expire", nil, pulltest.Private)
}

var explosions = []explosion{
	{"observer at the start", true, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithObserver(func(Event) { c.touch() })}
	}, nil},
	{"observer of a cut", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithObserver(func(Event) { c.touch() })}
	}, cut},
	{"observer of a read", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithObserver(func(e Event) {
			if _, read := e.(ReplayEnded); read {
				c.touch()
			}
		})}
	}, func(l *life) { l.portal.Ping() }},
	{"observer of the end", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithObserver(func(e Event) {
			if change, ok := e.(StateChange); ok && change.To == StateClosed {
				c.touch()
			}
		})}
	}, func(l *life) { l.sub.Close() }},
	{"logger that is asked", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithLogger(slog.New(&explosiveLog{charge: c, asked: true}))}
	}, cut},
	{"logger", true, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithLogger(slog.New(&explosiveLog{charge: c, message: "state"}))}
	}, nil},
	{"logger of a save", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		store := new(countingStore)
		return nil, []Option{WithCursorStore(store), WithLogger(slog.New(&explosiveLog{charge: c, message: "cursor not saved"})), WithObserver(func(Event) {
			store.broken.Store(c.armed.Load())
		})}
	}, func(l *life) { l.portal.Ping() }},
	{"backoff", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithBackoff(func(int) time.Duration { c.touch(); return time.Second })}
	}, cut},
	{"load", true, true, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithCursorStore(&explosiveStore{charge: c, load: true})}
	}, nil},
	{"first save", true, true, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithCursorStore(&explosiveStore{charge: c, save: true})}
	}, nil},
	{"save", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithCursorStore(&explosiveStore{charge: c, save: true})}
	}, emitOne},
	{"last save", false, true, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithCursorStore(&explosiveStore{charge: c, save: true}), WithSaveInterval(time.Hour)}
	}, func(l *life) { l.emit("one more"); synctest.Wait(); l.sub.Close() }},
	{"config source at the start", true, false, func(l *life, c *charge) (ConfigSource, []Option) {
		return explosiveSource{c, client(l.t, l.portal)}, []Option{WithHTTPClient(l.portal.HTTPClient())}
	}, nil},
	{"config source", false, false, func(l *life, c *charge) (ConfigSource, []Option) {
		return explosiveSource{c, client(l.t, l.portal)}, []Option{WithHTTPClient(l.portal.HTTPClient())}
	}, renewAll},
	{"token source", false, false, func(l *life, c *charge) (ConfigSource, []Option) {
		return restClient(l, explosiveTokens{c, l.portal.AccessToken()}), nil
	}, renewAll},
	{"WithMoved", false, false, func(l *life, c *charge) (ConfigSource, []Option) {
		return restClient(l, explosiveTokens{new(charge), l.portal.AccessToken()}, b24pull.WithMoved(func(context.Context, string, string) error { c.touch(); return nil })), nil
	}, func(l *life) { l.portal.Move("new.example"); renewAll(l) }},
	{"HTTP transport", false, false, func(l *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithTransport(TransportLongPolling), WithHTTPClient(&http.Client{Transport: explosiveTripper{c, l.portal.HTTPClient().Transport}})}
	}, cut},
	{"dialer", false, false, func(l *life, c *charge) (ConfigSource, []Option) {
		transport := l.portal.HTTPClient().Transport.(*http.Transport)
		return nil, []Option{WithDialer(&websocket.Dialer{TLSClientConfig: transport.TLSClientConfig, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c.touch()
			return transport.DialContext(ctx, network, addr)
		}})}
	}, cut},
	{"key", false, true, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithParallel(3, func(m Message) string { c.touch(); return m.Command })}
	}, emitOne},
	{"policy", false, true, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithErrorPolicy(func(*HandlerError, int) ErrorAction { c.touch(); return SkipMessage() })}
	}, func(l *life) { l.emit("bad") }},
	{"policy beside others", false, false, func(_ *life, c *charge) (ConfigSource, []Option) {
		return nil, []Option{WithParallel(3, nil), WithErrorPolicy(func(*HandlerError, int) ErrorAction { c.touch(); return SkipMessage() })}
	}, func(l *life) { l.emit("bad") }},
}

// explode runs a subscription until its callback explodes. It returns what came
// out of the run.
func (e *explosion) explode(l *life, store CursorStore, bang func(), messages bool) (value any, stack string, err error) {
	c := &charge{bang: bang}
	c.armed.Store(e.early)
	l.open()
	source, opts := e.setUp(l, c)
	if store != nil {
		opts = append(opts, WithCursorStore(store))
	}
	l.subscribe(source, opts...)
	// ctx is for what does not explode: on virtual time nothing would end it
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Hour)
	var lit sync.WaitGroup
	defer lit.Wait()
	defer cancel()
	lit.Go(func() {
		select {
		case <-l.sub.Ready():
		case <-ctx.Done():
			return
		}
		l.emit("one")
		time.Sleep(20 * time.Second)
		c.armed.Store(true)
		if e.light != nil {
			e.light(l)
		}
	})
	defer func() {
		if value = recover(); value != nil {
			stack = string(debug.Stack())
		}
	}()
	if messages {
		for _, failed := range l.sub.Messages(ctx) {
			err = failed
		}
		return nil, "", err
	}
	return nil, "", l.sub.Run(ctx, HandlerFunc(func(_ context.Context, m Message) error {
		if m.Command == "bad" {
			return errHandler
		}
		return nil
	}))
}

// TestGuard_CallbackPanics: whatever of the user's panics does so where the
// subscription is run, with its stack, once all has stopped. What was handled
// is saved.
func TestGuard_CallbackPanics(t *testing.T) {
	t.Parallel()
	for _, e := range explosions {
		for _, messages := range []bool{false, true} {
			if messages && (e.name == "key" || strings.HasPrefix(e.name, "policy")) {
				continue // Run's
			}
			t.Run(fmt.Sprintf("%s, messages %v", e.name, messages), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					store := new(MemoryStore)
					value, stack, err := e.explode(l, storeUnless(e, store), explode, messages)
					var callback *CallbackPanic
					var handler *HandlerPanic
					failed, _ := value.(error)
					switch {
					case errors.As(failed, &callback) && !e.own:
						stack = string(callback.Stack)
					case errors.As(failed, &handler) && !e.own:
						stack = string(handler.Stack)
					case !e.own:
						t.Errorf("recovered %v", value)
					}
					if !errors.Is(failed, errExploded) || !strings.Contains(stack, "realtime.explode(") || err != nil {
						t.Errorf("recovered %T, returned %v, with the stack\n%s", value, err, stack)
					}
					l.wantGone(store, e.early || e.name == "WithMoved")
				})
			})
		}
	}
}

// TestGuard_CallbackGoexit: a callback that ends its goroutine, as FailNow of a
// test does, ends the run with an error.
func TestGuard_CallbackGoexit(t *testing.T) {
	t.Parallel()
	for _, e := range explosions {
		if e.own || e.name == "token source" { // the goroutine of that is another, and it has given no token
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				store := new(MemoryStore)
				value, _, err := e.explode(l, storeUnless(e, store), runtime.Goexit, false)
				if value != nil || !errors.Is(err, errGoexit) {
					t.Errorf("recovered %v, returned %v", value, err)
				}
				l.wantGone(store, e.early || e.name == "WithMoved")
			})
		})
	}
}

// storeUnless is the store that is to hold what was handled, unless the
// explosion brings one of its own.
func storeUnless(e explosion, store CursorStore) CursorStore {
	if strings.Contains(e.name, "save") || e.name == "load" {
		return nil
	}
	return store
}

// wantGone checks that nothing runs any more, and where a run goes on, unless
// that cannot be: nothing had been handled, or the portal has another name.
func (l *life) wantGone(store *MemoryStore, anew bool) {
	l.t.Helper()
	synctest.Wait()
	if n := l.portal.Stats().Connections; n != 0 || l.sub.State() != StateClosed {
		l.t.Errorf("%d connections left, state %v", n, l.sub.State())
	}
	if store.cursor.IsZero() || anew {
		return
	}
	next := l.goOn(store, nil)
	time.Sleep(time.Minute)
	for _, c := range next.commands() {
		if c == "one" {
			l.t.Error("what was handled came again")
		}
	}
	if err := next.stop(); err != nil {
		l.t.Errorf("the next run returned %v", err)
	}
}

// lockedStore panics with its lock held.
type lockedStore struct {
	MemoryStore
	lock  sync.Mutex
	armed atomic.Bool
}

func (s *lockedStore) Save(ctx context.Context, c Cursor) error {
	if !s.lock.TryLock() {
		return errBroken // in the place of a deadlock
	}
	if s.armed.Load() {
		explode()
	}
	defer s.lock.Unlock()
	return s.MemoryStore.Save(ctx, c)
}

// TestGuard_PanickedStoreIsLeftAlone: a store that has panicked may be locked
// for ever.
func TestGuard_PanickedStoreIsLeftAlone(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var log strings.Builder
		store := new(lockedStore)
		l.open()
		l.subscribe(nil, WithCursorStore(store), WithLogger(newTestLogger(&log)))
		go func() {
			<-l.sub.Ready()
			time.Sleep(time.Minute)
			store.armed.Store(true)
			l.emit("one")
		}()
		if v := l.recovered(func(context.Context, Message) error { return nil }); v == nil || strings.Contains(log.String(), errBroken.Error()) {
			t.Errorf("recovered %v, logged %s", v, &log)
		}
	})
}
