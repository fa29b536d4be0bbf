package pulltest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

var nginxVersions = []int{1, 2}

// inFirstSeconds emits five messages to two channels: a, B, c in the first
// second of the bubble, d in the next one, E in the third. Capitals are shared.
func inFirstSeconds(p *pulltest.Portal) {
	emit := func(s string, to pulltest.Target) {
		m := text(s)
		m.To = to
		p.Emit(m)
	}
	emit("a", pulltest.Private)
	emit("B", pulltest.Shared)
	emit("c", pulltest.Private)
	time.Sleep(time.Second)
	emit("d", pulltest.Private)
	time.Sleep(time.Second)
	emit("E", pulltest.Shared)
}

func TestNginx_TimeAndTag(t *testing.T) {
	const first, before = "Sat,%2001%20Jan%202000%2000:00:00%20GMT", "Fri,%2031%20Dec%201999%2023:59:59%20GMT"
	all := []string{"a", "c", "d", "B", "E"} // channel by channel
	tests := []struct {
		name, query string
		want        []string // nil: the poll hangs
	}{
		{"the second before", "&time=" + before + "&tag=9", all},
		{"without a tag", "&time=" + before, all},
		{"from tag 0", "&time=" + first + "&tag=0", all},
		{"from tag 1", "&tag=1&time=" + first, []string{"c", "d", "B", "E"}},
		{"from tag 2", "&time=" + first + "&tag=2", []string{"c", "d", "E"}},
		{"from tag 3", "&time=" + first + "&tag=3", []string{"d", "E"}},
		{"a second without a tag", "&time=" + first, []string{"d", "E"}},
		{"with a tag of letters", "&time=" + first + "&tag=x", []string{"d", "E"}},
		{"a tag without a time", "&tag=0", nil},
		{"a time with plus signs", "&tag=0&time=" + strings.ReplaceAll(first, "%20", "+"), nil},
		{"no time at all", "&tag=0&time=yesterday", nil},
		{"the future", "&tag=0&time=Sat,%2001%20Jan%202000%2000:00:03%20GMT", nil},
		{"a mid", "&mid=" + zeros, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
				inFirstSeconds(p)
				start := time.Now()
				r := get(t, p, p.PushURL()+"/sub/"+readConfig(t, p).query()+tt.query)
				if tt.want == nil {
					if r.status != http.StatusNotModified || time.Since(start) != 40*time.Second {
						t.Errorf("%d %s after %v", r.status, r.body, time.Since(start))
					}
					return
				}
				expect(t, "the poll", frameTexts(t, r.body), tt.want...)
				if last, tag := r.header.Get("Last-Modified"), r.header.Get("Etag"); last != "Sat, 01 Jan 2000 00:00:02 GMT" || tag != "W/1" {
					t.Errorf("Last-Modified %s, Etag %s", last, tag)
				}
			})
		})
	}
}

// What Last-Modified and Etag say leads from poll to poll.
func TestNginx_PollsLeadOn(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		at, tag := "Thu, 01 Jan 1970 00:00:01 GMT", "0"
		for _, s := range []string{"one", "two", "three"} {
			p.Emit(text(s))
			r := pollAs(t, p, "time", at, "tag", tag)
			expect(t, "the poll", frameTexts(t, r.body), s)
			at, tag = r.header.Get("Last-Modified"), strings.TrimPrefix(r.header.Get("Etag"), "W/")
		}
		if s := p.Stats(); s.Polls != 3 || s.PollsWithMid != 3 || s.Replayed != 3 || s.Sent != 3 {
			t.Errorf("stats %+v", s)
		}
		target := p.PushURL() + "/sub/" + readConfig(t, p).query("time", at, "tag", tag)
		answer := make(chan pollResult, 1)
		go func() { answer <- get(t, p, target) }()
		time.Sleep(time.Second)
		p.Emit(text("live"))
		p.Emit(text("too late"))
		r := <-answer
		expect(t, "the hanging poll", frameTexts(t, r.body), "live")
		if r.header.Get("Last-Modified") != "Sat, 01 Jan 2000 00:00:01 GMT" || r.header.Get("Etag") != "W/1" {
			t.Errorf("head %v", r.header)
		}
	})
}

func TestNginx_HistoryInFramesOfOneMessage(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		inFirstSeconds(p)
		ws := connectAs(t, p, "time", "Sat, 01 Jan 2000 00:00:00 GMT", "tag", "1")
		for _, want := range []string{"c", "d", "B", "E"} {
			expect(t, "a frame", nextTexts(t, ws), want)
		}
	})
}

