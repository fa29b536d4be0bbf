package main

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

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
	t              *testing.T
	stdout, stderr buffer
	cancel         context.CancelFunc
	code           chan int
}

func start(t *testing.T, env map[string]string, client *http.Client, args ...string) *running {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r := &running{t: t, cancel: cancel, code: make(chan int, 1)}
	p := &program{getenv: func(name string) string { return env[name] }, stdout: &r.stdout, stderr: &r.stderr, httpClient: client}
	go func() { r.code <- p.run(ctx, args) }()
	return r
}

// wait waits for the program's end.
func (r *running) wait() (code int, stdout, stderr string) {
	r.t.Helper()
	code = <-r.code
	return code, r.stdout.String(), r.stderr.String()
}

// says waits for lines that the program prints, in whatever order.
func (r *running) says(parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		for end := time.Now().Add(30 * time.Second); !strings.Contains(r.stdout.String(), part); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				r.t.Fatalf("does not say %q:\n%s\n%s", part, r.stdout.String(), r.stderr.String())
			}
		}
	}
}

// stop ends the program as Ctrl-C does.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if code, stdout, stderr := r.wait(); code != 0 {
		r.t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
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
	code, stdout, stderr := start(t, nil, nil).wait()
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	checkOrder(t, stdout,
		"a portal in memory", "callbacks are served at http://127.0.0.1:",
		"-- the portal installs", "installed by a form", ": subscribed", `event app.hello: "hello from the application"`,
		"-- and the event", "installed by the event",
		"-- a user authorizes", "the code is exchanged",
		"-- the access token expires", "the rotated refresh token is stored",
		"-- the portal uninstalls", "uninstalled by the event", "the subscription has ended: b24pull: the token was deleted",
		"-- done",
	)
	if !strings.Contains(stdout, `event app.hello: "hello with a refreshed token"`) {
		t.Errorf("no event was sent with the refreshed token:\n%s", stdout)
	}
	// the portal's tokens, codes and channels are of these forms, and so is the
	// member id, which is no secret
	text := regexp.MustCompile(`member [0-9a-f]{32}:`).ReplaceAllString(stdout+stderr, "")
	if secret := regexp.MustCompile(`[a-z2-7]{26}|[0-9a-f]{32}`).FindString(text); secret != "" {
		t.Errorf("printed what may be a secret, %s:\n%s\n%s", secret, stdout, stderr)
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
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"no secret", env("B24PULL_CLIENT_ID", "app.1", "B24PULL_REDIRECT_URL", "https://app.example/redirect"), nil, "B24PULL_CLIENT_SECRET"},
		{"only the secret", env("B24PULL_CLIENT_SECRET", "s3cr3t"), nil, "B24PULL_CLIENT_ID and B24PULL_REDIRECT_URL"},
		{"only a folder", env("B24PULL_TOKEN_FOLDER", "s3cr3t"), nil, "B24PULL_CLIENT_SECRET"},
		{"a redirect over http", full("B24PULL_REDIRECT_URL", "http://app.example/redirect"), nil, "https://HOST/redirect"},
		{"a redirect elsewhere", full("B24PULL_REDIRECT_URL", "https://app.example/s3cr3t"), nil, "https://HOST/redirect"},
		{"no redirect at all", full("B24PULL_REDIRECT_URL", "%zzs3cr3t"), nil, "https://HOST/redirect"},
		{"an authorization server over http", full("B24PULL_AUTH_SERVER", "http://oauth.example"), []string{"-listen", "127.0.0.1:0"}, "AuthServer"},
		{"a folder that is none", full("B24PULL_TOKEN_FOLDER", "main.go"), []string{"-listen", "127.0.0.1:0"}, "token store"},
		{"an address that is none", full(), []string{"-listen", "nowhere"}, "-listen"},
		{"the same without a portal", nil, []string{"-listen", "nowhere"}, "-listen"},
		{"an argument", nil, []string{"portal"}, "portal"},
		{"an unknown flag", nil, []string{"-verbose"}, "-verbose"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := start(t, tt.env, nil, tt.args...).wait()
			if code != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "s3cr3t") {
				t.Errorf("a secret in %q", stdout+stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	code, _, stderr := start(t, nil, nil, "-help").wait()
	if code != 0 || !strings.Contains(stderr, "B24PULL_CLIENT_ID") || !strings.Contains(stderr, "-listen") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}
