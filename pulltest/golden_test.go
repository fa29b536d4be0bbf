package pulltest_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

const (
	publicRequired   = "4012: Public Channel Id is Required."
	wrongData        = "4013: Wrong Request Data."
	notAllowed       = "4014: Request command is not allowed."
	tooManyMessages  = "4016: Request exceeded the maximum number of messages."
	noChannels       = "4017: No channels found."
	tooManyChannels  = "4018: Request exceeded the maximum number of channels."
	invalidChannel   = "4019: Request has an invalid channel id."
	privateChannel   = "4020: Private channel is not allowed."
	invalidSignature = "4021: Channel has an invalid signature."
)

// golden is a request, and what a real push server of version 4 said to it: by
// POST to rest and over the websocket of a client, and by POST to pub, as the
// portal. An empty refusal is none.
type golden struct {
	name      string
	batch     []byte
	client    string
	portal    string
	published int // messages, where the client was not refused
}

func goldens(t *testing.T) []golden {
	id, private := unhex(t, md5hex("bobpublic")), privateReceiver(unhex(t, md5hex("bob")))
	signed := func(id []byte) []byte {
		return publicReceiver(id, unhex(t, sign("public:"+hex.EncodeToString(id))))
	}
	bob, unsigned := signed(id), publicReceiver(id, nil)
	forged := publicReceiver(id, unhex(t, sign("x")))
	message := func(receivers ...[]byte) []byte { return incomingMessage(`{}`, 60, receivers...) }
	many := func(n int, b []byte) []byte { return bytes.Repeat(b, n) }
	good := publishRequest(message(bob))
	command := func(fields ...[]byte) []byte { return field(1, bytes.Join(fields, nil)) }
	messages, stats := field(1, message(bob)), field(2, bob)
	fixed := protowire.AppendFixed32(protowire.AppendTag(nil, 4, protowire.Fixed32Type), 60)
	return []golden{
		{"to a public id", good, "", "", 1},
		{"public id without a signature", publishRequest(message(unsigned)), invalidSignature, "", 0},
		{"public id with a wrong signature", publishRequest(message(forged)), invalidSignature, "", 0},
		{"public id with a signature in hex", publishRequest(message(publicReceiver(id, []byte(sign("public:"+md5hex("bobpublic")))))), invalidSignature, "", 0},
		{"private id", publishRequest(message(private)), privateChannel, "", 0},
		{"no receivers", publishRequest(message()), noChannels, noChannels, 0},
		{"100 receivers", publishRequest(message(many(100, bob))), "", "", 1},
		{"101 receivers", publishRequest(message(many(101, bob))), tooManyChannels, tooManyChannels, 0},
		{"no messages", publishRequest(), "", "", 0},
		{"100 messages", publishRequest(many(100, message(bob))), "", "", 100},
		{"101 messages", publishRequest(many(101, message(bob))), tooManyMessages, tooManyMessages, 0},
		{"two good messages", publishRequest(message(bob), message(bob)), "", "", 2},
		{"second message bad", publishRequest(message(bob), message(unsigned)), invalidSignature, "", 0},
		{"two requests", batchOf(good, good), "", "", 1},
		{"second request garbage", append(bytes.Clone(good), field(1, []byte{0x0a, 0x7f, 1})...), wrongData, wrongData, 0},
		{"request without a command", field(1), wrongData, wrongData, 0},
		{"unknown command", command(field(9, []byte("x"))), wrongData, wrongData, 0},
		{"unknown command beside messages", command(messages, field(9, []byte("x"))), "", "", 1},
		{"messages, then statistics", command(messages, stats), "", "", 0},
		{"statistics, then messages", command(stats, messages), "", "", 1},
		{"server statistics", serverStatsRequest(), notAllowed, "", 0},
		{"statistics", statsRequest(bob, bob), "", "", 0},
		{"statistics of a private id", statsRequest(private), privateChannel, "", 0},
		{"statistics of none", statsRequest(), noChannels, noChannels, 0},
		{"statistics of 101", statsRequest(many(101, bob)), tooManyChannels, tooManyChannels, 0},
		{"statistics with a wrong signature", statsRequest(publicReceiver(id, []byte("x"))), invalidSignature, "", 0},
		{"empty body", nil, wrongData, wrongData, 0},
		{"garbage", []byte{1, 2, 3, 4, 5}, wrongData, wrongData, 0},
		{"text", []byte("hello world"), wrongData, wrongData, 0},
		{"truncated", good[:len(good)-3], wrongData, wrongData, 0},
		{"zero bytes behind", append(bytes.Clone(good), 0, 0), "", "", 1},
		{"garbage behind", append(bytes.Clone(good), 0x0a, 0x05, 1), wrongData, wrongData, 0},
		{"unknown field behind", append(bytes.Clone(good), field(7, []byte("x"))...), "", "", 1},
		{"group behind", append(bytes.Clone(good), 0x3b, 0x08, 0x01, 0x3c), "", "", 1},
		{"requests as a number", []byte{0x08, 0x01}, wrongData, wrongData, 0},
		{"signed id of 15 bytes", publishRequest(message(signed(id[:15]))), "", invalidChannel, 1},
		{"signed id of 17 bytes", publishRequest(message(signed(append(bytes.Clone(id), 7)))), "", invalidChannel, 1},
		{"receiver without an id", publishRequest(message(field(1))), invalidSignature, invalidChannel, 0},
		{"body absent", publishRequest(field(1, bob)), "", "", 1},
		{"expiry of another wire type", publishRequest(field(1, bytes.Join([][]byte{bob, field(3, []byte(`{}`)), fixed}, nil))), wrongData, wrongData, 0},
	}
}

