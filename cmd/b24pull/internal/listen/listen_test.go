package listen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/chosen"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}

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

// listenTo runs the program and returns its exit code and output. Each time it
// connects, connected is called.
func listenTo(t *testing.T, env map[string]string, client *http.Client, says func(line string), args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs buffer
	p := &program{
		getenv: func(name string) string { return env[name] },
		stdout: &out,
		stderr: io.MultiWriter(&errs, onLine(func(line string) {
			if says != nil {
				says(line)
			}
		})),
		httpClient: client,
		pace:       50 * time.Millisecond,
		options:    []realtime.Option{realtime.WithBackoff(func(int) time.Duration { return 10 * time.Millisecond })},
	}
	code = p.run(ctx, args)
	if ctx.Err() != nil {
		t.Error("had to be stopped")
	}
	return code, out.String(), errs.String()
}

type onLine func(line string)

func (f onLine) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

// TestListen_Embedded: with nothing set, events arrive, a cut is shown, and what it
// cost comes from the history.
func TestListen_Embedded(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := listenTo(t, nil, nil, nil, "-json", "-n", "6")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var ids []int
	replayed := false
	for line := range strings.Lines(stdout) {
		var e realtime.Message
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var params struct{ ID int }
		if err := json.Unmarshal(e.Params, &params); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, params.ID)
		replayed = replayed || e.Replayed
		if e.Command != "order.changed" || e.Module != "application" || e.Sender.Type != realtime.SenderBackend || len(e.ID) != 26 || time.Since(e.Time) > time.Minute {
			t.Errorf("event %s", line)
		}
	}
	for i, id := range ids {
		if id != i+1 {
			t.Fatalf("events %v, want 1 to 6", ids)
		}
	}
	if len(ids) != 6 || !replayed {
		t.Errorf("%d events, replayed: %v", len(ids), replayed)
	}
	for _, want := range []string{"a portal in memory", "event.bind", "# not connected", "# connected again"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr has no %q:\n%s", want, stderr)
		}
	}
}

// TestListen_Portals: each way to name a portal, against one in memory.
func TestListen_Portals(t *testing.T) {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, portal.ConfigJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	// what was sent before the subscription stands is not printed, so send
	// until something is
	emitUntil := func(done <-chan struct{}) {
		for {
			portal.Emit(pulltest.Message{Command: "hello", Params: map[string]int{"n": 7}, To: pulltest.Shared})
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	oauth := map[string]string{"B24PULL_PORTAL": portal.URL(), "B24PULL_ACCESS_TOKEN": portal.AccessToken()}
	tests := []struct {
		name   string
		env    map[string]string
		args   []string
		emit   bool
		stdout string
		stderr string
	}{
		{"OAuth", oauth, nil, true, `application  hello            {"n":7}`, "as an application"},
		{"OAuth, sending", oauth, []string{"-emit"}, false, `application  listen.hello     {"text":"sent by -emit"}`, "event.add"},
		{"config", nil, []string{"-config", config}, true, `application  hello            {"n":7}`, config},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			done := make(chan struct{})
			var emitting sync.WaitGroup
			if tt.emit {
				emitting.Go(func() { emitUntil(done) })
			}
			code, stdout, stderr := listenTo(t, tt.env, portal.HTTPClient(), nil, append(tt.args, "-n", "1")...)
			close(done)
			emitting.Wait()
			if code != 0 || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
}

// TestListen_Webhook: where the portal refuses the application's channels, those of
// the webhook's user are listened to, and the output says so.
func TestListen_Webhook(t *testing.T) {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	p := &program{
		getenv: func(name string) string { return map[string]string{"B24PULL_WEBHOOK": portal.Webhook()}[name] },
		stdout: &out,
		stderr: io.MultiWriter(&errs, onLine(func(line string) {
			if strings.HasPrefix(line, "# connected") {
				cancel() // as Ctrl-C does
			}
		})),
		httpClient: portal.HTTPClient(),
	}
	if code := p.run(ctx, nil); code != 0 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	if !strings.Contains(errs.String(), "channels of the webhook's user") {
		t.Errorf("stderr: %s", errs.String())
	}
}

// TestListen_Mistakes: each gets one clear line, and no secret stands in it.
func TestListen_Mistakes(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"server":"s3cr3t"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"a webhook that is no URL", env("B24PULL_WEBHOOK", "s3cr3t"), nil, "B24PULL_WEBHOOK"},
		{"a webhook without code", env("B24PULL_WEBHOOK", "https://portal.example/rest/"), nil, "B24PULL_WEBHOOK"},
		{"a portal over http", env("B24PULL_PORTAL", "http://portal.example", "B24PULL_ACCESS_TOKEN", "s3cr3t"), nil, "B24PULL_PORTAL"},
		{"no token", env("B24PULL_PORTAL", "https://portal.example"), nil, "B24PULL_ACCESS_TOKEN"},
		{"no portal", env("B24PULL_ACCESS_TOKEN", "s3cr3t"), nil, "B24PULL_PORTAL"},
		{"both", env("B24PULL_WEBHOOK", "https://portal.example/rest/1/s3cr3t/", "B24PULL_PORTAL", "https://portal.example", "B24PULL_ACCESS_TOKEN", "s3cr3t"), nil, "either"},
		{"-emit over a webhook", env("B24PULL_WEBHOOK", "https://portal.example/rest/1/s3cr3t/"), []string{"-emit"}, "-emit"},
		{"-emit with -config", nil, []string{"-emit", "-config", broken}, "-emit"},
		{"no such file", nil, []string{"-config", "no-such-file.json"}, "no-such-file.json"},
		{"a broken config", nil, []string{"-config", broken}, "server"},
		{"an argument", nil, []string{"portal"}, "portal"},
		{"an unknown flag", nil, []string{"-verbose"}, "-verbose"},
		{"a count that is none", nil, []string{"-n", "many"}, "many"},
		{"a negative count", nil, []string{"-n", "-1"}, "-n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := listenTo(t, tt.env, nil, nil, tt.args...)
			if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if strings.Contains(stderr, "s3cr3t") {
				t.Errorf("a secret in %q", stderr)
			}
		})
	}
}

