package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/publish"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}

// A screen takes what the program prints, line by line.
type screen struct {
	t *testing.T

	mu    sync.Mutex
	text  strings.Builder
	wrote chan struct{}
}

func newScreen(t *testing.T) *screen { return &screen{t: t, wrote: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until there are lines, in whatever order.
func (s *screen) shows(lines ...string) {
	s.t.Helper()
	late := time.After(time.Minute)
	for _, line := range lines {
		for !strings.Contains("\n"+s.String(), "\n"+line+"\n") {
			select {
			case <-s.wrote:
			case <-late:
				s.t.Fatalf("no line %q in\n%s", line, s)
			}
		}
	}
}

// A conversation runs the program, or what it does on a portal.
type conversation struct {
	*screen
	keyboard *io.PipeWriter
	done     chan error
}

func begin(t *testing.T, program func(ctx context.Context, in io.Reader, out io.Writer) error) *conversation {
	in, keyboard := io.Pipe()
	c := &conversation{screen: newScreen(t), keyboard: keyboard, done: make(chan error, 1)}
	t.Cleanup(func() { keyboard.Close() })
	go func() { c.done <- program(t.Context(), in, c.screen) }()
	return c
}

func (c *conversation) types(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.keyboard, line); err != nil {
		c.t.Fatal(err)
	}
}

// ends is the end of the input.
func (c *conversation) ends() {
	c.t.Helper()
	c.keyboard.Close()
	if err := <-c.done; err != nil {
		c.t.Error(err)
	}
	if strings.Contains(c.String(), pulltest.SecretMark) {
		c.t.Error("a secret was shown")
	}
}

// eachVersion runs a test for the push servers that clients can publish on.
func eachVersion(t *testing.T, test func(t *testing.T, portal *pulltest.Portal)) {
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithHistory())
			t.Cleanup(portal.Close)
			test(t, portal)
		})
	}
}

// TestChat runs the program with nothing set.
func TestChat(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	c := begin(t, func(ctx context.Context, in io.Reader, out io.Writer) error { return run(ctx, "", 5, in, out) })
	c.shows("[user 1] connected", "[user 2] connected")
	c.shows("[user 1] type a line and Enter; an empty line tells the others that you are typing")
	c.types("hello")
	c.shows(`[user 2] user 1: "hello"`, "[user 2] it is your turn")
	c.ends()
}

// TestChat_Settle: what never arrives is not waited for for ever.
func TestChat_Settle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := new(chat)
		lost.sent.Add(1)
		began := time.Now()
		settle(t.Context(), []*chat{lost, new(chat)})
		if waited := time.Since(began); waited != longest {
			t.Errorf("waited for %v", waited)
		}
		began = time.Now()
		settle(t.Context(), []*chat{lost}) // the others show it, elsewhere
		if waited := time.Since(began); waited != moment {
			t.Errorf("waited for %v over a real portal", waited)
		}
	})
}

// TestChat_Versions: two users see each other come, type, and say something.
func TestChat_Versions(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, portal *pulltest.Portal) {
		c := begin(t, func(ctx context.Context, in io.Reader, out io.Writer) error { return onPortal(ctx, portal, in, out) })
		c.shows("[user 1] connected", "[user 2] connected", "[user 1] user 2 is online", "[user 2] user 1 is online")
		c.types("")
		c.shows("[user 2] user 1 is typing")
		c.types("hello")
		c.shows(`[user 2] user 1: "hello"`)
		c.types("")
		c.shows("[user 1] user 2 is typing")
		c.types("tricks: \x1b[2J")
		c.shows(`[user 1] user 2: "tricks: \x1b[2J"`)
		portal.Emit(pulltest.Message{Command: say, Params: said{"the portal's own"}})
		portal.EmitAsClient(pulltest.Message{Command: say, Params: []int{1}})
		for !strings.Contains(c.String(), "message skipped: ") && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		portal.Cut()
		// what was under way may be lost: nobody knows, and it is not repeated
		for !strings.Contains(c.String(), `: "still there?"`) && t.Context().Err() == nil {
			c.types("still there?")
			time.Sleep(200 * time.Millisecond)
		}
		c.ends()
		if strings.Contains(c.String(), "portal's own") {
			t.Errorf("a message of the portal was taken for one of a user:\n%s", c)
		}
	})
}

// TestChat_Piped: what stands in a file is said and shown to its end, and
// nobody is told to be offline who is still connecting.
func TestChat_Piped(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, portal *pulltest.Portal) {
		out := newScreen(t)
		if err := onPortal(t.Context(), portal, strings.NewReader("hello\n\nhow are you\nfine\nbye\n"), out); err != nil {
			t.Fatal(err)
		}
		shown := out.String()
		for _, line := range []string{
			`[user 2] user 1: "hello"`, "[user 1] user 2 is typing", `[user 1] user 2: "how are you"`,
			`[user 2] user 1: "fine"`, `[user 1] user 2: "bye"`,
		} {
			if strings.Count(shown, line+"\n") != 1 {
				t.Errorf("want %q once", line)
			}
		}
		connected := max(strings.Index(shown, "[user 1] connected\n"), strings.Index(shown, "[user 2] connected\n"))
		if online := strings.Index(shown, "is online"); strings.Contains(shown, "offline") || online >= 0 && online < connected {
			t.Error("presence was told before both were connected")
		}
		if t.Failed() {
			t.Log(shown)
		}
	})
}