// TestGolden_ClientRequests: each request, and a request that is good behind
// it, is answered as by a real server.
func TestGolden_ClientRequests(t *testing.T) {
	for _, tt := range goldens(t) {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				alice := "?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(signedChannel("alice"))
				private := "?binaryMode=true&CHANNEL_ID=" + md5hex("alice") + "." + sign(md5hex("alice"))
				checkPOST(t, p, "/rest/"+alice, tt.batch, tt.client)
				synctest.Wait() // a POST is answered before it is executed
				if n := p.Stats().Published; tt.client == "" && n != tt.published || tt.client != "" && n != 0 {
					t.Errorf("POST published %d messages, a real server %d", n, tt.published)
				}
				checkPOST(t, p, "/rest/"+private, tt.batch, publicRequired)
				before := p.Stats().Published
				checkSocket(t, p, alice, websocket.BinaryMessage, tt.batch, tt.client)
				if n := p.Stats().Published - before; tt.client == "" && n != tt.published || tt.client != "" && n != 0 {
					t.Errorf("the websocket published %d messages, a real server %d", n, tt.published)
				}
				checkSocket(t, p, private, websocket.BinaryMessage, tt.batch, publicRequired)
				if utf8.Valid(tt.batch) { // any other text ends the connection without a word
					checkSocket(t, p, alice, websocket.TextMessage, tt.batch, wrongData)
				}
				checkPOST(t, p, "/pub/?binaryMode=true", tt.batch, tt.portal)
			}, pulltest.WithKey(labKey))
		})
	}
}

func checkPOST(t *testing.T, p *pulltest.Portal, path string, body []byte, refusal string) {
	t.Helper()
	r := post(t, p, p.PushURL()+path, body)
	way, _, _ := strings.Cut(path, "?")
	if refusal != "" && (r.status != 400 || string(r.body) != refusal || r.header.Get("Content-Type") != "text/plain") {
		t.Errorf("%s: %d %q, a real server: %q", way, r.status, r.body, refusal)
	}
	if refusal == "" && r.status != 200 {
		t.Errorf("%s: %d %q, a real server takes it", way, r.status, r.body)
	}
}

func checkSocket(t *testing.T, p *pulltest.Portal, query string, kind int, frame []byte, refusal string) {
	t.Helper()
	ws, _, err := dialURL(p, p.PushURL()+"/sub/"+query)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.WriteMessage(kind, frame)
	ws.SetReadDeadline(time.Now().Add(time.Second))
	for err == nil {
		_, _, err = ws.ReadMessage()
	}
	closed, _ := err.(*websocket.CloseError)
	switch {
	case refusal == "" && closed != nil:
		t.Errorf("websocket: %v, a real server takes it", err)
	case refusal != "" && (closed == nil || closed.Text != refusal || fmt.Sprint(closed.Code) != refusal[:4]):
		t.Errorf("websocket: %v, a real server: %q", err, refusal)
	}
}

