package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is written by the program and read by the test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a program that was started.
type running struct {
	t      *testing.T
	out    buffer
	cancel context.CancelFunc
	ended  chan error
}

// start runs the program as main does.
func start(t *testing.T, env map[string]string, listen string) *running {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r := &running{t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx, listen, func(name string) string { return env[name] }, &r.out) }()
	return r
}

// says waits for lines that the program prints, in whatever order.
func (r *running) says(parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		for end := time.Now().Add(30 * time.Second); !strings.Contains(r.out.String(), part); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				r.t.Fatalf("does not say %q:\n%s", part, r.out.String())
			}
		}
	}
}

// checkOrder checks that text has the parts one after the other.
func checkOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is missing, or not in its place:\n%s", part, text)
		}
		rest = after
	}
}

// TestEmbedded: with nothing set the application goes through an installation's
// life, in order, and tells no token.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	r := start(t, nil, "")
	if err := <-r.ended; err != nil {
		t.Fatalf("%v\n%s", err, r.out.String())
	}
	text := r.out.String()
	r.says("callbacks are served", "at=http://127.0.0.1:")
	checkOrder(t, text,
		"a portal in memory", "-- the portal installs", "subscribed", `text="hello from the application"`,
		"-- and the event", "ONAPPINSTALL",
		"-- a user authorizes", "the token is stored",
		"-- the access token and the channel expire", `text="hello after a refresh"`,
		"-- the portal uninstalls", "the token was deleted",
		"-- done",
	)
	// the portal's tokens, codes and channels are of these forms, and so is the
	// member id, which is no secret
	text = regexp.MustCompile(`member[ =][0-9a-f]{32}`).ReplaceAllString(text, "")
	if secret := regexp.MustCompile(`[a-z2-7]{26}|[0-9a-f]{32}`).FindString(text); secret != "" {
		t.Errorf("printed what may be a secret, %s:\n%s", secret, text)
	}
}

// TestMistakes: each gets one clear line, and no secret stands in it.
func TestMistakes(t *testing.T) {
	env := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	full := func(pairs ...string) map[string]string {
		return env(append([]string{"B24PULL_CLIENT_ID", "app.1", "B24PULL_CLIENT_SECRET", "s3cr3t", "B24PULL_REDIRECT_URL", "https://app.example/redirect",
			"B24PULL_TOKEN_FOLDER", t.TempDir()}, pairs...)...)
	}
	const loopback = "127.0.0.1:0"
	tests := []struct {
		name   string
		env    map[string]string
		listen string
		want   string
	}{
		{"no secret", env("B24PULL_CLIENT_ID", "app.1", "B24PULL_REDIRECT_URL", "https://app.example/redirect"), loopback, "B24PULL_CLIENT_SECRET"},
		{"only the secret", env("B24PULL_CLIENT_SECRET", "s3cr3t"), loopback, "B24PULL_CLIENT_ID"},
		{"only a folder", env("B24PULL_TOKEN_FOLDER", "s3cr3t"), loopback, "B24PULL_CLIENT_SECRET"},
		{"a redirect over http", full("B24PULL_REDIRECT_URL", "http://app.example/redirect"), loopback, "https://HOST/redirect"},
		{"a redirect elsewhere", full("B24PULL_REDIRECT_URL", "https://app.example/s3cr3t"), loopback, "https://HOST/redirect"},
		{"no redirect at all", full("B24PULL_REDIRECT_URL", "%zzs3cr3t"), loopback, "https://HOST/redirect"},
		{"an authorization server over http", full("B24PULL_AUTH_SERVER", "http://oauth.example"), loopback, "AuthServer"},
		{"a folder that is none", full("B24PULL_TOKEN_FOLDER", "main.go"), loopback, "token store"},
		{"an address that is none", full(), "nowhere", "-listen"},
		{"the same without a portal", nil, "nowhere", "-listen"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.env, tt.listen)
			err := <-r.ended
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error()+r.out.String(), "s3cr3t") {
				t.Error("the error, or what was printed, has a secret")
			}
		})
	}
}

// TestPublicOnly: what a stranger names is not connected to where it leads
// inward.
func TestPublicOnly(t *testing.T) {
	t.Parallel()
	r := start(t, map[string]string{"B24PULL_CLIENT_ID": "app.1", "B24PULL_CLIENT_SECRET": "s3cr3t", "B24PULL_REDIRECT_URL": "https://app.example/redirect",
		"B24PULL_TOKEN_FOLDER": t.TempDir(), "B24PULL_AUTH_SERVER": "https://127.0.0.1:1"}, "127.0.0.1:0")
	r.says("callbacks are served", "at=http://")
	app := regexp.MustCompile(`at=(http://\S+)`).FindStringSubmatch(r.out.String())[1]
	portal := pulltest.NewPortal()
	defer portal.Close()
	if err := portal.InstallByEvent(t.Context(), app+"/install"); err == nil {
		t.Error("the authorization server was reached")
	}
	r.says("path=/install", "is not a public address")
	portal.HTTPClient().CloseIdleConnections()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// TestRestart: the program goes on with all portals where it stopped.
func TestRestart(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal()
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	folder := t.TempDir()
	begin := func() (r *running, app string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		r = &running{t: t, cancel: cancel, ended: make(chan error, 1)}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		a := ofPortal(portal, l, folder, slog.New(slog.NewTextHandler(&r.out, nil)))
		go func() { r.ended <- a.serve(ctx, l) }()
		return r, "http://" + l.Addr().String()
	}
	end := func(r *running) {
		portal.HTTPClient().CloseIdleConnections()
		r.cancel()
		if err := <-r.ended; err != nil {
			t.Fatalf("ended with %v\n%s", err, r.out.String())
		}
	}
	r, app := begin()
	if err := portal.InstallByEvent(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(`text="hello from the application"`)
	end(r)
	portal.Emit(pulltest.Message{Command: helloCommand, Params: hello{"while you were away"}, To: pulltest.Shared})
	r, app = begin()
	r.says(`text="while you were away"`)
	if err := portal.Uninstall(t.Context(), app+"/event"); err != nil {
		t.Fatal(err)
	}
	r.says("the token was deleted")
	end(r)
	if n := strings.Count(r.out.String(), "app.hello"); n > 2 { // and its own greeting
		t.Errorf("an event came again:\n%s", r.out.String())
	}
	for _, pattern := range []string{"*.json", "*.cursor"} {
		if left, err := filepath.Glob(filepath.Join(folder, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	}
}
