package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		os.Exit(consumerMain(os.Stdin, os.Stdout, os.Stderr))
	}
	resttest.AtOnce(16)
	goleak.VerifyTestMain(m)
}

// quick are options for a test: a save may take long on a busy machine, all
// else is short.
func quick() *options {
	o := defaults()
	o.saveEvery, o.saveSlack, o.grace = 100*time.Millisecond, time.Minute, 200*time.Millisecond
	return o
}

// result is what a run of the program has come to.
type result struct {
	code                                          int
	stdout, stderr                                string
	lost, repeated, disordered, kept, cuts, kills int
}

var lastLine = regexp.MustCompile(`(?:^|\n)lost (\d+), repeated (\d+), out of order (\d+) of (\d+); cuts (\d+), kills (\d+)\n$`)

// soaked runs the program.
func soaked(t *testing.T, o *options, consume consumeFunc, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	r := result{code: run(t.Context(), o, args, &stdout, &stderr, consume)}
	r.stdout, r.stderr = stdout.String(), stderr.String()
	found := lastLine.FindStringSubmatch(r.stdout)
	if found == nil {
		t.Fatalf("exit code %d, no verdict in %q\n%s", r.code, r.stdout, r.stderr)
	}
	for i, n := range []*int{&r.lost, &r.repeated, &r.disordered, &r.kept, &r.cuts, &r.kills} {
		*n, _ = strconv.Atoi(found[i+1])
	}
	return r
}

// wantAll fails the test unless all has come, once.
func (r result) wantAll(t *testing.T, kept int) {
	t.Helper()
	t.Log(strings.TrimSpace(r.stdout))
	if r.code != 0 || r.lost != 0 || r.repeated != 0 || r.kept != kept {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// onEveryTransport runs a test with versions from the first one to 5, by
// websocket and by polls: args say which to the program. Not all of them are run
// where tests are not thorough.
func onEveryTransport(t *testing.T, first int, test func(t *testing.T, transport string, args ...string)) {
	for version := first; version <= 5; version++ {
		for _, transport := range []string{"ws", "poll"} {
			t.Run(fmt.Sprint(version, " ", transport), func(t *testing.T) {
				resttest.Sample(t)
				t.Parallel()
				test(t, transport, "-version", strconv.Itoa(version), "-transport", transport)
			})
		}
	}
}

// TestCommand_Portal: all that is published arrives under cuts, whatever the version
// and the transport.
func TestCommand_Portal(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, 3, func(t *testing.T, _ string, args ...string) {
		r := soaked(t, quick(), (*consumer).consume, append(args, "-messages", "300")...)
		r.wantAll(t, 300)
	})
}

// TestCommand_HostilePortal has wider holes than any real server.
func TestCommand_HostilePortal(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, 1, func(t *testing.T, transport string, args ...string) {
		if transport == "poll" && !resttest.Thorough {
			t.Skip("may wait for the end of a poll: B24PULL_LONG=1")
		}
		r := soaked(t, quick(), (*consumer).consume, append(args, "-messages", "300", "-hostile", "-pings", "200ms")...)
		r.wantAll(t, 300)
	})
}

// TestCommand_HostilePortalWithOnePublisher: flags say how many processes a hostile portal
// has. Kept messages of one that publishes keep their order, as nothing is cut or
// dropped.
func TestCommand_HostilePortalWithOnePublisher(t *testing.T) {
	t.Parallel()
	r := soaked(t, quick(), (*consumer).consume, "-messages", "100", "-hostile", "-publishers", "1", "-transient", "0", "-cut", "0", "-pings", "1h")
	r.wantAll(t, 100)
	if r.disordered != 0 {
		t.Errorf("%d of one publisher are out of order", r.disordered)
	}
}

// TestCommand_HostilePortalWithoutSettling is the twin of TestCommand_HostilePortal: with a disorder
// of a second, messages are lost if the cursor may stand on what has just come. Transient
// ones, which are sent at once, move it past those that are still to be stored. What
// is kept may come no sooner than a poll has ended, so it counts as lost only long
// after that. Chance is to decide nothing: a run in which nothing is lost is followed
// by another.
func TestCommand_HostilePortalWithoutSettling(t *testing.T) {
	if !resttest.Thorough {
		t.Skip("takes more than a minute; B24PULL_LONG=1 runs it")
	}
	t.Parallel()
	consume := func(c *consumer, ctx context.Context, report reporter) error {
		c.Settle = time.Nanosecond
		return c.consume(ctx, report)
	}
	for range 3 {
		r := soaked(t, quick(), consume, "-transport", "poll", "-messages", "1000", "-hostile", "-transient", "0.6", "-cut", "0", "-wait", "1m")
		t.Log(strings.TrimSpace(r.stdout))
		if r.lost > 0 {
			if r.code != exitFailed {
				t.Errorf("exit code %d although messages are lost", r.code)
			}
			return
		}
	}
	t.Error("nothing is lost without the settle time: the disorder shows nothing")
}

