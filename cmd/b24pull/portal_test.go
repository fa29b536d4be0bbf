package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal"
	"github.com/b24pull/b24pull/realtime"
)

// box is b24pull portal as a process.
type box struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  bool

	Control string
	CAFile  string `json:"ca_file"`
	Portals []struct {
		Name, URL, Webhook string
		Version            int
		PlainURL           string `json:"plain_url"`
		PushURL            string `json:"push_url"`
		AccessToken        string `json:"access_token"`
	}
}

func startBox(t *testing.T, env []string, args ...string) *box {
	t.Helper()
	b := &box{t: t, cmd: exec.CommandContext(t.Context(), binary, append([]string{"portal"}, args...)...)}
	b.cmd.Env = append([]string{"TMPDIR=" + t.TempDir()}, env...)
	b.cmd.Stderr = &b.stderr
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !b.ended {
			b.cmd.Process.Kill()
			b.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, b)
	}
	if err != nil || len(b.Portals) == 0 {
		b.cmd.Wait()
		t.Fatalf("the ready line: %v; stderr %s", err, &b.stderr)
	}
	return b
}

// signal ends the process, and reports its exit status. The signal comes
// several times, as when a terminal and a program that passes it on both send
// it.
func (b *box) signal(s os.Signal) int {
	b.t.Helper()
	for range 5 {
		if err := b.cmd.Process.Signal(s); err != nil {
			b.t.Fatal(err)
		}
		time.Sleep(time.Millisecond / 2)
	}
	b.cmd.Wait()
	b.ended = true
	return b.cmd.ProcessState.ExitCode()
}

// client trusts what the file with the authority says, and nothing else.
func (b *box) client() *http.Client {
	b.t.Helper()
	pem, err := os.ReadFile(b.CAFile)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		b.t.Fatal("there is no certificate in the file")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// post does an action on a portal.
func (b *box) post(portal, action, body string) {
	b.t.Helper()
	resp, err := http.Post(b.Control+"/v1/portals/"+portal+"/"+action, "application/json", strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %d %s", action, resp.StatusCode, said)
	}
}

// get reads from the control API.
func (b *box) get(path string, into any) {
	b.t.Helper()
	resp, err := http.Get(b.Control + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("GET %s: %d, %v", path, resp.StatusCode, err)
	}
}

// TestPortalProcess: a subscription of the SDK to a portal in another process,
// which emits, cuts the connection, emits meanwhile, and tells of it all.
func TestPortalProcess(t *testing.T) {
	t.Parallel()
	b := startBox(t, nil, "-ca-file", filepath.Join(t.TempDir(), "ca.pem"), "-portals", `[{"name":"shop","version":4,"history":[]},{"name":"old","version":2}]`)
	if len(b.Portals) != 2 || b.Portals[0].Name != "shop" || b.Portals[1].Version != 2 {
		t.Fatalf("there are %d portals", len(b.Portals))
	}
	for _, portal := range b.Portals {
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken})
		client, err := b24pull.New(b24pull.OAuth(portal.URL, tokens), b24pull.WithHTTPClient(b.client()))
		if err != nil {
			t.Fatal(err)
		}
		sub, err := realtime.Subscribe(client, realtime.WithBackoff(func(int) time.Duration { return 20 * time.Millisecond }))
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan string)
		go func() {
			defer close(heard)
			for m, err := range sub.Messages(t.Context()) {
				if err != nil {
					return
				}
				heard <- m.Command
			}
		}()
		<-sub.Ready()
		b.post(portal.Name, "emit", `{"command":"one"}`)
		if got := <-heard; got != "one" {
			t.Errorf("%s: heard %q", portal.Name, got)
		}
		b.post(portal.Name, "misbehave", `{"services":["websockets","polls"],"fault":"bad_gateway"}`)
		b.post(portal.Name, "cut", `{}`)
		b.post(portal.Name, "emit", `{"command":"two"}`)
		b.post(portal.Name, "behave", `{}`)
		if got := <-heard; got != "two" {
			t.Errorf("%s: heard %q", portal.Name, got)
		}
		var stats map[string]int
		b.get("/v1/portals/"+portal.Name+"/stats", &stats)
		if stats["published"] != 2 || stats["replayed"] == 0 {
			t.Errorf("%s: published %d, replayed %d", portal.Name, stats["published"], stats["replayed"])
		}
		var log struct{ Events []struct{ Reason string } }
		b.get("/v1/portals/"+portal.Name+"/log?kind=unsubscribed&wait_seconds=10", &log)
		if !slices.Contains(log.Events, struct{ Reason string }{"cut"}) {
			t.Errorf("%s: of connections that have ended none was cut: %v", portal.Name, log.Events)
		}
		sub.Close()
		for range heard {
		}
	}
	if runtime.GOOS != "windows" {
		if code := b.signal(syscall.SIGTERM); code != 0 {
			t.Errorf("after SIGTERM: exit status %d, stderr %s", code, &b.stderr)
		}
	}
}

