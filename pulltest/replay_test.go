package pulltest_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// recording is what a real push server answered.
type recording struct {
	Case    string            `json:"case"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	SentHex []string          `json:"sent_hex"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Frames  []frame           `json:"frames"`
}

type frame struct {
	Type string `json:"type"`
	Text string `json:"text"`
	Hex  string `json:"hex"`
	Code int    `json:"code"`
}

// stage is what happens around a recorded request: before it, and once the
// server has it.
type stage struct {
	before, during func(*replay)
	body           []byte // instead of sent_hex
}

type replay struct {
	*testing.T
	p   *pulltest.Portal
	rec recording

	recordedMids, playedMids mids
}

// mids numbers message ids in the order of their first appearance.
type mids map[string]string

func (m mids) name(mid string) string {
	if m[mid] == "" {
		m[mid] = fmt.Sprintf("mid%d", len(m)+1)
	}
	return m[mid]
}

var stages = map[string]stage{
	"poll_bad_mid":          {before: func(r *replay) { r.publish(`{}`, 600) }},
	"poll_both_receivers":   {before: (*replay).publishToBoth},
	"poll_history_binary":   {before: (*replay).publishRecorded},
	"poll_history_text":     {before: (*replay).publishRecorded},
	"poll_live_binary":      {during: (*replay).publishRecorded},
	"poll_timeout":          {},
	"poll_timeout_with_mid": {},
	"poll_wrong_channel":    {},
	"pub_101_messages":      {},
	"pub_101_receivers":     {},
	"pub_no_receivers":      {},
	"rest_garbage":          {},
	"rest_private_receiver": {},
	"rest_publish":          {},
	"rest_publish_unsigned": {},
	"rest_too_large":        {body: make([]byte, 1<<20+1)},
	"ws_bad_signature":      {},
	"ws_binary":             {during: (*replay).publishRecorded},
	"ws_both_receivers":     {during: (*replay).publishToBoth},
	"ws_channel_stats":      {},
	"ws_client_message":     {during: (*replay).publishAsAlice},
	"ws_garbage":            {},
	"ws_history_binary":     {before: (*replay).publishRecorded},
	"ws_text":               {during: (*replay).publishRecorded},
	"ws_too_many":           {during: (*replay).connectMore},
	"ws_two_requests":       {during: (*replay).publishTwoRequests},
	"ws_wrong_channel":      {},
}

func recordings(t *testing.T, server string) []recording {
	t.Helper()
	files, err := filepath.Glob("../testdata/" + server + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	list := make([]recording, len(files))
	for i, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &list[i]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return list
}

// TestReplay_Recordings sends what was sent to a real server and compares every byte
// of the answers but ids and times.
func TestReplay_Recordings(t *testing.T) {
	for _, rec := range recordings(t, "pushserver") {
		t.Run(rec.Case, func(t *testing.T) {
			st, known := stages[rec.Case]
			if !known {
				t.Fatal("nobody knows how to play this recording")
			}
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				r := &replay{T: t, p: p, rec: rec, recordedMids: mids{}, playedMids: mids{}}
				r.play(st)
			}, pulltest.WithKey(labKey))
		})
	}
}

func (r *replay) play(st stage) {
	if st.before != nil {
		st.before(r)
		synctest.Wait() // what is accepted is stored after that
	}
	if strings.HasPrefix(r.rec.Case, "ws_") {
		r.playSocket(st)
		return
	}
	r.playHTTP(st)
}

func (r *replay) playHTTP(st stage) {
	body := st.body
	for _, sent := range r.rec.SentHex {
		body = append(body, unhex(r.T, sent)...)
	}
	req, err := http.NewRequest(r.rec.Method, r.p.PushURL()+r.rec.Path, strings.NewReader(string(body)))
	if err != nil {
		r.Fatal(err)
	}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	if st.during != nil {
		publishing.Go(func() {
			synctest.Wait()
			st.during(r)
		})
	}
	resp, err := r.p.HTTPClient().Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	r.compareHead(resp)
	var want []byte
	for _, f := range r.rec.Frames {
		want = append(want, f.bytes(r.T)...)
	}
	if diff := cmp.Diff(r.mask(want, r.recordedMids), r.mask(got, r.playedMids)); diff != "" {
		r.Errorf("the body differs (-recorded +played):\n%s", diff)
	}
}