// TestCommand_DistantPortal has distance, pings, and processes that overtake each
// other.
func TestCommand_DistantPortal(t *testing.T) {
	t.Parallel()
	r := soaked(t, quick(), (*consumer).consume, "-messages", "300", "-delay", "20ms", "-pings", "200ms",
		"-subscribers", "2", "-publishers", "2", "-disorder", "20ms")
	r.wantAll(t, 300)
}

// TestCommand_FalseServer: while a false web server stands in the place of long polling
// nothing is lost either.
func TestCommand_FalseServer(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, 1, func(t *testing.T, _ string, args ...string) {
		messages, lasts := 600, "3s"
		if testing.Short() {
			messages, lasts = 300, "1500ms"
		}
		r := soaked(t, quick(), (*consumer).consume, append(args, "-messages", strconv.Itoa(messages), "-false", lasts)...)
		r.wantAll(t, messages)
		if !strings.Contains(r.stderr, "true again") {
			t.Errorf("there was no false server: %s", r.stderr)
		}
	})
}

// TestCommand_RealServer has the program make its own channel for a push server that it
// knows by its addresses and key.
func TestCommand_RealServer(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 4; version++ {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			const key = "another-secret-key"
			portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithKey(key))
			defer portal.Close()
			target, err := url.Parse(portal.PushURL())
			if err != nil {
				t.Fatal(err)
			}
			front := httptest.NewServer(&httputil.ReverseProxy{ // without TLS, since the program trusts no strange certificate
				Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
				Transport:     portal.HTTPClient().Transport,
				ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
				FlushInterval: -1,
			})
			defer front.Close()
			socket := strings.Replace(front.URL, "http", "ws", 1) + "/sub/"
			if version <= 2 {
				socket = strings.Replace(socket, "/sub/", "/subws/", 1)
			}
			args := []string{"-version", strconv.Itoa(version), "-key", key, "-messages", "100",
				"-sub", socket, "-poll", front.URL + "/sub/", "-pub", front.URL + "/pub/," + front.URL + "/pub/"}
			r := soaked(t, quick(), (*consumer).consume, args...)
			r.wantAll(t, 100)
			if version < 3 {
				return
			}
			args[3] = "not-the-key"
			r = soaked(t, quick(), (*consumer).consume, args...)
			if r.code != exitFailed || !strings.Contains(r.stderr, "-key") || strings.Contains(r.stderr, "not-the-key") {
				t.Errorf("with a wrong key: exit code %d, %s", r.code, r.stderr)
			}
		})
	}
}

// TestCommand_Kills: a consumer that is killed and started again loses nothing.
func TestCommand_Kills(t *testing.T) {
	t.Parallel()
	r := soaked(t, quick(), (*consumer).consume, "-messages", "400", "-kill", "2")
	r.wantAll(t, 400)
	if r.kills != 2 {
		t.Errorf("%d kills", r.kills)
	}
}

// TestCommand_Backlog: the program says how much memory the consumer took.
func TestCommand_Backlog(t *testing.T) {
	t.Parallel()
	r := soaked(t, quick(), (*consumer).consume, "-backlog", "3MB", "-pings", "2s") // a slow machine takes no answer for an empty one, until a ping
	r.wantAll(t, 301)
	told := regexp.MustCompile(`^memory max ([1-9]\d*) MiB, at rest ([1-9]\d*) MiB\n`).MatchString(r.stdout)
	if told != (runtime.GOOS == "linux") {
		t.Errorf("printed %q", r.stdout)
	}
}

// careless is a consumer that passes over some messages and handles others
// twice.
type careless struct{ reporter }

func (c careless) handled(n int) {
	switch n % 50 {
	case 10:
		return
	case 20:
		c.reporter.handled(n)
	}
	c.reporter.handled(n)
}

