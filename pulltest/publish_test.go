package pulltest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func repeat(n int, b []byte) []byte { return bytes.Repeat(b, n) }

// TestPublish_Refusals sends each wrong request by POST and over a websocket.
func TestPublish_Refusals(t *testing.T) {
	id := unhex(t, md5hex("bobpublic"))
	good := publicReceiver(id, unhex(t, sign("public:"+md5hex("bobpublic"))))
	forged := publicReceiver(id, unhex(t, sign("public:"+md5hex("other"))))
	private := privateReceiver(unhex(t, md5hex("bob")))
	short := publicReceiver(id[:15], nil)
	tests := []struct {
		name   string
		batch  []byte
		reason string // "" is accepted
	}{
		{"good", publishRequest(incomingMessage(`{}`, 0, good)), ""},
		{"100 messages", publishRequest(repeat(100, incomingMessage(`{}`, 0, good))), ""},
		{"100 receivers", publishRequest(incomingMessage(`{}`, 0, repeat(100, good))), ""},
		{"no batch", []byte("garbage"), "4013: Wrong Request Data."},
		{"empty batch", nil, "4013: Wrong Request Data."},
		{"empty request", field(1), "4014: Command is not allowed."},
		{"server stats", serverStatsRequest(), "4014: Command is not allowed."},
		{"101 messages", publishRequest(repeat(101, incomingMessage(`{}`, 0, good))), "4016: Request exceeded the maximum number of messages."},
		{"no receivers", publishRequest(incomingMessage(`{}`, 0)), "4017: No channels found."},
		{"101 receivers", publishRequest(incomingMessage(`{}`, 0, repeat(101, good))), "4018: Request exceeded the maximum number of channels."},
		{"short id", publishRequest(incomingMessage(`{}`, 0, short)), "4019: Channel has an invalid id."},
		{"private", publishRequest(incomingMessage(`{}`, 0, private)), "4020: Private channel is not allowed."},
		{"forged", publishRequest(incomingMessage(`{}`, 0, forged)), "4021: Channel has an invalid signature."},
		{"second message forged", publishRequest(incomingMessage(`{}`, 0, good), incomingMessage(`{}`, 0, forged)), "4021: Channel has an invalid signature."},
		{"stats of nobody", statsRequest(), "4017: No channels found."},
		{"stats of a private channel", statsRequest(private), "4020: Private channel is not allowed."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				query := "?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(signedChannel("alice"))
				r := post(t, p, p.PushURL()+"/rest/"+query, tt.batch)
				if status := map[bool]int{true: 200, false: 400}[tt.reason == ""]; r.status != status || string(r.body) != tt.reason {
					t.Errorf("POST: %d %q", r.status, r.body)
				}
				synctest.Wait() // a POST is answered before it is executed
				published := p.Stats().Published
				if tt.reason != "" && published != 0 {
					t.Errorf("a refused request published %d messages", published)
				}
				ws, _, err := dialURL(p, p.PushURL()+"/sub/"+query)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				ws.WriteMessage(websocket.BinaryMessage, tt.batch)
				ws.SetReadDeadline(time.Now().Add(time.Second))
				_, _, err = ws.ReadMessage()
				closed, _ := err.(*websocket.CloseError)
				if tt.reason == "" && closed != nil || tt.reason != "" && (closed == nil || closed.Text != tt.reason) {
					t.Errorf("websocket: %v", err)
				}
				if got := p.Stats().Published; tt.reason == "" && got != 2*published {
					t.Errorf("the websocket published %d of %d", got-published, published)
				}
			}, pulltest.WithKey(labKey))
		})
	}
}

func TestPublish_ClientNeedsPublicID(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		id := unhex(t, md5hex("bobpublic"))
		good := publicReceiver(id, unhex(t, sign("public:"+md5hex("bobpublic"))))
		batch := publishRequest(incomingMessage(`{}`, 0, good))
		bare := md5hex("alice") + "." + sign(md5hex("alice"))
		tests := []struct{ channel, want string }{
			{"", "4012: Public Channel Id is Required."},
			{bare, "4012: Public Channel Id is Required."},
			{bare + "0", "4010: Wrong Channel Id."},
		}
		for _, tt := range tests {
			r := post(t, p, p.PushURL()+"/rest/?CHANNEL_ID="+tt.channel, batch)
			if r.status != 400 || string(r.body) != tt.want {
				t.Errorf("POST from %q: %d %q", tt.channel, r.status, r.body)
			}
		}
		ws, _, err := dialURL(p, p.PushURL()+"/sub/?binaryMode=true&CHANNEL_ID="+bare)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		ws.WriteMessage(websocket.BinaryMessage, batch)
		if _, _, err = ws.ReadMessage(); !websocket.IsCloseError(err, 4012) {
			t.Errorf("websocket: %v", err)
		}
	}, pulltest.WithKey(labKey))
}

func TestPublish_TooLarge(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		ws.WriteMessage(websocket.BinaryMessage, make([]byte, 3<<20))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
			t.Errorf("websocket: %v", err)
		}
		exact := dial(t, p, "")
		defer exact.Close()
		exact.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20))
		if _, _, err := exact.ReadMessage(); !websocket.IsCloseError(err, 4013) {
			t.Errorf("websocket with 1 MiB: %v", err)
		}
	})
}