func (r *replay) compareHead(resp *http.Response) {
	if resp.StatusCode != r.rec.Status {
		r.Errorf("status %d, recorded %d", resp.StatusCode, r.rec.Status)
	}
	for name, want := range r.rec.Headers {
		got := resp.Header.Get(name)
		if name == "Last-Message-Id" && r.rec.Case == "poll_bad_mid" {
			// The newest kept mid: the only message there is.
			want = fmt.Sprintf("%010d%016d", time.Now().Add(-40*time.Second).Unix(), 1)
		}
		if got != want {
			r.Errorf("%s: %q, recorded %q", name, got, want)
		}
	}
	if _, recorded := r.rec.Headers["Last-Message-Id"]; !recorded && resp.Header.Get("Last-Message-Id") != "" {
		r.Errorf("Last-Message-Id %q, none was recorded", resp.Header.Get("Last-Message-Id"))
	}
}

func (r *replay) playSocket(st stage) {
	ws, resp, err := dialURL(r.p, r.p.PushURL()+r.rec.Path)
	if resp == nil {
		r.Fatal(err)
	}
	r.compareHead(resp)
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		if got, want := string(body), r.rec.Frames[0].Text; got != want {
			r.Errorf("body %q, recorded %q", got, want)
		}
		return
	}
	defer ws.Close()
	for _, sent := range r.rec.SentHex {
		if err := ws.WriteMessage(websocket.BinaryMessage, unhex(r.T, sent)); err != nil {
			r.Fatal(err)
		}
	}
	if st.during != nil {
		st.during(r)
	}
	for i, want := range r.rec.Frames {
		got := r.readFrame(ws)
		masked := func(f frame, seen mids) frame {
			return frame{Type: f.Type, Text: r.mask(f.bytes(r.T), seen), Code: f.Code}
		}
		if diff := cmp.Diff(masked(want, r.recordedMids), masked(got, r.playedMids)); diff != "" {
			r.Errorf("frame %d differs (-recorded +played):\n%s", i, diff)
		}
	}
}

func (r *replay) readFrame(ws *websocket.Conn) frame {
	ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	kind, data, err := ws.ReadMessage()
	if e, closed := err.(*websocket.CloseError); closed {
		return frame{Type: "close", Text: e.Text, Code: e.Code}
	}
	if err != nil {
		r.Fatal(err)
	}
	if kind == websocket.TextMessage {
		return frame{Type: "text", Text: string(data)}
	}
	return frame{Type: "binary", Hex: hex.EncodeToString(data)}
}

func (f frame) bytes(t *testing.T) []byte {
	if f.Type == "binary" {
		return unhex(t, f.Hex)
	}
	return []byte(f.Text)
}

var textHead = regexp.MustCompile(`\{"id":(\d+),"mid":"(\d{26})","channel":"-","tag":"(\d{1,3})","time":"(\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)","text":`)

// mask names the mids and blanks times; all else stays as it is.
func (r *replay) mask(b []byte, seen mids) string {
	if len(b) > 0 && b[0] == '\n' {
		var out strings.Builder
		r.maskFields(b, &out, seen, 0)
		return out.String()
	}
	return textHead.ReplaceAllStringFunc(string(b), func(head string) string {
		m := textHead.FindStringSubmatch(head)
		if !strings.HasSuffix(m[2], m[1]) {
			r.Errorf("id %s does not count in mid %s", m[1], m[2])
		}
		return fmt.Sprintf(`{"id":%s,"text":`, seen.name(m[2]))
	})
}

