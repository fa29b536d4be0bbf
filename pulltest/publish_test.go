package pulltest_test

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// TestPublish_TooLarge: a frame or body of 1 MiB is read, one that is longer
// ends the connection, over a websocket without a close frame.
func TestPublish_TooLarge(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		ws.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20+1))
		ws.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, _, err := ws.ReadMessage()
		if _, closed := err.(*websocket.CloseError); closed || err == nil || os.IsTimeout(err) {
			t.Errorf("websocket: %v", err)
		}
		exact := dial(t, p, "")
		defer exact.Close()
		exact.WriteMessage(websocket.BinaryMessage, []byte(strings.Repeat("x", 1<<20)))
		if _, _, err := exact.ReadMessage(); !websocket.IsCloseError(err, 4013) {
			t.Errorf("websocket with 1 MiB: %v", err)
		}
		target := p.PushURL() + "/rest/?CHANNEL_ID=" + url.QueryEscape(channelParam(t, p))
		if r := post(t, p, target, make([]byte, 1<<20)); r.status != 400 {
			t.Errorf("POST with 1 MiB: %d", r.status)
		}
		for _, size := range []int{1<<20 + 1, 5 << 20} {
			checkCutPOST(t, p, target, size)
		}
		if n := p.Stats().RefusedRequests; n != 5 {
			t.Errorf("%d refused requests", n)
		}
	})
}

// checkCutPOST posts on a connection that it sees the end of.
func checkCutPOST(t *testing.T, p *pulltest.Portal, target string, size int) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	tr := p.HTTPClient().Transport.(*http.Transport)
	raw, err := tr.DialContext(t.Context(), "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	config := tr.TLSClientConfig.Clone()
	config.ServerName = u.Hostname()
	conn := tls.Client(raw, config)
	go func() {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", u.RequestURI(), u.Host, size)
		conn.Write(make([]byte, size))
	}()
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	answer, err := io.ReadAll(conn) // until the connection has ended
	head, _, _ := strings.Cut(string(answer), "\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 413 ") || os.IsTimeout(err) {
		t.Errorf("POST of %d bytes: %q, %v", size, head, err)
	}
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
		r = get(t, p, p.PushURL()+"/server-stat/")
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