// TestCommand_CarelessConsumer is the twin of TestCommand_Portal: the program sees what is lost
// and what is repeated.
func TestCommand_CarelessConsumer(t *testing.T) {
	t.Parallel()
	consume := func(c *consumer, ctx context.Context, report reporter) error {
		return c.consume(ctx, careless{report})
	}
	r := soaked(t, quick(), consume, "-messages", "100", "-transient", "0", "-cut", "0", "-wait", "1s")
	if r.code != exitFailed || r.lost == 0 || r.repeated == 0 || !strings.Contains(r.stderr, "the first that are lost: [10 60") {
		t.Errorf("exit code %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestCommand_Interrupted: what was published until then is waited for. The program is
// interrupted once it has cut something.
func TestCommand_Interrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	hasCut := regexp.MustCompile(`cuts [1-9]`)
	watch := writer(func(line []byte) {
		if hasCut.Match(line) {
			cancel()
		}
	})
	code := run(ctx, quick(), []string{"-messages", "1000000"}, &stdout, io.MultiWriter(&stderr, watch), (*consumer).consume)
	found := lastLine.FindStringSubmatch(stdout.String())
	if code != 0 || found == nil || found[1] != "0" || found[2] != "0" || found[5] == "0" {
		t.Errorf("exit code %d, %s%s", code, stdout.String(), stderr.String())
	}
}

type writer func(line []byte)

func (f writer) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// TestCommand_Mistakes: each gets one clear line.
func TestCommand_Mistakes(t *testing.T) {
	real := func(args ...string) []string {
		return append([]string{"-sub", "wss://push.example/subws/", "-poll", "https://push.example/sub/", "-pub", "https://push.example/pub/", "-key", "s3cr3t"}, args...)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an argument", []string{"portal"}, "portal"},
		{"an unknown flag", []string{"-verbose"}, "-verbose"},
		{"no such version", []string{"-version", "6"}, "-version"},
		{"no such transport", []string{"-transport", "carrier pigeon"}, "-transport"},
		{"no messages", []string{"-messages", "0"}, "-messages"},
		{"no rate", []string{"-rate", "NaN"}, "-rate"},
		{"nothing kept", []string{"-transient", "1"}, "-transient"},
		{"a range upside down", []string{"-cut", "600ms-100ms"}, "-cut"},
		{"a range that is none", []string{"-cut", "often"}, "-cut"},
		{"a range from 0", []string{"-cut", "0s-1s"}, "-cut"},
		{"time that goes back", []string{"-delay", "-1s"}, "-delay"},
		{"a size that is none", []string{"-backlog", "200 elephants"}, "-backlog"},
		{"a small backlog", []string{"-backlog", "1kB"}, "-backlog"},
		{"a backlog and messages", []string{"-backlog", "1MB", "-messages", "5"}, "-backlog"},
		{"a key alone", []string{"-key", "s3cr3t"}, "-pub"},
		{"no websocket", []string{"-poll", "https://push.example/sub/", "-pub", "https://push.example/pub/", "-key", "s3cr3t"}, "-sub"},
		{"no polling", []string{"-sub", "wss://push.example/", "-pub", "https://push.example/pub/", "-key", "s3cr3t", "-transport", "poll"}, "-poll"},
		{"no polling on version 2", []string{"-sub", "wss://push.example/", "-pub", "https://push.example/pub/", "-version", "2"}, "-poll"},
		{"no key", []string{"-sub", "wss://push.example/", "-pub", "https://push.example/pub/"}, "-key"},
		{"a real version 5", real("-version", "5"), "-version"},
		{"a real server's processes", real("-publishers", "2"), "-publishers"},
		{"a real server that is false", real("-false", "5s"), "-false"},
		{"no websocket address", real("-sub", "https://s3cr3t"), "-sub"},
		{"no polling address", real("-poll", "push.example/s3cr3t"), "-poll"},
		{"no publishing address", real("-pub", "https://push.example/pub/,s3cr3t"), "-pub"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), quick(), tt.args, &stdout, &stderr, nil)
			line := stderr.String()
			if code != exitUsage || stdout.Len() > 0 || strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) || strings.Contains(line, "s3cr3t") {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), line)
			}
		})
	}
}

// TestCommand_CutsLeaveTimeToConnect: unless it is told otherwise, the program cuts
// less often over a distance.
func TestCommand_CutsLeaveTimeToConnect(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "100ms-600ms",
		"-delay=150ms":             "1.3s-1.8s",
		"-delay=150ms -cut=1s-2s":  "1s-2s",
		"-cut=0":                   "0s",
		"-backlog=1MB":             "0s",
		"-backlog=1MB -cut=1s":     "1s",
		"-backlog=1.5MiB -delay=0": "0s",
	} {
		o := defaults()
		flags := o.flags()
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := o.check(flags); err != nil || o.cut.String() != want {
			t.Errorf("%s: cuts every %s, %v; want %s", args, &o.cut, err, want)
		}
	}
}