// TestGolden_FramesBehindRefusedOne: they are executed until the connection has
// ended.
func TestGolden_FramesBehindRefusedOne(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		query := p.PushURL() + "/sub/?binaryMode=true&CHANNEL_ID="
		ws, _, err := dialURL(p, query+url.QueryEscape(signedChannel("alice")))
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		bob, _, err := dialURL(p, query+url.QueryEscape(signedChannel("bob")))
		if err != nil {
			t.Fatal(err)
		}
		defer bob.Close()
		to := publicReceiver(unhex(t, md5hex("bobpublic")), unhex(t, sign("public:"+md5hex("bobpublic"))))
		for _, frame := range [][]byte{
			publishRequest(incomingMessage(`"one"`, 60, to)), {1, 2, 3}, publishRequest(incomingMessage("a\xff\xfeb", 1<<32+90000, to)),
		} {
			ws.WriteMessage(websocket.BinaryMessage, frame)
		}
		got := append(next(t, bob), next(t, bob)...)
		want := []received{
			{Body: `"one"`, Expiry: 60, Sender: 1, From: md5hex("alicepublic")},
			{Body: "a\ufffd\ufffdb", Expiry: 86400, Sender: 1, From: md5hex("alicepublic")},
		}
		for i := range got {
			got[i].Mid = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4013) {
			t.Errorf("the sender reads %v", err)
		}
		if s := p.Stats(); s.ClientMessages != 2 || s.RefusedRequests != 1 {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithKey(labKey))
}

// TestGolden_ChannelOfPOST: a client whose CHANNEL_ID does not prove a public id
// is told so before its body is looked at; the sender is the first that has one.
func TestGolden_ChannelOfPOST(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		good := goldens(t)[0].batch
		a, b := md5hex("alice"), md5hex("alice")+":"+md5hex("alicepublic")
		for _, id := range []string{"", "zz", b, b + "." + sign("x"), b + "." + sign(a), a + "." + sign(a), signedChannel("alice") + "/zz"} {
			for _, body := range [][]byte{good, {1, 2, 3}, nil} {
				checkPOST(t, p, "/rest/?CHANNEL_ID="+url.QueryEscape(id), body, publicRequired)
			}
		}
		checkPOST(t, p, "/rest/", good, publicRequired)
		bob, _, err := dialURL(p, p.PushURL()+"/sub/?binaryMode=true&CHANNEL_ID="+url.QueryEscape(signedChannel("bob")))
		if err != nil {
			t.Fatal(err)
		}
		defer bob.Close()
		checkPOST(t, p, "/rest/?CHANNEL_ID="+url.QueryEscape(a+"."+sign(a)+"/"+signedChannel("carol")), good, "")
		if got := next(t, bob); got[0].From != md5hex("carolpublic") {
			t.Errorf("the sender is %+v", got)
		}
	}, pulltest.WithKey(labKey))
}

// TestGolden_Presence: by POST and over a websocket, of public channels that a
// client asks for.
func TestGolden_Presence(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		query := "?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(signedChannel("alice"))
		ws, _, err := dialURL(p, p.PushURL()+"/sub/"+query)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		var asked, want []byte
		for i, name := range []string{"alicepublic", "bobpublic"} {
			id := unhex(t, md5hex(name))
			asked = append(asked, publicReceiver(id, unhex(t, sign("public:"+md5hex(name))))...)
			want = append(want, field(1, field(1, id), number(2, 0), number(3, uint64(1-i)))...)
		}
		want = field(1, field(2, want))
		r := post(t, p, p.PushURL()+"/rest/"+query, statsRequest(asked))
		if r.status != 200 || r.header.Get("Content-Type") != "application/octet-stream" || !bytes.Equal(r.body, want) {
			t.Errorf("POST: %d %s %x", r.status, r.header.Get("Content-Type"), r.body)
		}
		ws.WriteMessage(websocket.BinaryMessage, statsRequest(asked))
		if _, got, err := ws.ReadMessage(); !bytes.Equal(got, want) {
			t.Errorf("websocket: %x, %v", got, err)
		}
	}, pulltest.WithKey(labKey))
}
