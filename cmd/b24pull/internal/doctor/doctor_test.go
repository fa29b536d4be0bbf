package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/chosen"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}

// examine runs the program against a portal; nil is none.
func examine(t *testing.T, ctx context.Context, portal *pulltest.Portal, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := &program{getenv: func(name string) string { return env[name] }, stdout: &out, stderr: &errs}
	if portal != nil {
		p.httpClient = portal.HTTPClient()
	}
	code = p.run(ctx, args)
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, pulltest.SecretMark) {
			t.Error("a secret is printed")
		}
	}
	return code, out.String(), errs.String()
}

func asApplication(p *pulltest.Portal) map[string]string {
	return map[string]string{"B24PULL_PORTAL": p.URL(), "B24PULL_ACCESS_TOKEN": p.AccessToken()}
}

// TestDoctor_Embedded: with nothing set there is a portal in memory, on which all
// passes.
func TestDoctor_Embedded(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := examine(t, t.Context(), nil, nil)
	if code != 0 || strings.Contains(stdout, "fail") || strings.Contains(stdout, "warn  ") || !strings.Contains(stdout, "pass  order") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stderr, "# 19 passed, 0 warned, 0 failed, 1 skipped") {
		t.Errorf("told %q", stderr)
	}
	if len(strings.Split(strings.TrimSpace(stdout), "\n")) != len(doctor.Names()) {
		t.Errorf("not a line a check:\n%s", stdout)
	}
}

// TestDoctor_Portals: each way to name a portal, and what is told of it in JSON.
func TestDoctor_Portals(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal()
	defer portal.Close()
	portal.Emit(pulltest.Message{Command: "order.changed"})
	portal.Emit(pulltest.Message{Command: "order.changed", To: pulltest.UserPrivate})
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, portal.ConfigJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		env     map[string]string
		args    []string
		address string // in the report
		checks  map[string]string
	}{
		{"an application", asApplication(portal), []string{"-json"}, portal.URL(), map[string]string{"REST": "pass", "config": "pass", "shared event": "skip", "polls": "pass", "history": "pass", "idle": "skip"}},
		{"an application that sends", asApplication(portal), []string{"-json", "-emit", "-idle", "20ms"}, portal.URL(), map[string]string{"shared event": "pass", "private event": "pass", "history": "pass", "idle": "pass"}},
		{"a webhook", map[string]string{"B24PULL_WEBHOOK": portal.Webhook()}, []string{"-json"}, portal.URL(), map[string]string{"REST": "pass", "shared event": "skip", "history": "pass"}},
		{"a saved config", nil, []string{"-json", "-config", file}, "", map[string]string{"REST": "skip", "config": "pass", "websocket": "pass", "history": "pass"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := examine(t, t.Context(), portal, tt.env, tt.args...)
			var report doctor.Report
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
			}
			if report.Portal != tt.address {
				t.Errorf("the portal is %q", report.Portal)
			}
			for _, c := range report.Checks {
				if want, looked := tt.checks[c.Name]; looked && c.Status.String() != want {
					t.Errorf("%s: %s, %s; want %s", c.Name, c.Status, c.Detail, want)
				}
			}
		})
	}
}

// TestDoctor_Fails: the exit status is 1 when a check fails, and the advice
// stands below it.
func TestDoctor_Fails(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithScope("crm"))
	defer portal.Close()
	code, stdout, _ := examine(t, t.Context(), portal, asApplication(portal))
	if code != exitFailed || !strings.Contains(stdout, "fail  scope              crm; neither pull nor pull_channel\n                         -> give the application or webhook the scope") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// TestDoctor_Interrupted: what is known is printed, and the status is 1.
func TestDoctor_Interrupted(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal()
	defer portal.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := time.AfterFunc(time.Minute, cancel) // no test waits for it
	defer stop.Stop()
	go func() {
		for portal.Stats().ClientPings == 0 { // the websocket is being checked
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	code, stdout, _ := examine(t, ctx, portal, asApplication(portal))
	if code != exitFailed || !strings.Contains(stdout, "pass  config") || !strings.Contains(stdout, "skip  polls              interrupted") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// TestDoctor_Mistakes: a mistake in how it is called gets one line, which tells
// no secret, and status 2.
func TestDoctor_Mistakes(t *testing.T) {
	const secret = "s3cr" + "3t"
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"no": "config"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	endless := filepath.Join(t.TempDir(), "endless.json")
	if err := os.WriteFile(endless, bytes.Repeat([]byte(" "), chosen.MaxConfig+1), 0o600); err != nil {
		t.Fatal(err)
	}
	webhook := map[string]string{"B24PULL_WEBHOOK": "https://portal.example/rest/1/" + secret + secret + "/"}
	tests := []struct {
		env  map[string]string
		args string
		want string
	}{
		{nil, "-dance", "not defined: -dance; see -h"},
		{nil, "now", `unexpected argument "now"; see -h`},
		{nil, "-idle -5m", "-idle must not be negative"},
		{nil, "-config " + file + ".none", "-config: open"},
		{nil, "-config " + file, "-config " + file},
		{nil, "-config=", "-config: the name of the file is empty"},
		{nil, "-config " + endless, "has more than 8 MiB"},
		{nil, "-emit -config " + file, "-emit needs a portal to ask"},
		{webhook, "-emit", "-emit needs an application"},
		{map[string]string{"B24PULL_PORTAL": "https://portal.example"}, "", "go together"},
		{map[string]string{"B24PULL_WEBHOOK": webhook["B24PULL_WEBHOOK"], "B24PULL_PORTAL": "https://portal.example"}, "", "set either"},
		{map[string]string{"B24PULL_WEBHOOK": "ftp://" + secret}, "", "B24PULL_WEBHOOK: "},
	}
	for _, tt := range tests {
		code, stdout, stderr := examine(t, t.Context(), nil, tt.env, strings.Fields(tt.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, secret) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %q in one line", tt.args, code, tt.want)
		}
	}
}

// TestDoctor_Colours: a status has a colour on a terminal, and nowhere else.
func TestDoctor_Colours(t *testing.T) {
	r := doctor.Result{Name: "polls", Status: doctor.Fail, Detail: "HTTP 404"}
	if got, want := (&program{colour: true}).coloured(r), "\x1b[31mfail\x1b[0m  polls              HTTP 404"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got := (&program{}).coloured(r); got != r.String() {
		t.Errorf("%q", got)
	}
	if isTerminal(new(bytes.Buffer)) {
		t.Error("a buffer is taken for a terminal")
	}
}
