package pulltest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func TestVersions_WithoutWebSockets(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		if c.Server.WebSocketEnabled {
			t.Error("the config enables websockets")
		}
		if _, resp, err := dialURL(p, "https"+c.Server.WebSocket[len("wss"):]+c.query()); err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a websocket: %v", err)
		}
		p.Emit(text("kept"))
		r := pollAs(t, p, fromTheStart...)
		expect(t, "a poll", frameTexts(t, r.body), "kept")
	}, pulltest.WithoutWebSockets())
}

func TestVersions_WithoutPolling(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		if s := readConfig(t, p).Server; s.LongPolling != nil || s.LongPooling != nil {
			t.Errorf("server %+v", s)
		}
		if r := pollAs(t, p); r.status != http.StatusNotFound {
			t.Errorf("a poll: %d", r.status)
		}
		ws := connectAs(t, p)
		p.Emit(text("live"))
		expect(t, "a websocket", nextTexts(t, ws), "live")
	}, pulltest.WithoutPolling())
}

// Websockets have a path of their own in versions 1 and 2.
func TestVersions_PathsOfWebSockets(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		connectAs(t, p).Close()
		path, status := "/sub/", http.StatusNotFound
		if c.Server.Version < 3 {
			path, status = "/subws/", http.StatusBadRequest
		}
		if want := "wss" + p.PushURL()[len("https"):] + path; c.Server.WebSocket != want {
			t.Errorf("websockets at %s, want %s", c.Server.WebSocket, want)
		}
		if r := get(t, p, p.PushURL()+"/subws/"+c.query()); r.status != status {
			t.Errorf("a poll on /subws/: %d", r.status)
		}
	})
}

func TestVersions_SharedMode(t *testing.T) {
	ofVersion(t, []int{4, 5}, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		if c.Server.Mode != "shared" || len(c.ClientID) != 32 || c.Server.ClientID != nil {
			t.Errorf("mode %s, client %q", c.Server.Mode, c.ClientID)
		}
		ws := connectAs(t, p)
		for _, wrong := range []string{"", c.ClientID + "0"} {
			stranger := connectAs(t, p, "clientId", wrong)
			p.Emit(text("secret"))
			_, _, err := stranger.ReadMessage()
			if closed, _ := err.(*websocket.CloseError); closed == nil || closed.Code != 4036 || closed.Text != "4036: Wrong client id." {
				t.Errorf("client %q reads %v", wrong, err)
			}
			if r := pollAs(t, p, "clientId", wrong, "mid", zeros); r.status != 400 || string(r.body) != "4036: Wrong client id." {
				t.Errorf("client %q polls: %d %s", wrong, r.status, r.body)
			}
			expect(t, "the right client heard", nextTexts(t, ws), "secret")
			time.Sleep(time.Second)
		}
		if s := p.Stats(); s.Refused != 4 || s.Connections != 1 {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithSharedMode())
}
