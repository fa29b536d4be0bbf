package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// versionConfig is what clients of any version need of a config.
type versionConfig struct {
	configChannels
	Server struct {
		Version          int
		Mode             string
		LongPolling      *string `json:"long_polling"`
		LongPooling      *string `json:"long_pooling_secure"`
		WebSocketEnabled bool    `json:"websocket_enabled"`
		WebSocket        string  `json:"websocket_secure"`
		PublishEnabled   bool    `json:"publish_enabled"`
		Publish          *string `json:"publish_secure"`
		ClientID         *string
	}
	ClientID       string
	JWT            string
	Exp            int64
	PublicChannels json.RawMessage
}

func readConfig(t *testing.T, p *pulltest.Portal) versionConfig {
	t.Helper()
	var c versionConfig
	if err := json.Unmarshal(p.ConfigJSON(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// query is what a client of the config's version sends.
func (c versionConfig) query(more ...string) string {
	q := url.Values{}
	if c.JWT != "" {
		q.Set("token", c.JWT)
		q.Set("jsonRpc", "true")
	} else {
		q.Set("CHANNEL_ID", c.Channels["private"].ID+"/"+c.Channels["shared"].ID)
	}
	if c.Server.Version == 4 {
		q.Set("binaryMode", "true")
	}
	if c.ClientID != "" {
		q.Set("clientId", c.ClientID)
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// connectAs opens a websocket as a client of the portal's version does.
func connectAs(t *testing.T, p *pulltest.Portal, more ...string) *websocket.Conn {
	t.Helper()
	c := readConfig(t, p)
	ws, _, err := dialURL(p, "https"+strings.TrimPrefix(c.Server.WebSocket, "wss")+c.query(more...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

func pollAs(t *testing.T, p *pulltest.Portal, more ...string) pollResult {
	t.Helper()
	c, path := readConfig(t, p), "/sub/"
	if c.Server.Mode == "shared" {
		path = "/subws/"
	}
	return get(t, p, p.PushURL()+path+c.query(more...))
}

// frameMessages reads a frame or answer of any version.
func frameMessages(t *testing.T, data []byte) (list []received) {
	t.Helper()
	switch {
	case strings.HasPrefix(string(data), "#!"):
		for _, m := range decodeText(t, string(data)) {
			list = append(list, received{Mid: m.Mid, Body: string(m.Text)})
		}
	case len(data) > 0 && (data[0] == '{' || data[0] == '['):
		for _, m := range decodeRPC(t, data) {
			list = append(list, received{Mid: m.Params.Mid, Body: string(m.Params.Body)})
		}
	default:
		list = decode(t, data)
	}
	return list
}

func frameTexts(t *testing.T, data []byte) []string {
	t.Helper()
	return texts(t, frameMessages(t, data))
}

// nextFrame reads one frame, or fails after a minute.
func nextFrame(t *testing.T, ws *websocket.Conn) []byte {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	_, data, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func nextTexts(t *testing.T, ws *websocket.Conn) []string {
	t.Helper()
	return frameTexts(t, nextFrame(t, ws))
}

// hear reads frames until n messages have come.
func hear(t *testing.T, ws *websocket.Conn, n int) (messages []received) {
	t.Helper()
	for len(messages) < n {
		messages = append(messages, frameMessages(t, nextFrame(t, ws))...)
	}
	return messages
}

// ofVersion runs f in a bubble for each of the versions.
func ofVersion(t *testing.T, versions []int, f func(t *testing.T, p *pulltest.Portal), opts ...pulltest.Option) {
	t.Helper()
	for _, v := range versions {
		t.Run(fmt.Sprintf("version %d", v), func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) { f(t, p) },
				append([]pulltest.Option{pulltest.WithVersion(v)}, opts...)...)
		})
	}
}

var allVersions = []int{1, 2, 3, 4, 5}

// fromTheStart asks for all of the history in every version.
var fromTheStart = []string{"mid", zeros, "time", "Thu, 01 Jan 1970 00:00:01 GMT", "tag", "0"}

func TestVersions_ConfigOfEachVersion(t *testing.T) {
	const hash, signature = `[0-9a-f]{32}`, `\.[0-9a-f]{40}`
	tests := []struct {
		private, shared string // patterns
		socket          string
		publicIDs, jwt  bool
	}{
		1: {hash, hash, "subws", false, false},
		2: {hash, hash, "subws", false, false},
		3: {hash + signature, hash + signature, "sub", false, false},
		4: {hash + ":" + hash + signature, hash + signature, "sub", true, false},
		5: {hash + ":" + hash + signature, hash + signature, "sub", true, true},
	}
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		want := tests[c.Server.Version]
		for kind, pattern := range map[string]string{"private": want.private, "shared": want.shared} {
			if id := c.Channels[kind].ID; !regexp.MustCompile("^" + pattern + "$").MatchString(id) {
				t.Errorf("%s channel %q", kind, id)
			}
		}
		if got := c.Channels["private"].PublicID != ""; got != want.publicIDs {
			t.Errorf("the private channel has a public id: %t", got)
		}
		if got := string(c.PublicChannels) != "false"; got != want.publicIDs || c.Server.PublishEnabled != want.publicIDs || (c.Server.Publish != nil) != want.publicIDs {
			t.Errorf("publicChannels %s, publish_enabled %t", c.PublicChannels, c.Server.PublishEnabled)
		}
		if want := "wss" + strings.TrimPrefix(p.PushURL(), "https") + "/" + want.socket + "/"; c.Server.WebSocket != want || !c.Server.WebSocketEnabled {
			t.Errorf("websocket %s", c.Server.WebSocket)
		}
		if c.Server.LongPolling == nil || c.Server.LongPooling == nil || c.Server.Mode != "personal" || c.ClientID != "" {
			t.Errorf("server %+v, client %q", c.Server, c.ClientID)
		}
		if (c.JWT != "") != want.jwt || c.Exp != time.Now().Add(24*time.Hour).Unix() {
			t.Errorf("jwt %q until %d", c.JWT, c.Exp)
		}
	})
}

func TestVersions_UnknownVersionPanics(t *testing.T) {
	for _, v := range []int{-1, 0, 6} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, fmt.Sprintf("version %d,", v)) {
					t.Errorf("version %d: %s", v, text)
				}
			}()
			pulltest.NewPortal(pulltest.WithVersion(v)).Close()
		}()
	}
}