// TestPortalProcess_Ends: it ends cleanly on either signal, also while somebody
// listens, and leaves no file behind that nobody has asked for.
func TestPortalProcess_Ends(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt there")
	}
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		b := startBox(t, nil)
		resp, err := http.Get(b.Control + "/v1/portals/portal/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := os.Stat(b.CAFile); err != nil {
			t.Error(err)
		}
		if code := b.signal(signal); code != 0 {
			t.Errorf("after %v: exit status %d, stderr %s", signal, code, &b.stderr)
		}
		if _, err := os.Stat(b.CAFile); !os.IsNotExist(err) {
			t.Errorf("the temporary file is still there: %v", err)
		}
		if said := b.stderr.String(); strings.Contains(said, b.Portals[0].AccessToken) || strings.Contains(said, b.Portals[0].Webhook) {
			t.Error("a secret is on stderr")
		}
	}
}

// TestPortalProcess_Fixed: addresses are those of flags and environment, and the
// push server is at the root where that is said.
func TestPortalProcess_Fixed(t *testing.T) {
	t.Parallel()
	addresses := freeAddresses(t, 3)
	b := startBox(t, []string{"B24PULL_PORTAL_HTTP=" + addresses[1], "B24PULL_PORTAL_PUSH_PATH=/", "B24PULL_PORTAL_VERSION=3",
		"B24PULL_PORTAL_PORT=tcp://10.0.0.1:8443", "B24PULL_PORTAL_PORT_8443_TCP=tcp://10.0.0.1:8443", "B24PULL_PORTAL_SERVICE_HOST=10.0.0.1"},
		"-control", addresses[0], "-address", addresses[2], "-version", "4", "-key", "s3cr3t-key", "-seed", "seed")
	portal := b.Portals[0]
	if b.Control != "http://"+addresses[0] || portal.PlainURL != "http://"+addresses[1] || portal.URL != "https://"+addresses[2] || portal.PushURL != portal.URL || portal.Version != 4 {
		t.Errorf("control %s, http %s, https %s, push server %s, version %d", b.Control, portal.PlainURL, portal.URL, portal.PushURL, portal.Version)
	}
	for _, url := range []string{portal.PlainURL + "/server-stat/", portal.URL + "/server-stat/", portal.Webhook + "pull.config.get"} {
		resp, err := b.client().Get(url)
		if err != nil {
			t.Fatal("no answer")
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("answered %d", resp.StatusCode)
		}
	}
}

