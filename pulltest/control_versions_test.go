package pulltest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

func TestControlVersions_ReplaceChannelOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		before, old := readConfig(t, p), connectAs(t, p)
		p.Emit(text("before"))
		p.ReplaceChannel(pulltest.Private)
		after, fresh := readConfig(t, p), connectAs(t, p)
		was, is := before.Channels["private"], after.Channels["private"]
		if was.ID == is.ID || len(was.ID) != len(is.ID) || len(was.PublicID) != len(is.PublicID) || before.Channels["shared"] != after.Channels["shared"] {
			t.Errorf("channels %+v, then %+v", before.Channels, after.Channels)
		}
		if v := before.Server.Version; (before.JWT != after.JWT) != (v == 5) {
			t.Errorf("jwt %q, then %q", before.JWT, after.JWT)
		}
		p.Emit(text("new"))
		p.EmitOld(text("old"))
		expect(t, "the old channel brings", texts(t, hear(t, old, 2)), "before", "old")
		expect(t, "the new channel brings", texts(t, hear(t, fresh, 1)), "new")
		sub := p.PushURL() + "/sub/"
		expect(t, "the old channel keeps", frameTexts(t, get(t, p, sub+before.query(fromTheStart...)).body), "before", "old")
		expect(t, "the new channel keeps", frameTexts(t, get(t, p, sub+after.query(fromTheStart...)).body), "new")
	})
}

// What is told of an expired channel has the form of the version's config.
func TestControlVersions_ExpireChannelOfEachVersion(t *testing.T) {
	for kind, to := range map[string]pulltest.Target{"private": pulltest.Private, "shared": pulltest.Shared} {
		for _, action := range []string{"reconnect", "get_config"} {
			t.Run(kind+" "+action, func(t *testing.T) {
				ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
					ws, old := connectAs(t, p), readConfig(t, p).Channels[kind]
					p.ExpireChannel(to, action)
					e := hear(t, ws, 1)[0].event(t)
					c := readConfig(t, p)
					fresh := c.Channels[kind]
					named := map[string]any{"id": old.ID[:32], "type": kind}
					start := any(fresh.Start)
					if kind == "shared" || action != "reconnect" {
						named["type"] = "local.5f3c0d1b2a4e60.71829304"
					}
					if kind == "shared" {
						start = float64(time.Now().Unix())
					}
					want := map[string]any{"action": action, "channel": named}
					if action == "reconnect" || kind == "shared" {
						told := map[string]any{"id": fresh.ID, "start": start, "end": fresh.End, "type": kind}
						if kind == "private" && c.Server.Version >= 4 {
							told["public_id"] = fresh.PublicID
						}
						want["new_channel"] = told
					}
					var params map[string]any
					if err := json.Unmarshal(e.Params, &params); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, params); diff != "" || e.Module != "pull" || e.Command != "channel_expire" {
						t.Errorf("%s %s:\n%s", e.Module, e.Command, diff)
					}
				})
			})
		}
	}
}

// In version 1 every channel gets a command that names it.
func TestControlVersions_CommandToTwoChannels(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws, c := connectAs(t, p), readConfig(t, p)
		p.ExpireConfig()
		got := hear(t, ws, 2)
		for i, kind := range []string{"private", "shared"} {
			e, want := got[i].event(t), ""
			if c.Server.Version == 1 {
				want = c.Channels[kind].ID
			}
			var extra struct{ Channel string }
			if err := json.Unmarshal(e.Extra, &extra); err != nil || e.Command != "config_expire" || extra.Channel != want {
				t.Errorf("%s: %s, extra.channel %q", kind, e.Command, extra.Channel)
			}
		}
		if got[0].Mid != got[1].Mid {
			t.Errorf("mids %s and %s", got[0].Mid, got[1].Mid)
		}
	})
}

func TestControlVersions_RestartOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		ws := connectAs(t, p)
		p.RestartServer(10 * time.Second)
		for _, m := range hear(t, ws, 2) {
			if e := m.event(t); e.Command != "server_restart" {
				t.Errorf("command %s", e.Command)
			}
		}
		if _, _, err := ws.ReadMessage(); err == nil {
			t.Error("the websocket was not cut")
		}
		path, query := readConfig(t, p).Server.WebSocket[len("wss"):], readConfig(t, p).query(fromTheStart...)
		if ws, _, err := dialURL(p, "https"+path+query); err == nil {
			ws.Close()
			t.Error("a websocket while down")
		}
		time.Sleep(11 * time.Second)
		p.Emit(text("later"))
		restart := func(m received) bool { return m.event(t).Command == "server_restart" }
		history := slices.DeleteFunc(frameMessages(t, pollAs(t, p, fromTheStart...).body), restart)
		expect(t, "the history beside the commands", texts(t, history), "kept", "later")
	}, pulltest.WithGather(0))
}

func TestControlVersions_EmitAsClientOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		c := readConfig(t, p)
		m := pulltest.Message{Command: "forged", UserParams: map[string]int{"n": 1}}
		if c.Server.Version < 4 {
			defer func() {
				if recover() == nil {
					t.Error("a client published")
				}
			}()
			p.EmitAsClient(m)
			return
		}
		ws := connectAs(t, p)
		mid := p.EmitAsClient(m)
		public := publicID(t, p, 2)
		frame := nextFrame(t, ws)
		if c.Server.Version == 4 {
			if got := decode(t, frame)[0]; got.Mid != mid || got.Sender != 1 || got.From != public {
				t.Errorf("%+v", got)
			}
			return
		}
		if got := decodeRPC(t, frame)[0].Params; got.Mid != mid || fmt.Sprint(got.Sender) != "{1 "+public+"}" || string(got.UserParams) != `{"n":1}` {
			t.Errorf("%+v", got)
		}
	})
}

// In version 5 exp is what ends first, the config or its token.
func TestControlVersions_ExpOfVersion5(t *testing.T) {
	for _, life := range []struct{ config, token, exp time.Duration }{
		{time.Minute, time.Hour, time.Minute},
		{time.Hour, time.Minute, time.Minute},
	} {
		version5(t, func(t *testing.T, p *pulltest.Portal) {
			c := readConfig(t, p)
			if want := time.Now().Add(life.exp).Unix(); c.Exp != want {
				t.Errorf("exp %d, want %d", c.Exp, want)
			}
			p.Emit(text("kept"))
			time.Sleep(2 * time.Minute)
			want := 200
			if life.token < 2*time.Minute {
				want = 400
			}
			if r := get(t, p, p.PushURL()+"/sub/"+c.query("mid", zeros)); r.status != want {
				t.Errorf("the token after two minutes: %d", r.status)
			}
		}, pulltest.WithConfigLife(life.config), pulltest.WithTokenLife(life.token))
	}
}
