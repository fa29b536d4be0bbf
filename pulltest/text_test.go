package pulltest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

func TestText_Version3(t *testing.T) {
	ofVersion(t, []int{3}, func(t *testing.T, p *pulltest.Portal) {
		time.Sleep(1234 * time.Millisecond)
		mid := p.Emit(text("kept"))
		time.Sleep(time.Minute)
		m := decodeText(t, string(pollAs(t, p, "mid", zeros, "binaryMode", "true").body))[0]
		private := readConfig(t, p).Channels["private"].ID
		if m.ID != 1 || m.Mid != mid || m.Channel != private[:32] || m.Tag != "234" || m.Time != "Sat, 01 Jan 2000 00:00:01 GMT" {
			t.Errorf("message %+v", m)
		}
		ws := connectAs(t, p, "binaryMode", "true")
		p.Emit(text("live"))
		expect(t, "binary mode is ignored", nextTexts(t, ws), "live")
	})
}

func TestText_ChannelsOfVersion3(t *testing.T) {
	bare := md5hex("ann") + "." + sign(md5hex("ann"))
	tests := []struct {
		name, id string
		ok       bool
	}{
		{"signed", bare, true},
		{"two", bare + "/" + bare, true},
		{"with a public id", signedChannel("ann"), false},
		{"unsigned", md5hex("ann"), false},
		{"forged", bare[:70] + "000", false},
		{"none", "", false},
	}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		rawPublish(t, p, md5hex("ann"), `{"params":{"text":"kept"}}`)
		for _, tt := range tests {
			query := "/sub/?mid=" + zeros + "&CHANNEL_ID=" + url.QueryEscape(tt.id)
			r := get(t, p, p.PushURL()+query)
			ws, resp, err := dialURL(p, p.PushURL()+query)
			if tt.ok {
				if r.status != http.StatusOK || err != nil {
					t.Errorf("%s: %d, %v", tt.name, r.status, err)
				} else {
					ws.Close()
				}
				continue
			}
			reason := "Channel id is not correct."
			if tt.id == "" {
				reason = "No channel id provided."
			}
			if r.status != 400 || string(r.body) != reason || err == nil || resp.StatusCode != 400 {
				t.Errorf("%s: %d %s, %v", tt.name, r.status, r.body, err)
			}
		}
	}, pulltest.WithVersion(3), pulltest.WithKey(labKey))
}

// TestText_JSONFormat: with format=json a frame of version 4 is an array of the
// objects of the text framing.
func TestText_JSONFormat(t *testing.T) {
	ofVersion(t, []int{4}, func(t *testing.T, p *pulltest.Portal) {
		mids := []string{p.Emit(text("one")), p.Emit(text("two"))}
		ws := connectAs(t, p, "binaryMode", "", "format", "json", "mid", zeros)
		poll := pollAs(t, p, "binaryMode", "", "format", "json", "mid", zeros)
		for way, frame := range map[string][]byte{"websocket": nextFrame(t, ws), "poll": poll.body} {
			var list []textMessage
			if err := json.Unmarshal(frame, &list); err != nil || len(list) != 2 {
				t.Fatalf("%s: %v, %s", way, err, frame)
			}
			for i, m := range list {
				if m.Mid != mids[i] || m.Channel != "-" || len(m.Text) == 0 {
					t.Errorf("%s: message %+v", way, m)
				}
			}
		}
		if got := poll.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Content-Type %s", got)
		}
	})
}
