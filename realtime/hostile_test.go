package realtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// hostile is what a server may write to play tricks on a terminal, or to forge
// a line of a log.
const hostile = "a\x1b[2J\u202e\u200b\u009b31m\x7f\u2028\nlevel=ERROR forged\r\a"

var endless = strings.Repeat(hostile, 20_000)

const longestText = 20_000

// trick returns the way of printing v that would play a trick, "" if none does.
func trick(v any) string {
	forms := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%s", "%q"} {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	if err, ok := v.(error); ok {
		forms["Error"] = err.Error()
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	forms["slog text"], forms["slog json"] = strings.TrimSuffix(text.String(), "\n"), strings.TrimSuffix(js.String(), "\n")
	for name, form := range forms {
		if len(form) > longestText {
			return fmt.Sprintf("%s, by %d bytes", name, len(form))
		}
		if !printable(form) {
			return fmt.Sprintf("%s: %.300q", name, form)
		}
	}
	return ""
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// TestHostile_TextsPlayNoTricks: no error and no value prints what does not
// print, whatever a server has put into it.
func TestHostile_TextsPlayNoTricks(t *testing.T) {
	for _, s := range []string{hostile, endless, "\xff\xfe" + hostile} {
		params, _ := json.Marshal(map[string]string{s: s})
		raw := json.RawMessage("{\"a\":\n\t\"" + s + "\"}")
		m := Message{Module: s, Command: s, ID: s, Params: params, Extra: raw, Sender: Sender{Type: SenderClient, ID: s}}
		other := m
		other.Params = raw
		_, decoding := Decode[struct{ A int }](Message{Module: s, Command: s, Params: json.RawMessage(`{"A":` + strings.Repeat("9", len(s)) + `}`)})
		values := map[string]any{
			"Message": m, "*Message": &m, "Message with other params": other, "Sender": m.Sender, "Repeat": Repeat{ID: s},
			"DecodeError": &DecodeError{ID: s, Err: errors.New(s)}, "DecodeError without an id": &DecodeError{Err: errors.New(s)},
			"HandlerError": &HandlerError{Message: m, Err: errors.New(s)}, "HandlerError of Decode": &HandlerError{Message: m, Err: decoding},
			"StatusError": &StatusError{Status: 400, Reason: s}, "CloseError": &CloseError{Code: 4000, Reason: s}, "Decode": decoding,
			"Undecodable": Undecodable{Err: &DecodeError{ID: s, Err: errors.New(s)}}.Err,
			"AnswerError": &AnswerError{Status: 200, ContentType: s, Start: s, Err: errors.New(s)},
		}
		for name, v := range values {
			if form := trick(v); form != "" {
				t.Errorf("%s plays a trick by %s", name, form)
			}
		}
		// The stack has lines of its own.
		for _, panicked := range []error{
			&HandlerPanic{Message: m, Value: errors.New(s), Stack: debug.Stack()}, &CallbackPanic{Value: s, Stack: debug.Stack()},
		} {
			if head, _, _ := strings.Cut(panicked.Error(), "\n\n"); !printable(head) || len(head) > longestText {
				t.Errorf("%T plays a trick: %.300q", panicked, head)
			}
		}
	}
}

// TestHostile_ServersPlayNoTricks: neither events nor logs print what does not
// print, whatever comes over the connections.
func TestHostile_ServersPlayNoTricks(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { playTricks(t, l, s.portal, transport) })
			})
		}
	}
}

// lines are what was told, a text each.
type lines struct {
	mu   sync.Mutex
	told []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func playTricks(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
	var told lines
	var refuse atomic.Bool
	l.open(append([]pulltest.Option{pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refuse.Load() {
				http.Error(w, hostile, http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		})
	})}, portal...)...)
	observe := func(e Event) {
		fmt.Fprintf(&told, "%v", e)
		fmt.Fprintf(&told, "%+v", e)
	}
	log := slog.New(slog.NewJSONHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	skip := func(err *HandlerError, _ int) ErrorAction {
		fmt.Fprint(&told, err)
		return SkipMessage()
	}
	l.subscribe(nil, WithTransport(transport), WithLogger(log), WithObserver(observe), WithErrorPolicy(skip))
	l.run(func(_ context.Context, m Message) error {
		fmt.Fprintf(&told, "%v %v", m, m.Sender)
		_, err := Decode[struct{ A int }](m)
		return err
	})
	<-l.sub.Ready()
	quoted, _ := json.Marshal(hostile)
	for _, body := range []string{
		fmt.Sprintf(`{"module_id":%s,"command":%[1]s,"params":{"A":%[1]s,%[1]s:1}}`, quoted),
		fmt.Sprintf(`{"module_id":%s,"command":7}`, quoted),
		fmt.Sprintf(`{"module_id":"pull","command":%s,"params":{"channel":{"id":%[1]s,"type":%[1]s},"action":%[1]s}}`, quoted),
		`{"module_id":"m","command":"c","params":{"A":"` + "\u202e\u009b\x7f" + `"}}`,
		hostile, "{" + hostile, "\xff\xfe",
	} {
		l.portal.Emit(pulltest.Message{Body: body})
		time.Sleep(time.Second)
	}
	l.portal.Control("channel_expire", map[string]any{"action": hostile, "channel": map[string]string{"id": hostile, "type": hostile}}, pulltest.Private)
	time.Sleep(time.Minute)
	l.portal.CloseWebSockets(4000, "\x1b[2J\u202e\u009b gone")
	time.Sleep(3 * time.Minute)
	refuse.Store(true)
	l.portal.Cut()
	time.Sleep(3 * time.Minute)
	refuse.Store(false)
	time.Sleep(5 * time.Minute)
	l.sub.Close()
	<-l.done
	synctest.Wait()
	told.mu.Lock()
	defer told.mu.Unlock()
	all := strings.Join(told.told, "\n")
	for _, want := range []string{`\\x1b[2J`, "message skipped", "undecodable", "400 Bad Request"} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing was told of %s", want)
		}
	}
	for _, text := range told.told {
		if !printable(text) || len(text) > longestText {
			t.Errorf("told: %.400q", text)
		}
	}
	var refused *b24pull.APIError
	if errors.As(l.err, &refused) {
		t.Errorf("the subscription has ended: %v", l.err)
	}
}
