package pulltest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// rpcMessage is a call of incoming.message.
type rpcMessage struct {
	Version string `json:"jsonrpc"`
	Method  string
	ID      *int
	Params  struct {
		Mid        string
		Body       json.RawMessage
		Sender     struct{ Type, ID any }
		UserParams json.RawMessage `json:"user_params"`
		Dictionary json.RawMessage
	}
}

// decodeRPC takes one request or a batch of them.
func decodeRPC(t *testing.T, data []byte) []rpcMessage {
	t.Helper()
	if data[0] == '{' {
		data = []byte("[" + string(data) + "]")
	}
	var list []rpcMessage
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatalf("frame %s: %v", data, err)
	}
	for _, m := range list {
		if m.Version != "2.0" || m.Method != "incoming.message" || m.ID == nil {
			t.Errorf("request %s", data)
		}
	}
	return list
}

// version5 runs f with a portal of version 5 that sends no text pings.
func version5(t *testing.T, f func(t *testing.T, p *pulltest.Portal), opts ...pulltest.Option) {
	t.Helper()
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) { f(t, p) },
		append([]pulltest.Option{pulltest.WithVersion(5), pulltest.WithTextPing(0)}, opts...)...)
}

func readText(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, data, err := ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		t.Fatalf("kind %d, %v", kind, err)
	}
	return string(data)
}

func TestRPC_JSONRPC(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		mid := p.Emit(pulltest.Message{Body: `{"b": "<>"}`})
		want := `{"jsonrpc":"2.0","method":"incoming.message","id":1,"params":{"mid":"` + mid + `","body":{"b": "<>"},"sender":{"type":2,"id":""}}}`
		if got := readText(t, ws); got != want {
			t.Errorf("alone: %s", got)
		}
		p.Emit(text("one"))
		p.Emit(text("two"))
		gathered := readText(t, ws)
		expect(t, "gathered", frameTexts(t, []byte(gathered)), "one", "two")
		ids := decodeRPC(t, []byte(gathered))
		if gathered[0] != '[' || *ids[0].ID != 2 || *ids[1].ID != 3 {
			t.Errorf("gathered: %s", gathered)
		}
		if history := readText(t, connectAs(t, p, "mid", mid)); history[0] != '[' || len(decodeRPC(t, []byte(history))) != 2 {
			t.Errorf("history: %s", history)
		}
		last := ids[1].Params.Mid
		p.Emit(text("three"))
		r := pollAs(t, p, "mid", last)
		if r.body[0] != '[' || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("poll: %s", r.body)
		}
		expect(t, "a poll of one message", frameTexts(t, r.body), "three")
	})
}

// A client's message names its sender.
func TestRPC_JSONRPCSender(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		public := readConfig(t, p).Channels["private"].PublicID
		id, signature, _ := strings.Cut(public, ".")
		batch := publishRequest(incomingMessage(`{}`, 60, publicReceiver(unhex(t, id), unhex(t, signature))))
		post(t, p, p.PushURL()+"/rest/?CHANNEL_ID="+url.QueryEscape(signedChannel("bob")), batch)
		if s := decodeRPC(t, []byte(readText(t, ws)))[0].Params.Sender; s.Type != 1.0 || s.ID != md5hex("bobpublic") {
			t.Errorf("sender %+v", s)
		}
	}, pulltest.WithKey(labKey))
}

func TestRPC_Extras(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		m := text("extras")
		m.UserParams, m.Dictionary = map[string]int{"mine": 1}, []any{}
		p.Emit(m)
		got := decodeRPC(t, []byte(readText(t, ws)))[0].Params
		if string(got.UserParams) != `{"mine":1}` || string(got.Dictionary) != `[]` {
			t.Errorf("user_params %s, dictionary %s", got.UserParams, got.Dictionary)
		}
		m.Dictionary = nil
		p.Emit(m)
		if frame := readText(t, ws); !strings.Contains(frame, `"user_params":{"mine":1}`) || strings.Contains(frame, "dictionary") {
			t.Errorf("frame %s", frame)
		}
		binary := get(t, p, subURL(t, p, zeros))
		if len(decode(t, binary.body)) != 2 || strings.Contains(string(binary.body), "mine") {
			t.Errorf("in protobuf: %q", binary.body)
		}
		defer func() {
			if recover() == nil {
				t.Error("extras that are no JSON are published")
			}
		}()
		p.Emit(pulltest.Message{Dictionary: make(chan int)})
	})
}