// freeAddresses are addresses that were free a moment ago.
func freeAddresses(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// TestPortalProcess_Errors: what is wrong with flags, environment and files has
// exit status 2, and an address that is taken 1; one line says what it is.
func TestPortalProcess_Errors(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	tests := []struct {
		args, env []string
		code      int
		want      string
	}{
		{[]string{"-address", taken}, nil, 1, "cannot listen at"},
		{[]string{"-http", taken}, nil, 1, "cannot listen at"},
		{[]string{"-control", taken}, nil, 1, "-control: "},
		{[]string{"-ca-file", filepath.Join(t.TempDir(), "none", "ca.pem")}, nil, 1, "-ca-file: "},
		{[]string{"-cert", "a"}, nil, 2, "go together"},
		{[]string{"-cert", "/none", "-cert-key", "/none"}, nil, 2, "-cert and -cert-key: "},
		{[]string{"-version", "6"}, nil, 2, "-version: want a number from 1 to 5"},
		{[]string{"-version", "four"}, nil, 2, `-version: want a number from 1 to 5, not "four"`},
		{nil, []string{"B24PULL_PORTAL_VERSION=x"}, 2, `B24PULL_PORTAL_VERSION: want a number from 1 to 5, not "x"`},
		{[]string{"-portal", "a:9"}, nil, 2, "from 1 to 5"},
		{[]string{"-control", "8090"}, nil, 2, "-control: want host:port"},
		{[]string{"-control", "127.0.0.1:99999"}, nil, 2, "-control: want host:port"},
		{[]string{"-control-host", "a b"}, nil, 2, `-control-host: want names`},
		{[]string{"-control-host", "a,http://b"}, nil, 2, `-control-host: want names`},
		{[]string{"-address", "127.0.0.1:99999"}, nil, 2, "-address: want host:port"},
		{[]string{"-portal", "a:4:127.0.0.1:99999"}, nil, 2, "address: want host:port"},
		{[]string{"-http", "8080"}, nil, 2, "-http: want host:port"},
		{[]string{"-hostname", "https://x"}, nil, 2, "-hostname: want a name"},
		{[]string{"-cert", "portal_test.go", "-cert-key", "portal_test.go"}, nil, 2, "-cert and -cert-key: "},
		{[]string{"-portal", "a", "-name", "b"}, nil, 2, "-name is for one portal"},
		{[]string{"-portals", `[{"name":"a"}]`, "-name", "b"}, nil, 2, "-name is for a portal"},
		{[]string{"-portals", `[{"name":"a"},{"name":"a"}]`}, nil, 2, `two portals "a"`},
		{[]string{"-portals", "{}"}, nil, 2, "-portals: want a list of objects, such as"},
		{[]string{"-portals", "[{}"}, nil, 2, "at byte 3"},
		{[]string{"-portal", "a", "-portal", "b", "-address", "127.0.0.1:18443"}, nil, 2, "-address is for one portal; give each its own: -portal b:4:host:port"},
		{[]string{"-portal", "a", "-portal", "b", "-http", "127.0.0.1:18443"}, nil, 2, "-http is for one portal; give each its own: "},
		{[]string{"-portal", "a:4:127.0.0.1:18443", "-portal", "b:4:127.0.0.1:18443"}, nil, 2, "-address: 127.0.0.1:18443 is that of address of a already"},
		{[]string{"-control", "127.0.0.1:18443", "-address", "127.0.0.1:18443"}, nil, 2, "is that of -control already"},
		{[]string{"-users", `[{"id":1`}, nil, 2, "-users: want JSON: unexpected end of JSON input, at byte 8"},
		{[]string{"-users", "[]"}, nil, 2, "-users: want a length from 1 to 10000"},
		{[]string{"-answers", `["a"]`}, nil, 2, "-answers: want a JSON object"},
		{[]string{"-answers", `{"a b":1}`}, nil, 2, `-answers: "a b" is no name of a method`},
		{[]string{"-push-path", "/rest"}, nil, 2, "-push-path: want a path outside"},
		{[]string{"-processes", "2,0"}, nil, 2, "-processes: processes.publishers: want a number from 1 to 64"},
		{[]string{"-version", "0"}, nil, 2, "-version: want"},
		{[]string{"-versoin", "4"}, nil, 2, "-versoin"},
		{[]string{"shop"}, nil, 2, `unexpected argument "shop"`},
		{nil, []string{"B24PULL_PORTAL_VERSOIN=4"}, 2, "B24PULL_PORTAL_VERSOIN"},
		{nil, []string{"B24PULL_PORTAL_SHARED=maybe"}, 2, "B24PULL_PORTAL_SHARED"},
		{[]string{"-portal", "a:four"}, nil, 2, "want name:version:host:port, with a version from 1 to 5"},
		{[]string{"-portal", "a", "-portal", "a"}, nil, 2, `there are two portals "a"; give each its own name`},
		{[]string{"-portals", `[{"name":"a","colour":1}]`}, nil, 2, "portal 1: colour: there is no such field"},
		{[]string{"-portals", "/none.json"}, nil, 2, "-portals: "},
		{[]string{"-answers", "{"}, nil, 2, "-answers: "},
		{[]string{"-users", `[{"id":"one"}]`}, nil, 2, "users[0].id: want a whole number"},
		{[]string{"-processes", "2"}, nil, 2, "-processes: "},
		{[]string{"-processes", "2,2,2"}, nil, 2, "-processes: "},
		{[]string{"-portal", "a:0"}, nil, 2, "a version from 1 to 5"},
		{[]string{"-address", "8443"}, nil, 2, "-address: want host:port"},
		{[]string{"-http-urls"}, nil, 2, "-http-urls needs -http host:port"},
		{[]string{"-push-path", "sub"}, nil, 2, "-push-path: want"},
	}
	for i, tt := range tests {
		var stdout, stderr bytes.Buffer
		var code int
		if environment := append([]string{"TMPDIR=" + os.Getenv("TMPDIR")}, tt.env...); i == 0 || i == len(tests)-1 {
			cmd := exec.CommandContext(t.Context(), binary, append([]string{"portal"}, tt.args...)...)
			cmd.Env, cmd.Stdout, cmd.Stderr = environment, &stdout, &stderr
			cmd.Run()
			code = cmd.ProcessState.ExitCode()
		} else {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // it may begin
			code = portal.Run(ctx, tt.args, environment, &stdout, &stderr)
			cancel()
		}
		said := stderr.String()
		last := said[strings.LastIndex(strings.TrimSuffix(said, "\n"), "\n")+1:]
		if code != tt.code || !strings.HasPrefix(last, "b24pull portal: ") || !strings.Contains(last, tt.want) || stdout.Len() > 0 {
			t.Errorf("%q %q: exit status %d, stdout %d bytes, stderr %s", tt.args, tt.env, code, stdout.Len(), said)
		}
	}
}