func TestNginx_Messages(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		ws := connectAs(t, p)
		inFirstSeconds(p)
		private, shared := c.Channels["private"].ID, c.Channels["shared"].ID
		const first = "Sat, 01 Jan 2000 00:00:0"
		want := []textMessage{
			{ID: 1, Channel: private, Tag: "1", Time: first + "0 GMT"},
			{ID: 1, Channel: shared, Tag: "2", Time: first + "0 GMT"},
			{ID: 2, Channel: private, Tag: "3", Time: first + "0 GMT"},
			{ID: 3, Channel: private, Tag: "1", Time: first + "1 GMT"},
			{ID: 2, Channel: shared, Tag: "1", Time: first + "2 GMT"},
		}
		for _, w := range want {
			_, data, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			m := decodeText(t, string(data))[0]
			var body struct{ Extra struct{ Channel string } }
			if err := json.Unmarshal(m.Text, &body); err != nil {
				t.Fatal(err)
			}
			named := ""
			if c.Server.Version == 1 {
				named = w.Channel
			}
			if m.Text = nil; m.ID != w.ID || m.Channel != w.Channel || m.Tag != w.Tag || m.Time != w.Time || m.Mid != "" || body.Extra.Channel != named {
				t.Errorf("message %+v with extra.channel %q, want %+v", m, body.Extra.Channel, w)
			}
		}
	})
}

// An event for two users is two messages, and in version 1 each names its
// channel.
func TestNginx_EventForTwoUsers(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		event := p.URL() + "/rest/pull.application.event.add"
		if status, a := call(t, p, event, params{"auth": p.AccessToken(), "COMMAND": "x", "USER_ID": []int{2, 1}}); status != 200 {
			t.Fatalf("%d %+v", status, a)
		}
		m := decodeText(t, string(pollAs(t, p, "time", "Thu, 01 Jan 1970 00:00:01 GMT").body))[0]
		own := readConfig(t, p).Channels["private"].ID
		if m.Channel != own || m.Tag != "2" {
			t.Errorf("message %+v", m)
		}
		named := strings.Contains(string(m.Text), `"channel":"`+own+`"`)
		if named != (readConfig(t, p).Server.Version == 1) {
			t.Errorf("body %s", m.Text)
		}
		if status, a := call(t, p, event, params{"auth": p.AccessToken(), "COMMAND": "x", "USER_ID": []int{}}); status != 200 {
			t.Errorf("for nobody: %d %+v", status, a)
		}
	})
}

func TestNginx_Expiry(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		for s, expiry := range map[string]time.Duration{"a minute": time.Minute, "not kept": -1, "a day": 0} {
			m := text(s)
			m.Expiry = expiry
			p.Emit(m)
		}
		time.Sleep(time.Minute)
		r := pollAs(t, p, "time", "Thu, 01 Jan 1970 00:00:01 GMT")
		expect(t, "a minute later", frameTexts(t, r.body), "a day")
	})
}

func TestNginx_Pong(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		pongs := make(chan string, 1)
		ws.SetPongHandler(func(data string) error { pongs <- data; return nil })
		go ws.ReadMessage()
		ws.WriteControl(websocket.PingMessage, []byte("nonce"), time.Now().Add(time.Minute))
		synctest.Wait()
		select {
		case data := <-pongs:
			if data != "" {
				t.Errorf("the pong carries %q", data)
			}
		default:
			t.Error("no pong")
		}
	})
}

// Any name is a channel, also one that looks signed; no name is refused.
func TestNginx_Channels(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		private := readConfig(t, p).Channels["private"].ID
		p.Emit(text("kept"))
		const all = "&time=Thu,%2001%20Jan%201970%2000:00:01%20GMT"
		r := get(t, p, p.PushURL()+"/sub/?CHANNEL_ID="+url.QueryEscape("other/"+private)+all)
		expect(t, "the poll", frameTexts(t, r.body), "kept")
		if r = get(t, p, p.PushURL()+"/sub/?CHANNEL_ID="+private+".signature"+all); r.status != http.StatusNotModified {
			t.Errorf("another channel: %d %s", r.status, r.body)
		}
		ws, _, err := dialURL(p, p.PushURL()+"/subws/?CHANNEL_ID=")
		if err != nil {
			t.Fatalf("a websocket without a channel: %v", err)
		}
		ws.Close()
		if r = post(t, p, p.PushURL()+"/rest/?CHANNEL_ID="+private, nil); r.status != http.StatusNotFound {
			t.Errorf("publishing of a client: %d", r.status)
		}
	})
}