func TestRPC_Acknowledgements(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		mid := p.Emit(text("one"))
		for _, s := range []string{"mack:" + mid, "mack:" + mid, "mack:", "mack:1"} {
			ws.WriteMessage(websocket.TextMessage, []byte(s))
		}
		synctest.Wait()
		if n := p.Stats().Acknowledged; n != 2 {
			t.Errorf("%d acknowledgements", n)
		}
		readText(t, ws)
		ws.SetReadDeadline(time.Now().Add(time.Second))
		if _, data, err := ws.ReadMessage(); err == nil {
			t.Errorf("an acknowledgement is answered with %s", data)
		}
	})
}

func TestRPC_RequestsOfClient(t *testing.T) {
	const parseError = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}`
	const invalid = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}`
	const pong = `{"jsonrpc":"2.0","id":7,"result":"pong"}`
	const unknown = `{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}`
	tests := []struct{ name, sent, want string }{ // "" is no answer
		{"ping", `{"jsonrpc":"2.0","method":"ping","id":7}`, pong},
		{"unknown method", `{"jsonrpc":"2.0","method":"no.such","id":"x","params":[]}`, unknown},
		{"batch", `[{"jsonrpc":"2.0","method":"ping","id":7},{"jsonrpc":"2.0","method":"no.such","id":"x"}]`, "[" + pong + "," + unknown + "]"},
		{"batch of one", `[{"jsonrpc":"2.0","method":"ping","id":7}]`, "[" + pong + "]"},
		{"batch with garbage", `[1,{"jsonrpc":"2.0","method":"ping","id":7}]`, "[" + invalid + "," + pong + "]"},
		{"batch of nothing", `[]`, invalid},
		{"batch of notifications", `[{"jsonrpc":"2.0","method":"ping"}]`, ""},
		{"notification", `{"jsonrpc":"2.0","method":"ping"}`, ""},
		{"response", `{"jsonrpc":"2.0","id":1,"result":true}`, ""},
		{"error response", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}`, ""},
		{"garbage", `{"jsonrpc":`, parseError},
		{"no JSON", `hello`, parseError},
		{"nothing", ``, parseError},
		{"no method", `{"jsonrpc":"2.0"}`, invalid},
		{"no version", `{"method":"ping","id":null}`, invalid},
		{"null", `null`, invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			version5(t, func(t *testing.T, p *pulltest.Portal) {
				ws := connectAs(t, p)
				ws.WriteMessage(websocket.TextMessage, []byte(tt.sent))
				ws.SetReadDeadline(time.Now().Add(time.Second))
				_, data, _ := ws.ReadMessage()
				if diff := cmp.Diff(tt.want, string(data)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestRPC_TextPing(t *testing.T) {
	ofVersion(t, []int{5}, func(t *testing.T, p *pulltest.Portal) {
		answering, silent, binary := connectAs(t, p), connectAs(t, p), dial(t, p, "")
		defer binary.Close()
		go binary.ReadMessage()
		go func() {
			for {
				if _, data, err := answering.ReadMessage(); err != nil || string(data) != "ping" ||
					answering.WriteMessage(websocket.TextMessage, []byte("pong")) != nil {
					return
				}
			}
		}()
		time.Sleep(16 * time.Second)
		if got := readText(t, silent); got != "ping" {
			t.Errorf("read %s", got)
		}
		if s := p.Stats(); s.TextPings != 2 || s.Pongs != 1 || s.Connections != 3 {
			t.Errorf("after one ping: %+v", s)
		}
		time.Sleep(15 * time.Second)
		if s := p.Stats(); s.TextPings != 3 || s.Pongs != 2 || s.PingTimeouts != 1 || s.Connections != 2 {
			t.Errorf("after two: %+v", s)
		}
		if _, _, err := silent.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
			t.Errorf("the silent client sees %v", err)
		}
	})
	ofVersion(t, []int{5}, func(t *testing.T, p *pulltest.Portal) {
		go connectAs(t, p).ReadMessage()
		time.Sleep(10 * time.Second)
		if s := p.Stats(); s.TextPings != 1 || s.PingTimeouts != 0 {
			t.Errorf("with an interval of its own: %+v", s)
		}
	}, pulltest.WithTextPing(7*time.Second))
}

func TestRPC_Tokens(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		if end := time.Now().Add(time.Minute).Unix(); c.Exp != end {
			t.Errorf("exp %d, want %d", c.Exp, end)
		}
		p.Emit(text("kept"))
		sub := func(query string) (int, string, error) {
			target := p.PushURL() + "/sub/?jsonRpc=true&mid=" + zeros + query
			r := get(t, p, target)
			ws, resp, err := dialURL(p, target)
			if err == nil {
				ws.Close()
			} else if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("a websocket was refused with %d", resp.StatusCode)
			}
			return r.status, string(r.body), err
		}
		good := "&token=" + c.JWT
		head, rest, _ := strings.Cut(c.JWT, ".")
		payload, signature, _ := strings.Cut(rest, ".")
		channels := "&CHANNEL_ID=" + url.QueryEscape(c.Channels["private"].ID)
		refused := map[string]string{
			"empty":             "&token=",
			"no jwt":            "&token=guess",
			"forged":            good + "A",
			"other claims":      "&token=" + head + "." + payload + "A." + signature,
			"beside a channel":  "&token=guess" + channels,
			"neither":           "",
			"a channel as such": "&token=" + url.QueryEscape(c.Channels["private"].ID),
		}
		check := func(name, query string, ok bool) {
			t.Helper()
			status, body, err := sub(query)
			if ok && (status != 200 || err != nil) || !ok && (status != 400 || body != "4010: Wrong Channel Id." || err == nil) {
				t.Errorf("%s: %d %s, %v", name, status, body, err)
			}
		}
		for name, query := range refused {
			check(name, query, false)
		}
		time.Sleep(59 * time.Second)
		check("a second before its end", good, true)
		time.Sleep(time.Second)
		check("at its end", good, false)
		check("its successor", "&token="+readConfig(t, p).JWT, true)
		check("the channels themselves", channels, true)
	}, pulltest.WithTokenLife(time.Minute))
}

// A token stands for its channels, also those that pull.config.get names.
func TestRPC_TokenOfUser(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		var user versionConfig
		if err := json.Unmarshal(a.Result, &user); err != nil {
			t.Fatal(err)
		}
		for i, to := range []pulltest.Target{pulltest.Private, pulltest.UserPrivate, pulltest.Shared, pulltest.UserShared} {
			m := text([]string{"app", "user", "app shared", "user shared"}[i])
			m.To = to
			p.Emit(m)
		}
		r := get(t, p, p.PushURL()+"/sub/"+user.query("mid", zeros))
		expect(t, "the user's token", frameTexts(t, r.body), "user", "user shared")
		r = pollAs(t, p, "mid", zeros)
		expect(t, "the application's token", frameTexts(t, r.body), "app", "app shared")
	})
}

// Who does not ask for JSON-RPC is served as by version 4.
func TestRPC_OtherFramingsOfVersion5(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		query := "?mid=" + zeros + "&token=" + readConfig(t, p).JWT
		r := get(t, p, p.PushURL()+"/sub/"+query+"&binaryMode=true")
		expect(t, "in protobuf", texts(t, decode(t, r.body)), "kept")
		if r = get(t, p, p.PushURL()+"/sub/"+query); decodeText(t, string(r.body))[0].Channel != "-" {
			t.Errorf("as text: %s", r.body)
		}
	})
}
