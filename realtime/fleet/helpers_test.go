package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

var registered = pulltest.Application{Name: "App", ClientID: "app.1", ClientSecret: "s3cr3tclient", RedirectURL: "https://app.example/redirect"}

// A world is portals, one authorization server for them, and what an
// application of them is made of. It lives in a bubble, or over real sockets.
type world struct {
	t       testing.TB
	network *pulltest.Network // nil: real sockets
	server  *pulltest.AuthServer
	portals []*pulltest.Portal
	store   oauth.TokenStore
	cursors *memoryCursors
	heard   *heard
	events  *events
	out     *output

	mu    sync.Mutex
	asked int // of the authorization server
	stall chan struct{}
}

// newWorld has so many portals.
func newWorld(t testing.TB, portals int, network *pulltest.Network, opts ...pulltest.Option) *world {
	w := &world{t: t, network: network, store: new(oauth.MemoryStore), cursors: new(memoryCursors), heard: new(heard), events: new(events), out: new(output)}
	w.server = pulltest.NewAuthServer(registered, network)
	t.Cleanup(w.server.Close)
	for range portals {
		all := append([]pulltest.Option{pulltest.WithAuthServer(w.server), pulltest.WithPingInterval(0), pulltest.WithHistory()}, opts...)
		p := pulltest.NewPortal(all...)
		t.Cleanup(p.Close)
		w.portals = append(w.portals, p)
	}
	t.Cleanup(w.hangUp)
	return w
}

// hangUp closes what is kept open for the next request.
func (w *world) hangUp() {
	w.server.HTTPClient().CloseIdleConnections()
	for _, p := range w.portals {
		p.HTTPClient().CloseIdleConnections()
	}
}

// RoundTrip counts what the authorization server is asked, and has it hang.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.String(), w.server.URL()+"/") {
		w.mu.Lock()
		w.asked++
		stall := w.stall
		w.mu.Unlock()
		if stall != nil {
			select {
			case <-stall:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	return w.server.HTTPClient().Transport.RoundTrip(r)
}

func (w *world) newTokens() *oauth.Tokens {
	w.t.Helper()
	tokens, err := oauth.NewTokens(&oauth.Application{
		ClientID: registered.ClientID, ClientSecret: "s3cr3tclient", AuthServer: w.server.URL(), RedirectURL: registered.RedirectURL,
		HTTPClient: &http.Client{Transport: w},
	}, w.store)
	if err != nil {
		w.t.Fatal(err)
	}
	return tokens
}

// A running application, with its callbacks at an address.
type running struct {
	w      *world
	app    *Application
	tokens *oauth.Tokens
	server *http.Server
	at     string
}

// run starts an application as a process does.
func (w *world) run(opts ...Option) *running {
	w.t.Helper()
	r := &running{w: w, tokens: w.newTokens(), at: "http://app.example"}
	all := []Option{WithCursors(w.cursors.Cursors), WithObserver(w.events.note), WithLogger(slog.New(slog.NewTextHandler(w.out, nil))),
		WithEventURL("http://app.example/event")}
	var err error
	if r.app, err = NewApplication(r.tokens, func(p Portal) realtime.Handler { return w.heard.of(p.MemberID) }, append(all, opts...)...); err != nil {
		w.t.Fatal(err)
	}
	r.serve()
	r.app.Start(w.t.Context(), w.cursors.keys()...)
	return r
}

// installed is run, and a portal has installed the application, whose first run
// is ready.
func (w *world) installed(p *pulltest.Portal, opts ...Option) *running {
	w.t.Helper()
	r := w.run(opts...)
	w.must(p.InstallByEvent(w.t.Context(), r.at+"/install"))
	w.ready(p, 1)
	return r
}

// serve serves the callbacks.
func (r *running) serve() {
	w := r.w
	w.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/install", r.app.Callback(InstallPage()))
	mux.Handle("/open", r.app.Callback(page("open")))
	mux.Handle("/event", r.app.Callback(nil))
	mux.Handle("/authorize", r.app.Authorize())
	mux.Handle("/redirect", r.app.Redirect(page("open")))
	var l net.Listener
	var err error
	if w.network != nil {
		l, err = w.network.Listen("app.example:80")
	} else {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if w.network == nil {
		r.at = "http://" + l.Addr().String()
	}
	r.server = &http.Server{Handler: mux}
	go r.server.Serve(l)
	w.t.Cleanup(r.kill)
}

// kill ends what a failed test has left.
func (r *running) kill() {
	r.server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.app.Shutdown(ctx)
	r.app.Shutdown(context.Background())
	r.w.hangUp()
}

// stop ends the application as a process does.
func (r *running) stop() {
	r.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r.w.hangUp()
	if err := r.server.Shutdown(ctx); err != nil {
		r.w.t.Errorf("the HTTP server: %v", err)
	}
	if err := r.app.Shutdown(ctx); err != nil {
		r.w.t.Errorf("Shutdown: %v", err)
	}
	if keys := r.app.Fleet().Keys(); len(keys) > 0 {
		r.w.t.Errorf("left in the fleet: %v", keys)
	}
	r.w.hangUp()
}

// must fails the test on an error.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.out)
	}
}

