package publish

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(4)
	goleak.VerifyTestMain(m)
}

// A stage is a portal on virtual time, with what is asked of it.
type stage struct {
	t      *testing.T
	portal *pulltest.Portal

	mu       sync.Mutex
	requests []string // publish, list, config, websocket, …
	answer   func(w http.ResponseWriter, r *http.Request) bool
	first    string // the token of the first websocket that was asked for
}

// onStage runs a test with a portal on virtual time.
func onStage(t *testing.T, version int, test func(t *testing.T, s *stage), opts ...pulltest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t}
		s.portal = pulltest.NewPortal(append([]pulltest.Option{
			pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithVersion(version), pulltest.WithHandler(s.watch),
		}, opts...)...)
		defer s.portal.Close()
		test(t, s)
	})
}

// kindOf names what a request is for.
func kindOf(r *http.Request) string {
	switch {
	case strings.HasPrefix(r.URL.Path, "/rest/"):
		_, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/rest/"), "/pull.")
		if method == "" {
			_, method, _ = strings.Cut(r.URL.Path, "pull.")
		}
		return method
	case r.Header.Get("Upgrade") != "":
		return "websocket"
	case r.Method == http.MethodPost:
		return "publish"
	}
	return "poll"
}

func (s *stage) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, kindOf(r))
		answer := s.answer
		s.mu.Unlock()
		if answer == nil || !answer(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// instead has requests answered by another function, where it reports true.
func (s *stage) instead(answer func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// asked is how often something has been.
func (s *stage) asked(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r == kind {
			n++
		}
	}
	return n
}

// client is that of a user.
func (s *stage) client(user int) *b24pull.Client {
	s.t.Helper()
	return clientOf(s.t, s.portal, user)
}

// clientOf is a user's client of the application.
func clientOf(t testing.TB, portal *pulltest.Portal, user int) *b24pull.Client {
	t.Helper()
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.Token(user).AccessToken})
	c, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publisher is that of a user; it is closed with the test.
func (s *stage) publisher(user int, opts ...Option) *Publisher {
	s.t.Helper()
	p, err := New(s.client(user), opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// An inbox is what a user has received.
type inbox struct {
	sub *realtime.Subscription

	mu   sync.Mutex
	got  []realtime.Message
	done chan error
}

// listen subscribes a user, and returns when the subscription is ready.
func (s *stage) listen(user int, opts ...realtime.Option) *inbox {
	s.t.Helper()
	return s.listenTo(s.client(user), opts...)
}

// listenTo subscribes to what a source names.
func (s *stage) listenTo(source realtime.ConfigSource, opts ...realtime.Option) *inbox {
	s.t.Helper()
	sub, err := realtime.Subscribe(source, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	in := &inbox{sub: sub, done: make(chan error, 1)}
	go func() {
		in.done <- sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.got = append(in.got, m.Clone())
			return nil
		}))
	}()
	<-sub.Ready()
	return in
}

// close ends the subscription.
func (in *inbox) close(t *testing.T) {
	t.Helper()
	in.sub.Close()
	if err := <-in.done; err != nil {
		t.Errorf("the subscription ended: %v", err)
	}
}

// commands are those received so far, in order.
func (in *inbox) commands() (commands []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, m := range in.got {
		commands = append(commands, m.Command)
	}
	return commands
}

// messages are those received so far.
func (in *inbox) messages() []realtime.Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.got)
}

// soon waits until what is under way has arrived.
func soon() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

// to is a message to some users.
func to(command string, users ...int64) Message {
	return Message{Users: users, Module: "application", Command: command, Params: map[string]any{"n": 1}, Expiry: time.Minute}
}

// configOf is the config of the portal's user.
func configOf(t *testing.T, p *pulltest.Portal) *b24pull.Config {
	t.Helper()
	cfg := new(b24pull.Config)
	if err := json.Unmarshal(p.ConfigJSON(), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}