func TestPublish_TextSocketIgnoresRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws, _, err := dialURL(p, p.PushURL()+"/sub/?CHANNEL_ID="+url.QueryEscape(channelParam(t, p)))
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		ws.WriteMessage(websocket.BinaryMessage, []byte("garbage"))
		ws.WriteMessage(websocket.TextMessage, []byte("garbage"))
		time.Sleep(time.Second)
		p.Emit(text("<fine>"))
		kind, frame, err := ws.ReadMessage()
		if err != nil || kind != websocket.TextMessage {
			t.Fatalf("kind %d: %v", kind, err)
		}
		if !strings.HasPrefix(string(frame), `#!NGINXNMS!#{"id":1,"mid":"`) || !strings.Contains(string(frame), `"params":{"text":"<fine>"}`) {
			t.Errorf("frame %s", frame)
		}
	})
}

func TestPublish_RawPublish(t *testing.T) {
	ann := md5hex("ann") + ":" + md5hex("annpublic")
	tests := []struct {
		name, channel, expiry string
		kept, heard           bool
	}{
		{"bare", md5hex("ann"), "60", true, true},
		{"bare, second of two", md5hex("bob") + "/" + md5hex("ann"), "60", true, true},
		{"signed", signedChannel("ann"), "60", true, true},
		{"not kept", md5hex("ann"), "0", false, true},
		{"no expiry", md5hex("ann"), "", false, true},
		{"public id without signature", ann, "60", false, false},
		{"no id", "nonsense", "60", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				sub := p.PushURL() + "/sub/?CHANNEL_ID=" + url.QueryEscape(signedChannel("ann"))
				ws, _, err := dialURL(p, sub)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				pub := p.PushURL() + "/pub/?CHANNEL_ID=" + url.QueryEscape(tt.channel)
				r := post(t, p, pub, []byte(`"as it is"`), "Message-Expiry", tt.expiry)
				if r.status != http.StatusOK {
					t.Errorf("status %d", r.status)
				}
				ws.SetReadDeadline(time.Now().Add(time.Second))
				_, frame, err := ws.ReadMessage()
				if heard := strings.Contains(string(frame), `,"text":"as it is"}`); heard != tt.heard {
					t.Errorf("heard %q, %v", frame, err)
				}
				if history := get(t, p, sub+"&mid="+zeros); (history.status == http.StatusOK) != tt.kept {
					t.Errorf("the history: %d", history.status)
				}
			}, pulltest.WithKey(labKey))
		})
	}
}

func TestPublish_PortalSideEndpoints(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws, _, err := dialURL(p, p.PushURL()+"/sub/?binaryMode=true&CHANNEL_ID="+url.QueryEscape(signedChannel("ann")))
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		r := get(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+md5hex("ann")+"/"+md5hex("bob"))
		if want := `{"infos":[{"channel":"` + md5hex("ann") + `","subscribers":1}]}`; strings.TrimSpace(string(r.body)) != want {
			t.Errorf("infos %s", r.body)
		}
		var processes []map[string]any
		r = get(t, p, p.PushURL()+"/server-stat")
		if err := json.Unmarshal(r.body, &processes); err != nil || len(processes) != 1 {
			t.Errorf("server-stat %s", r.body)
		}
		if r = post(t, p, p.PushURL()+"/pub/?binaryMode=true", serverStatsRequest()); r.status != 200 || len(r.body) == 0 {
			t.Errorf("serverStats of the portal: %d %q", r.status, r.body)
		}
		stats := statsRequest(privateReceiver(unhex(t, md5hex("ann"))), privateReceiver(unhex(t, md5hex("bob"))))
		want := field(1, field(2,
			field(1, field(1, unhex(t, md5hex("ann"))), number(2, 1), number(3, 1)),
			field(1, field(1, unhex(t, md5hex("bob"))), number(2, 1), number(3, 0))))
		if r = post(t, p, p.PushURL()+"/pub/?binaryMode=true", stats); !bytes.Equal(r.body, want) {
			t.Errorf("channelStats of the portal: %x", r.body)
		}
	}, pulltest.WithKey(labKey))
}

func TestPublish_OtherRequestsOfPushServer(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		tests := []struct {
			method, path string
			status       int
		}{
			{http.MethodOptions, "/sub/", 200},
			{http.MethodOptions, "/rest/", 404},
			{http.MethodOptions, "/pub/", 404},
			{http.MethodGet, "/sub/", 400},
			{http.MethodGet, "/elsewhere/", 404},
			{http.MethodPost, "/sub/", 404},
		}
		for _, tt := range tests {
			req, _ := http.NewRequest(tt.method, p.PushURL()+tt.path, nil)
			resp, err := p.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != tt.status || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s: %d %v", tt.method, tt.path, resp.StatusCode, resp.Header)
			}
		}
		target := strings.Replace(subURL(t, p, ""), "/sub/?", "/sub?", 1)
		if _, resp, err := dialURL(p, target); err == nil || resp.StatusCode != 400 {
			t.Errorf("a websocket on /sub without its slash: %v", err)
		}
	})
}