// What the portal does to its connections works in every version.
func TestVersions_EachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		p.Emit(text("live"))
		expect(t, "the websocket heard", nextTexts(t, ws), "live")
		shared := text("shared")
		shared.To = pulltest.Shared
		p.Emit(shared)
		expect(t, "then", nextTexts(t, ws), "shared")
		transient := text("not kept")
		transient.Expiry = -1
		p.Emit(transient)
		expect(t, "then", nextTexts(t, ws), "not kept")

		ws.SetPingHandler(func(string) error {
			return ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute))
		})
		p.Ping()
		go func() {
			time.Sleep(time.Second)
			p.CloseWebSockets(4011, "4011: try later")
		}()
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4011) {
			t.Errorf("read %v", err)
		}
		if s := p.Stats(); s.Pings != 1 || s.PingTimeouts != 0 {
			t.Errorf("stats %+v", s)
		}

		r := pollAs(t, p, fromTheStart...)
		expect(t, "the history", frameTexts(t, r.body), "live", "shared")
		ws = connectAs(t, p, fromTheStart...)
		expect(t, "the history over a websocket", texts(t, hear(t, ws, 2)), "live", "shared")
		time.Sleep(time.Second)
		p.Emit(text("after it"))
		expect(t, "then live", nextTexts(t, ws), "after it")
		if n, err := p.Cut(); n != 1 || err != nil {
			t.Errorf("cut %d", n)
		}
		if _, _, err := ws.ReadMessage(); err == nil {
			t.Error("a cut websocket reads on")
		}
	})
}

func TestVersions_HandoverHoleOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		ws := connectAs(t, p, fromTheStart...)
		synctest.Wait()
		p.Emit(text("lost"))
		time.Sleep(time.Second)
		p.Emit(text("live"))
		expect(t, "the websocket heard", nextTexts(t, ws), "kept")
		expect(t, "then", nextTexts(t, ws), "live")
	})
}

func TestVersions_GatheringOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		for i := range 4 {
			p.Emit(text(fmt.Sprint(i)))
		}
		want := [][]string{{"0"}, {"1", "2", "3"}}
		if readConfig(t, p).Server.Version <= 2 {
			want = [][]string{{"0"}, {"1"}, {"2"}, {"3"}}
		}
		for _, w := range want {
			expect(t, "a frame", nextTexts(t, ws), w...)
		}
	})
}

// From version 4 on a ping opens a hole, before it does not.
func TestVersions_PingHoleOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		p.Ping()
		synctest.Wait()
		p.Emit(text("before the pong"))
		var got []string
		ws.SetReadDeadline(time.Now().Add(time.Second))
		if _, data, err := ws.ReadMessage(); err == nil {
			got = frameTexts(t, data)
		}
		if readConfig(t, p).Server.Version >= 4 {
			expect(t, "the websocket heard", got)
		} else {
			expect(t, "the websocket heard", got, "before the pong")
		}
	})
}

// A client that never answers pings is dropped at the second one, in version 3
// at the third, in versions 1 and 2 never; they ping only if told to.
func TestVersions_SilentClientOfEachVersion(t *testing.T) {
	pings := []int{1: 5, 2: 5, 3: 2, 4: 1, 5: 1}
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		connectAs(t, p) // reads nothing, and so answers nothing
		time.Sleep(5*time.Minute + time.Second)
		v := readConfig(t, p).Server.Version
		dropped := 0
		if v > 2 {
			dropped = 1
		}
		if s := p.Stats(); s.Pings != pings[v] || s.PingTimeouts != dropped || s.Connections != 1-dropped {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithPingInterval(time.Minute), pulltest.WithTextPing(0))
}

func TestVersions_DefaultPings(t *testing.T) {
	pings := []int{1: 0, 2: 0, 3: 5, 4: 5, 5: 5}
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		go ws.ReadMessage() // answers pings until the end
		time.Sleep(601 * time.Second)
		if s := p.Stats(); s.Pings != pings[readConfig(t, p).Server.Version] {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithTextPing(0))
}