// eventually waits until something is so, on whatever clock the test has.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for range 6000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("%s: not within a minute\n%s", what, w.out)
}

// inBubble runs a test on virtual time.
func inBubble(t *testing.T, f func(t *testing.T, n *pulltest.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, pulltest.NewNetwork()) })
}

// heard are the commands that handlers of all portals have got, in order.
type heard struct {
	mu  sync.Mutex
	all map[string][]string
	do  func(member string, m realtime.Message) error
}

func (h *heard) of(member string) realtime.Handler {
	return realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		if m.Command == "before" { // of WithHistory
			return nil
		}
		h.mu.Lock()
		do := h.do
		h.mu.Unlock()
		if do != nil {
			if err := do(member, m); err != nil {
				return err
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.all == nil {
			h.all = make(map[string][]string)
		}
		h.all[member] = append(h.all[member], m.Command)
		return nil
	})
}

func (h *heard) from(p *pulltest.Portal) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all[p.MemberID()])
}

func (h *heard) has(p *pulltest.Portal, command string) bool {
	return slices.Contains(h.from(p), command)
}

// events are what an observer was told.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) note(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// of counts those of a kind.
func (e *events) of(key string, kind Kind) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Key == key && event.Kind == kind {
			n++
		}
	}
	return n
}

// last is the last of a kind.
func (e *events) last(key string, kind Kind) (last Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Key == key && event.Kind == kind {
			last = event
		}
	}
	return last
}

// memoryCursors keep cursors of all keys, longer than one application.
type memoryCursors struct {
	mu     sync.Mutex
	stores map[string]*realtime.MemoryStore
}

func (c *memoryCursors) Cursors(key string) realtime.CursorStore {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stores == nil {
		c.stores = make(map[string]*realtime.MemoryStore)
	}
	if c.stores[key] == nil {
		c.stores[key] = new(realtime.MemoryStore)
	}
	return c.stores[key]
}

// keys are those that have a cursor.
func (c *memoryCursors) keys() (keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.stores {
		if at, _ := s.Load(context.Background()); !at.IsZero() {
			keys = append(keys, key)
		}
	}
	return keys
}

// output is what was logged.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wantNoSecrets looks for the marks of secrets in what was logged.
func (w *world) wantNoSecrets() {
	w.t.Helper()
	for _, mark := range []string{"s3cr3t", pulltest.SecretMark} {
		if strings.Contains(w.out.String(), mark) {
			w.t.Errorf("the log has a secret")
		}
	}
	if w.out.String() == "" {
		w.t.Error("nothing was logged")
	}
}
