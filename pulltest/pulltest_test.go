package pulltest_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}

// zeros is the mid before every other.
const zeros = "00000000000000000000000000"

// inBubble runs f on virtual time with a portal on a network in memory.
func inBubble(t *testing.T, f func(t *testing.T, p *pulltest.Portal, n *pulltest.Network), opts ...pulltest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := pulltest.NewNetwork()
		p := pulltest.NewPortal(append([]pulltest.Option{pulltest.WithNetwork(n)}, opts...)...)
		defer p.Close()
		f(t, p, n)
	})
}

// onBoth runs f on virtual time and over real sockets. f must not wait for
// timers.
func onBoth(t *testing.T, f func(t *testing.T, p *pulltest.Portal), opts ...pulltest.Option) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) { f(t, p) }, opts...)
	})
	t.Run("sockets", func(t *testing.T) {
		p := pulltest.NewPortal(opts...)
		defer p.Close()
		f(t, p)
	})
}

type configChannels struct {
	Channels map[string]struct {
		ID       string `json:"id"`
		PublicID string `json:"public_id"`
		Start    string `json:"start"`
		End      string `json:"end"`
	} `json:"channels"`
}

func channels(t *testing.T, p *pulltest.Portal) configChannels {
	t.Helper()
	var c configChannels
	if err := json.Unmarshal(p.ConfigJSON(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// channelParam is CHANNEL_ID as a client sends it.
func channelParam(t *testing.T, p *pulltest.Portal) string {
	c := channels(t, p).Channels
	return c["private"].ID + "/" + c["shared"].ID
}

func subURL(t *testing.T, p *pulltest.Portal, mid string) string {
	query := url.Values{"CHANNEL_ID": {channelParam(t, p)}, "binaryMode": {"true"}}
	if mid != "" {
		query.Set("mid", mid)
	}
	return p.PushURL() + "/sub/?" + query.Encode()
}

// dialURL connects a websocket to an https URL.
func dialURL(p *pulltest.Portal, target string) (*websocket.Conn, *http.Response, error) {
	tr := p.HTTPClient().Transport.(*http.Transport)
	d := websocket.Dialer{NetDialContext: tr.DialContext, TLSClientConfig: tr.TLSClientConfig.Clone()}
	return d.Dial("wss"+target[len("https"):], nil)
}

func dial(t *testing.T, p *pulltest.Portal, mid string) *websocket.Conn {
	t.Helper()
	ws, _, err := dialURL(p, subURL(t, p, mid))
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// received is one message of a protobuf frame.
type received struct {
	Mid    string
	Body   string
	Expiry uint64
	Sender uint64
	From   string // public id of a client
}

func (r received) text(t *testing.T) string {
	t.Helper()
	var body struct {
		Params struct{ Text string }
	}
	if err := json.Unmarshal([]byte(r.Body), &body); err != nil {
		t.Fatalf("body %q: %v", r.Body, err)
	}
	return body.Params.Text
}

func texts(t *testing.T, messages []received) []string {
	t.Helper()
	var list []string
	for _, m := range messages {
		list = append(list, m.text(t))
	}
	return list
}

// fields calls f for the fields of a protobuf message.
func fields(t *testing.T, b []byte, f func(protowire.Number, []byte, uint64)) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v []byte
		var u uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(b)
			u = uint64(w)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		f(num, v, u)
	}
}

// decode reads the messages of a ResponseBatch.
func decode(t *testing.T, frame []byte) []received {
	t.Helper()
	var list []received
	fields(t, frame, func(_ protowire.Number, response []byte, _ uint64) {
		fields(t, response, func(kind protowire.Number, content []byte, _ uint64) {
			if kind != 1 {
				t.Fatalf("response of kind %d", kind)
			}
			fields(t, content, func(_ protowire.Number, m []byte, _ uint64) {
				list = append(list, decodeMessage(t, m))
			})
		})
	})
	return list
}

func decodeMessage(t *testing.T, b []byte) received {
	var r received
	fields(t, b, func(num protowire.Number, v []byte, u uint64) {
		switch num {
		case 1:
			r.Mid = hex.EncodeToString(v)
		case 2:
			r.Body = string(v)
		case 3:
			r.Expiry = u
		case 5:
			fields(t, v, func(num protowire.Number, v []byte, u uint64) {
				if num == 1 {
					r.Sender = u
				} else {
					r.From = hex.EncodeToString(v)
				}
			})
		}
	})
	return r
}

// next reads one frame, or fails after a minute.
func next(t *testing.T, ws *websocket.Conn) []received {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	_, frame, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, frame)
}

// text is a message whose params hold a text.
func text(s string) pulltest.Message {
	return pulltest.Message{Command: "tick", Params: map[string]string{"text": s}}
}

type pollResult struct {
	status int
	header http.Header
	body   []byte
}

func get(t *testing.T, p *pulltest.Portal, target string) pollResult {
	t.Helper()
	resp, err := p.HTTPClient().Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return pollResult{resp.StatusCode, resp.Header, body}
}

func pollMid(t *testing.T, p *pulltest.Portal, mid string) pollResult {
	t.Helper()
	return get(t, p, subURL(t, p, mid))
}

// pollLater polls in the background.
func pollLater(t *testing.T, p *pulltest.Portal, mid string) <-chan pollResult {
	done := make(chan pollResult, 1)
	target := subURL(t, p, mid)
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
		resp, err := p.HTTPClient().Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			done <- pollResult{resp.StatusCode, resp.Header, body}
		}
	}()
	return done
}

// until waits for a condition that becomes true without virtual time passing.
func until(t *testing.T, cond func() bool) {
	t.Helper()
	for range 5000 {
		if cond() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it never came true")
}
