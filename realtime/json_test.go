package realtime

import (
	"encoding"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
)

// complete is a message with all that one can have.
func complete() Message {
	return Message{
		Module: "crm", Command: "order.changed", Params: json.RawMessage(`{"id":7,"text":"<b>\u202e"}`), Extra: json.RawMessage(`{"server_time_unix":1795424700.5}`),
		Time: time.Date(2026, 11, 23, 9, 5, 0, 0, time.UTC), Sender: Sender{Type: SenderClient, ID: "0123", UserID: 7}, Channel: ChannelShared,
		ID: "17954211000000000000000042", Replayed: true, Late: true, Gap: &Gap{Reason: GapExpired, Err: errors.New("why"), Count: 1},
	}
}

// TestJSON_Form: what stands in documents, and in what others have kept, stays.
func TestJSON_Form(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		m    Message
		want string
	}{
		{complete(), `{"key":"KEY","id":"17954211000000000000000042","time":"2026-11-23T09:05:00Z","module":"crm","command":"order.changed",` +
			`"params":{"id":7,"text":"\u003cb\u003e\u202e"},"extra":{"server_time_unix":1795424700.5},"channel":"shared",` +
			`"sender":{"type":"client","id":"0123","user_id":7},"replayed":true,"late":true,"gap":{"reason":"expired","count":1,"error":"why"}}`},
		{Message{}, `{"key":"KEY","module":"","command":"","sender":{"type":"unknown"},"replayed":false,"late":false}`},
	} {
		got, err := json.Marshal(tt.m)
		if want := strings.Replace(tt.want, "KEY", tt.m.Key(), 1); err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	}
}

// TestJSON_RoundTrip: nothing gets lost on the way there and back, and back
// again.
func TestJSON_RoundTrip(t *testing.T) {
	t.Parallel()
	all := reflect.ValueOf(complete())
	for i := range all.NumField() {
		if f := all.Type().Field(i); f.IsExported() && all.Field(i).IsZero() {
			t.Errorf("%s is not tested", f.Name)
		}
	}
	for _, m := range []Message{
		complete(), {}, {Params: json.RawMessage(`[]`)}, {Params: json.RawMessage(`{"a":tru}`)}, {Extra: json.RawMessage(strings.Repeat("[", 20000))},
		{Module: "\xff", Command: "\u2028\x00", Params: json.RawMessage("{\"a\u0085\":\n1}")},
	} {
		back := throughJSON(t, m)
		if again := throughJSON(t, back); !reflect.DeepEqual(back, again) {
			t.Errorf("%+v became %+v", back, again)
		}
		if back.Key() != m.Key() {
			t.Errorf("%v has another key", back)
		}
		if back.acks != nil || !back.Cursor().IsZero() {
			t.Error("it has a cursor")
		}
	}
	m, back := complete(), throughJSON(t, complete())
	back.key = ""
	m.Params = json.RawMessage(`{"id":7,"text":"\u003cb\u003e\u202e"}`)
	if !reflect.DeepEqual(m, back) {
		t.Errorf("%+v became %+v", m, back)
	}
	if back := throughJSON(t, Message{Params: json.RawMessage(`{"a":tru}`)}); string(back.Params) != `"{\"a\":tru}"` {
		t.Errorf("params that are no JSON became %s", back.Params)
	}
}

// TestJSON_Refused: what is no message leaves the one before.
func TestJSON_Refused(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		`[]`: "cannot unmarshal", `{"sender":{"type":"robot"}}`: "unknown, client, backend", `{"channel":"both"}`: "unknown, private, shared",
		`{"gap":{"reason":"bored"}}`: "server changed", `{"time":"noon"}`: "noon", `{"replayed":"yes"}`: "bool",
		`{}`: "has no key, module, command, sender, replayed, late", `{"key":"x"}`: "has no module, command, sender, replayed, late",
		`{"key":"","module":"m","command":"c","sender":{"type":"unknown"},"replayed":false,"late":false}`:        "has no key",
		`{"key":"x","module":"m","command":null,"sender":{"type":"unknown"},"replayed":false,"late":false}`:      "has no command",
		`{"key":"x","module":"m","command":"c","sender":{},"replayed":false,"late":false}`:                       "has no sender",
		`{"module_id":"m","command":"c","params":{},"extra":{"sender":{"type":"backend"}},"Late":true,"LATE":1}`: "bool",
	} {
		m := complete()
		if err := json.Unmarshal([]byte(form), &m); err == nil || !strings.Contains(err.Error(), want) || !reflect.DeepEqual(m, complete()) {
			t.Errorf("%s: %v, %v", form, err, m)
		}
	}
	m := complete()
	if err := json.Unmarshal([]byte("null"), &m); err != nil || !reflect.DeepEqual(m, complete()) {
		t.Errorf("null: %v", err)
	}
}

// TestJSON_Enumerations: all of them are texts, in JSON and in logs, also where
// a number has no name.
func TestJSON_Enumerations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value encoding.TextMarshaler
		want  string
	}{
		{StateLive, "live"}, {StateClosed, "closed"}, {State(200), "State(200)"}, {TransportLongPolling, "long polling"}, {Transport(9), "Transport(9)"},
		{SenderBackend, "backend"}, {SenderType(9), "SenderType(9)"}, {ChannelPrivate, "private"}, {ChannelType(9), "ChannelType(9)"},
		{RenewIncomplete, "incomplete"}, {RenewReason(0), "none"}, {GapServerChanged, "server changed"}, {GapReason(0), "none"}, {GapReason(9), "GapReason(9)"},
		{ActionStop, "stop"}, {ActionSkip, "skip"}, {ActionRetry, "retry"}, {FailureAction(9), "FailureAction(9)"},
		{b24pull.ClassNotSent, "not sent"}, {b24pull.Class(99), "Class(99)"}, {b24pull.EndsRun, "ends a run"}, {b24pull.Ending(99), "Ending(99)"},
	} {
		got, err := json.Marshal(map[string]any{"v": tt.value})
		if want := `{"v":"` + tt.want + `"}`; err != nil || string(got) != want {
			t.Errorf("%T: %s, %v, want %s", tt.value, got, err, want)
		}
		var line strings.Builder
		slog.New(slog.NewJSONHandler(&line, nil)).Info("told", "v", tt.value)
		if !strings.Contains(line.String(), `"v":"`+tt.want+`"`) {
			t.Errorf("%T: logged %s", tt.value, line.String())
		}
	}
	for i := range State(len(states)) {
		if text := i.String(); strings.Contains(text, "(") {
			t.Errorf("%s has no name", text)
		}
	}
}
