package resttest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
)

// Thorough has tests take some minutes more, with more servers, steps and
// messages, as they do before a release.
var Thorough = os.Getenv("B24PULL_LONG") != ""

// AtOnce has up to n parallel tests run at a time, unless the command line says
// how many, for tests that wait more than they work. It is for TestMain.
func AtOnce(n int) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(n))
	}
}

// sampled counts the scenarios that each test has met.
var sampled struct {
	sync.Mutex
	of map[string]int
}

// Sample skips nineteen in twenty of the scenarios of a test that has many, and
// none in a thorough run. The first is always run; which others are is not the
// same in each test.
func Sample(t *testing.T) {
	test, scenario, _ := strings.Cut(t.Name(), "/")
	if Thorough || scenario == "" {
		return
	}
	sampled.Lock()
	if sampled.of == nil {
		sampled.of = make(map[string]int)
	}
	nth := sampled.of[test]
	sampled.of[test]++
	sampled.Unlock()
	if nth > 0 && (nth+len(test))%20 != 0 {
		t.Skip("B24PULL_LONG=1 runs all scenarios")
	}
}

// Rounds is n in a thorough run, and a quarter of that, once at least, in any other.
func Rounds(n int) int {
	if Thorough {
		return n
	}
	return max(1, n/4)
}

// Every secret of these tests holds the mark.
const (
	Mark         = "s3cr3t"
	HookCode     = Mark + "hookcode"
	AccessToken  = Mark + "/access+token"
	RefreshToken = Mark + "refresh"
	ClientSecret = Mark + "clientsecret"
)

// leak returns the way of printing v that tells a secret, "" if none does.
func Leak(v any) string {
	forms := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%20v", "%.30s", "%o"} {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	marshalled, _ := json.Marshal(v)
	forms["slog text"], forms["slog json"], forms["json"] = text.String(), js.String(), string(marshalled)
	numbers := strings.Trim(fmt.Sprint([]byte(Mark)), "[]")
	for name, form := range forms {
		for _, secret := range []string{Mark, hex.EncodeToString([]byte(Mark)), numbers} {
			if strings.Contains(strings.ToLower(form), secret) {
				return name + ": " + form
			}
		}
	}
	return ""
}

// checkError looks at an error and at all within reach of it.
func CheckError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	t.Log(err)
	var address *url.Error
	var answer *oauth2.RetrieveError
	if errors.As(err, &address) || errors.As(err, &answer) {
		t.Errorf("a *url.Error or an *oauth2.RetrieveError is within reach of %v", err)
	}
	var walk func(error)
	walk = func(err error) {
		if form := Leak(err); form != "" {
			t.Errorf("%T tells a secret by %s", err, form)
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				walk(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
}

// roundTrip is a transport of a user's own.
type RoundTrip func(*http.Request) (*http.Response, error)

func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const MinimalConfig = `{"server":{"version":4,"websocket_secure":"wss://rt.example/"},"channels":{"shared":{"id":"shared-id"}}}`

// portal starts a TLS server that answers with handler.
func Portal(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	startTLS(srv)
	t.Cleanup(srv.Close)
	return srv
}

// reply answers every call alike.
func Reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func Static(token string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
}

func JSONResponse(r *http.Request, status int, v any) *http.Response {
	data, err := json.Marshal(v)
	if text, ok := v.(string); ok {
		data, err = []byte(text), nil
	}
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(string(data))), Request: r}
}

// A surround is what a portal's PHP, or what stands before it, writes around
// JSON.
type Surround struct{ Name, Before, After string }

const PHPNotice = "<br />\n<b>Notice</b>:  Undefined index: {closure} \"x\" in <b>/home/bitrix/www/bitrix/modules/rest/lib/auth.php</b> on line <b>42</b><br />\n"

var Surrounds = []Surround{
	{"nothing", "", ""},
	{"a byte order mark", "\ufeff", ""},
	{"byte order marks of several files", "\ufeff\r\n\ufeff \ufeff", "\ufeff\n"},
	{"a notice before", PHPNotice, ""},
	{"a byte order mark and a notice", "\ufeff" + PHPNotice, ""},
	{"a notice and a byte order mark", PHPNotice + "\ufeff", ""},
	{"a notice after", "", "\n" + PHPNotice},
	{"notices before and after", PHPNotice + PHPNotice, PHPNotice},
	{"a plain notice", "PHP Warning:  count(): Parameter must be an array {\"a\": or an object [1] in x.php on line 1\n", "\n"},
	{"a dump", "array(1) {\n  [\"a\"]=>\n  string(9) \"{\"b\":\"c\"}\"\n}\n", ""},
	{"a statistics line", "", "<!-- 0.12 s {\"queries\":3} -->"},
	{"a script of the host's", "", "<script>var a = {\"result\":false,\"error\":\"x\"};</script>"},
}

const MarkedConfig = `{
	"server": {"version": 5, "mode": "shared", "websocket_enabled": true,
		"websocket_secure": "wss://` + Mark + `:` + Mark + `@rt.example/subws/?key=` + Mark + `#` + Mark + `",
		"publish": "%zz` + Mark + `",
		"long_polling_secure": "https://rt.example/sub/?key=` + Mark + `", "publish_secure": "https://rt.example/?` + Mark + `"},
	"channels": {
		"shared": {"id": "` + Mark + `1", "public_id": "` + Mark + `2", "end": "2026-03-31T17:05:18+02:00"},
		"private": {"id": "` + Mark + `3", "public_id": "` + Mark + `4"}},
	"jwt": "` + Mark + `5", "exp": 1775052318, "future": "` + Mark + `6",
	"publicChannels": {"577": {"public_id": "` + Mark + `7", "signature": "` + Mark + `8"}}}`

func TestLeakFinds(t *testing.T) {
	for _, v := range []any{Mark + "x", []byte(Mark), struct{ A string }{Mark}, errors.New("a " + Mark), json.RawMessage(`"` + Mark + `"`)} {
		if Leak(v) == "" {
			t.Errorf("%T: nothing found", v)
		}
	}
}

// A Log is what the process's own logger is told during a test.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all that was told.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// CaptureLog has the process's own logger tell a Log, until the test is over.
func CaptureLog(t *testing.T) *Log {
	l := new(Log)
	before := log.Writer()
	log.SetOutput(l)
	t.Cleanup(func() { log.SetOutput(before) })
	return l
}

// Serve answers each connection of a loopback port by do, which is over when
// the test is.
func Serve(t testing.TB, do func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				do(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// Pastes are what comes along when something is pasted.
var Pastes = [][2]string{{" ", "\r\n"}, {"\ufeff", ""}, {`"`, `"`}, {"'", "'\n"}, {"“", "”"}, {"\ufeff\u00a0«", "»\u00a0"}, {"\u200b", "\t"}}