// maskFields prints the fields of a ResponseBatch; responses, their contents
// and messages are taken apart.
func (r *replay) maskFields(b []byte, out *strings.Builder, seen mids, depth int) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			r.Fatal(protowire.ParseError(n))
		}
		raw := b[:n]
		b = b[n:]
		fmt.Fprintf(out, "\n%*s%d/%d ", depth, "", num, typ)
		_, _, head := protowire.ConsumeTag(raw)
		value, _ := protowire.ConsumeBytes(raw[head:])
		switch {
		case depth < 2 || depth == 2 && typ == protowire.BytesType:
			fmt.Fprintf(out, "%d bytes", len(value))
			r.maskFields(value, out, seen, depth+1)
		case depth == 3 && num == 1 && len(value) == 13:
			out.WriteString(seen.name(hex.EncodeToString(value)))
		case depth == 3 && num == 4:
			out.WriteString("created")
		default:
			fmt.Fprintf(out, "%q", raw)
		}
	}
}

// recorded returns the distinct messages of the recorded frames, as they were
// published.
func (r *replay) recorded() []received {
	var list []received
	for _, f := range r.rec.Frames {
		if f.Type == "binary" {
			list = append(list, decode(r.T, unhex(r.T, f.Hex))...)
			continue
		}
		for part := range strings.SplitSeq(f.Text, "#!NGINXNMS!#") {
			if at := textHead.FindStringIndex(part); at != nil {
				body := strings.TrimSuffix(part[at[1]:], "}#!NGINXNME!#")
				list = append(list, received{Body: body, Expiry: 86400})
			}
		}
	}
	return list
}

// channel is the private and the public id of the recorded path.
func (r *replay) channel() (private, public []byte) {
	u, err := url.Parse(r.rec.Path)
	if err != nil {
		r.Fatal(err)
	}
	id, _, _ := strings.Cut(u.Query().Get("CHANNEL_ID"), ".")
	a, b, _ := strings.Cut(id, ":")
	return unhex(r.T, a), unhex(r.T, b)
}

func (r *replay) publish(body string, expiry uint64) {
	private, _ := r.channel()
	trusted(r.T, r.p, publishRequest(incomingMessage(body, expiry, privateReceiver(private))))
}

func (r *replay) publishRecorded() {
	for _, m := range r.recorded() {
		r.publish(m.Body, m.Expiry)
	}
}

func (r *replay) publishToBoth() {
	private, public := r.channel()
	m := r.recorded()[0]
	trusted(r.T, r.p, publishRequest(incomingMessage(m.Body, m.Expiry,
		privateReceiver(private), publicReceiver(public, nil))))
}

func (r *replay) publishTwoRequests() {
	private, _ := r.channel()
	m := r.recorded()[0]
	trusted(r.T, r.p, batchOf(
		publishRequest(incomingMessage(m.Body, m.Expiry, privateReceiver(private))),
		publishRequest(incomingMessage(`"never"`, 0, privateReceiver(private))),
	))
	time.Sleep(time.Second)
	if n := r.p.Stats().Published; n != 1 {
		r.Errorf("%d messages were published", n)
	}
}

func (r *replay) publishAsAlice() {
	target := r.p.PushURL() + "/sub/?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(signedChannel("alice"))
	alice, _, err := dialURL(r.p, target)
	if err != nil {
		r.Fatal(err)
	}
	defer alice.Close()
	_, bob := r.channel()
	signature := unhex(r.T, sign("public:"+hex.EncodeToString(bob)))
	m := r.recorded()[0]
	batch := publishRequest(incomingMessage(m.Body, m.Expiry, publicReceiver(bob, signature)))
	if err := alice.WriteMessage(websocket.BinaryMessage, batch); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
}

func (r *replay) connectMore() {
	for range 100 {
		ws, _, err := dialURL(r.p, r.p.PushURL()+r.rec.Path)
		if err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() { ws.Close() })
	}
}