// TestChat_LongLine: a line that is too long is refused, and what follows said.
func TestChat_LongLine(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	const limit = 64 << 10
	lines := strings.Repeat("a", limit) + "\r\n" + strings.Repeat("b", limit+1) + "\n" + strings.Repeat("c", 5*limit) + "\nafter"
	out := newScreen(t)
	if err := onPortal(t.Context(), portal, strings.NewReader(lines), out); err != nil {
		t.Fatal(err)
	}
	const refused = "[user 2] not sent: the line is longer than 65536 bytes\n"
	if shown := out.String(); strings.Count(shown, refused) != 2 || !strings.Contains(shown, strings.Repeat("a", limit)+"\"\n") ||
		!strings.Contains(shown, "[user 1] user 2: \"after\"\n") {
		t.Errorf("got %d refusals; the end is %q", strings.Count(shown, refused), shown[max(0, len(shown)-300):])
	}
}

// unreachable is a network that is down.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the network is down")
}

// offline is a chat on it.
func offline(t *testing.T, print func(string)) *chat {
	client, err := login("https://portal.example", pulltest.SecretMark, b24pull.WithHTTPClient(&http.Client{Transport: unreachable{}}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChat(client, []int64{2}, print)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestChat_Unreachable: the program says why it does not connect, soon and
// again.
func TestChat_Unreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newScreen(t)
		c := offline(t, func(line string) { fmt.Fprintln(out, line) })
		in, keyboard := io.Pipe()
		defer keyboard.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- talk(ctx, in, c) }()
		time.Sleep(10 * time.Second)
		if !strings.Contains(out.String(), "the network is down") {
			t.Errorf("after 10 s: %q", out)
		}
		time.Sleep(10 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		shown := out.String()
		if n := strings.Count(shown, "connecting again in "); n < 5 || n > 200 || strings.Contains(shown, pulltest.SecretMark) {
			t.Errorf("%d lines of why there is no connection", n)
		}
	})
}

// TestChat_NotAnswered: that nobody knows who is online is told, not at each
// question.
func TestChat_NotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := offline(t, func(line string) {
			if strings.HasPrefix(line, "who is online is not known: ") && strings.Contains(line, "the network is down") {
				told++
			}
		})
		defer c.publisher.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := c.ask(ctx); err != nil {
			t.Error(err)
		}
		if told < 5 || told > 10 {
			t.Errorf("told %d times in ten minutes", told)
		}
	})
}

// TestChat_Official: the other one uses the official JS client.
func TestChat_Official(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, portal *pulltest.Portal) {
		js := jstest.Start(t, jstest.Login{
			Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
			AccessToken: portal.Token(2).AccessToken, User: 2,
		}, 1)
		c := begin(t, func(ctx context.Context, in io.Reader, out io.Writer) error {
			defer portal.HTTPClient().CloseIdleConnections()
			client, err := login(portal.URL(), portal.Token(1).AccessToken, b24pull.WithHTTPClient(portal.HTTPClient()))
			if err != nil {
				return err
			}
			one, err := newChat(client, []int64{2}, func(line string) { fmt.Fprintln(out, line) })
			if err != nil {
				return err
			}
			return talk(ctx, in, one)
		})
		c.shows("connected", "user 2 is online")
		send := func(command string, s said) {
			if err := js.Publish(t.Context(), command, s, kept, 1); err != nil {
				t.Fatal(err)
			}
		}
		send(typing, said{})
		c.shows("user 2 is typing")
		send(say, said{"hello from JS"})
		c.shows(`user 2: "hello from JS"`)
		c.types("hello from Go")
		for len(js.Received()) == 0 && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		if got := js.Received()[0]; got.Command != say || string(got.Params) != `{"text":"hello from Go"}` || got.Sender != 1 {
			t.Errorf("the JS client got %+v", got)
		}
		c.ends()
		if troubles := js.Troubles(); len(troubles) > 0 {
			t.Errorf("the JS client has troubles: %q", troubles)
		}
	})
}

// TestChat_Mistakes: what is missing is said.
func TestChat_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		portal, token, to string
		version           int
		want              string
	}{
		{"https://portal.example", "", "2", 4, "go together"},
		{"", "", "2", 4, "-to is for a real portal"},
		{"https://portal.example", "x", "", 4, "want ids of users"},
		{"https://portal.example", "x", "2,-1", 4, "want ids of users"},
		{"portal example", "x", "2", 4, "spaces"},
		{"https://portal.example", "x", "2", 5, "-version is for the portal in memory"},
		{"", "", "", 3, "want 4 or 5"},
		{"", "", "", 6, "want 4 or 5"},
	} {
		t.Setenv("B24PULL_PORTAL", tt.portal)
		t.Setenv("B24PULL_ACCESS_TOKEN", tt.token)
		if err := run(t.Context(), tt.to, tt.version, strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}

// TestChat_OldServer: where clients cannot publish the program says so and
// ends.
func TestChat_OldServer(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithVersion(3), pulltest.WithHistory())
	defer portal.Close()
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	err := onPortal(t.Context(), portal, in, io.Discard)
	if !errors.Is(err, publish.ErrUnavailable) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("got %v", err)
	}
}