// TestListen_Configs: what is said of a file that is no config, in whole.
func TestListen_Configs(t *testing.T) {
	var all []resttest.Mistake
	file := filepath.Join(t.TempDir(), "config.json")
	say := func(name string, args ...string) {
		code, stdout, stderr := listenTo(t, nil, nil, nil, args...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, stdout %q", name, code, stdout)
		}
		text := strings.TrimSpace(strings.ReplaceAll(stderr, file, "config.json"))
		all = append(all, resttest.Mistake{Name: name, Err: errors.New(text)})
	}
	for _, w := range [][2]string{
		{"a saved error", `{"error":"expired_token","error_description":"The access token provided has expired."}`},
		{"an empty file", ""},
		{"a page", "<html>s3cr3t</html>"},
		{"a token", `{"access_token":"s3cr3t"}`},
		{"half a config", `{"server":{"version":4`},
		{"no channel", `{"server":{"version":4}}`},
		{"an endless file", strings.Repeat(" ", chosen.MaxConfig+1)},
	} {
		if err := os.WriteFile(file, []byte(w[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		say(w[0], "-config", file)
	}
	say("no name", "-config", "")
	if runtime.GOOS == "linux" { // other systems have other words
		say("no such file", "-config", "no-such-file.json")
		say("a folder", "-config", ".")
		resttest.CheckMistakes(t, "testdata/configs.golden", all)
	}
}

func TestListen_OneLine(t *testing.T) {
	tests := map[string]string{
		"{\n  \"text\": \"a b\"\n}":            `{"text":"a b"}`,
		`["первое ✓"]`:                         `["первое ✓"]`,
		"[\"\u009b2J\u202e\u007f\U000e0001\"]": `["\u009b2J\u202e\u007f\udb40\udc01"]`,
		"":                                     "",
	}
	for params, want := range tests {
		if got := oneLine(json.RawMessage(params)); got != want {
			t.Errorf("%q prints as %s, want %s", params, got, want)
		}
	}
}

func TestListen_Printable(t *testing.T) {
	for name, want := range map[string]string{"order.changed": "order.changed", "a\x1b[2J": `"a\x1b[2J"`, "": ""} {
		if got := printable(name); got != want {
			t.Errorf("%q prints as %s", name, got)
		}
	}
}
