package pulltest_test

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

const clerk, chief, guest = 577, 1_000_001, 12

// staff are users of one's own; user 1 is none of them.
func staff() pulltest.Option {
	return pulltest.WithUsers(
		pulltest.User{ID: clerk, Name: "Clerk", Email: "clerk@portal.example"},
		pulltest.User{ID: chief, Name: "Chief", Admin: true},
		pulltest.User{ID: guest},
	)
}

type userConfig struct {
	Channels       map[string]struct{ ID, Start string }
	JWT            string
	PublicChannels any // false before version 4
}

// toldTo is what the application is told for a user.
func toldTo(t *testing.T, p *pulltest.Portal, user int) (c userConfig) {
	t.Helper()
	status, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.Token(user).AccessToken})
	if status != 200 || json.Unmarshal(a.Result, &c) != nil {
		t.Fatalf("config of user %d: %d %s", user, status, a.Error)
	}
	return c
}

// keptIn are the texts of the messages kept in a channel.
func keptIn(t *testing.T, p *pulltest.Portal, channel string) []string {
	t.Helper()
	query := url.Values{"CHANNEL_ID": {channel}, "binaryMode": {"true"}, "mid": {zeros}}
	return texts(t, decode(t, get(t, p, p.PushURL()+"/sub/?"+query.Encode()).body))
}

func to(s string, target pulltest.Target, user int) pulltest.Message {
	m := text(s)
	m.To, m.User = target, user
	return m
}

// TestWithUsers_Channels: each has channels of his own, by which he is reached.
func TestWithUsers_Channels(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		seen := make(map[string]int)
		for _, user := range []int{clerk, chief, guest} {
			c := toldTo(t, p, user)
			if other := seen[c.Channels["private"].ID]; other != 0 {
				t.Errorf("users %d and %d have one channel", user, other)
			}
			seen[c.Channels["private"].ID] = user
			public, _ := c.PublicChannels.(map[string]any)
			if own, _ := public[strconv.Itoa(user)].(map[string]any); len(public) != 1 || own["public_id"] == nil {
				t.Errorf("user %d is told %d public channels", user, len(public))
			}
			name := "for " + strconv.Itoa(user)
			p.Emit(to(name, pulltest.Private, user))
			p.Emit(to(name+" of target", pulltest.Private.Of(user), 0))
			expect(t, name, keptIn(t, p, c.Channels["private"].ID), name, name+" of target")
		}
		p.Emit(to("for the first", pulltest.Private, 0))
		expect(t, "the first user", keptIn(t, p, channels(t, p).Channels["private"].ID), "for 577", "for 577 of target", "for the first")

		status, a := call(t, p, p.Webhook()+"pull.channel.public.list", params{"USERS": []int{1, clerk, guest}})
		var list map[string]struct {
			UserID int `json:"user_id"`
		}
		if err := json.Unmarshal(a.Result, &list); status != 200 || err != nil || len(list) != 2 || list["577"].UserID != clerk || list["12"].UserID != guest {
			t.Errorf("public channels: %d %s %v", status, a.Error, err)
		}
		if _, a := call(t, p, p.Webhook()+"pull.channel.public.get", params{"USER_ID": 1}); a.Error != "USER_ID_ACCESS_ERROR" {
			t.Errorf("the public channel of a user who is not there: %q", a.Error)
		}
	}, staff())
}

// TestWithUsers_Control: what portals do with channels is done to any user's.
func TestWithUsers_Control(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		private := func(user int) string { return toldTo(t, p, user).Channels["private"].ID }
		was, others := private(chief), private(clerk)
		p.ExpireChannel(pulltest.Private.Of(chief), "reconnect")
		if private(chief) == was || private(clerk) != others {
			t.Error("another channel expired, or none")
		}
		p.EmitOld(to("late", pulltest.Private, chief))
		p.EmitAsClient(to("from a client", pulltest.Private, guest))
		p.Control("config_expire", map[string]string{"text": "control"}, pulltest.Private.Of(guest))
		if got := keptIn(t, p, was); len(got) != 2 || got[1] != "late" {
			t.Errorf("the channel of before has %q", got)
		}
		expect(t, "a guest", keptIn(t, p, private(guest)), "from a client", "control")
		if got := decode(t, get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&CHANNEL_ID="+private(guest)).body); got[0].Sender != 1 ||
			!strings.Contains(strings.Join(publicIDs(t, p, chief), " "), got[0].From) {
			t.Error("the sender is not the second user")
		}
		p.OmitChannel(pulltest.Private.Of(guest), 1)
		if private(guest) != "" || private(clerk) == "" {
			t.Error("another channel is left out, or none")
		}
		p.Deactivate(chief)
		if private(chief) != "" {
			t.Error("who is not active has a channel")
		}
		p.Activate(chief)
		before := len(keptIn(t, p, private(guest)))
		p.RestartServer(0)
		commands := keptInRaw(t, p, private(guest))
		if len(commands) != before+1 || !strings.Contains(commands[before], "server_restart") {
			t.Errorf("a guest is told %d commands of a restart", len(commands)-before)
		}
	}, staff())
}

// publicIDs are a user's, the application's and the portal's.
func publicIDs(t *testing.T, p *pulltest.Portal, user int) (ids []string) {
	t.Helper()
	for _, application := range []string{"N", "Y"} {
		_, a := call(t, p, p.URL()+"/rest/pull.channel.public.get", params{"auth": p.Token(user).AccessToken, "USER_ID": user, "APPLICATION": application})
		var public struct {
			ID string `json:"public_id"`
		}
		if err := json.Unmarshal(a.Result, &public); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, public.ID)
	}
	return ids
}

// keptInRaw are the bodies of the messages kept in a channel.
func keptInRaw(t *testing.T, p *pulltest.Portal, channel string) (bodies []string) {
	t.Helper()
	for _, m := range decode(t, get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&CHANNEL_ID="+channel).body) {
		bodies = append(bodies, m.Body)
	}
	return bodies
}

// TestWithUsers_Rights: the webhook is the first user's, who is signed in, and
// administrators are those that are said to be.
func TestWithUsers_Rights(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		if !strings.HasPrefix(p.Webhook(), p.URL()+"/rest/577/") {
			t.Error("the webhook is another's")
		}
		if status, a := call(t, p, strings.Replace(p.Webhook(), "/577/", "/12/", 1)+"pull.config.get", params{}); status != 403 || a.Error != "INVALID_CREDENTIALS" {
			t.Errorf("the webhook as another's: %d %s", status, a.Error)
		}
		for user, want := range map[int]string{clerk: "USER_ID_ACCESS_ERROR", chief: "", guest: "USER_ID_ACCESS_ERROR"} {
			_, a := call(t, p, p.URL()+eventAdd, params{"auth": p.Token(user).AccessToken, "COMMAND": "x", "PARAMS": params{"text": "of chief"}, "USER_ID": []int{clerk, chief}})
			if a.Error != want {
				t.Errorf("events of user %d: %q", user, a.Error)
			}
		}
		for _, user := range []int{clerk, chief} {
			expect(t, strconv.Itoa(user), keptIn(t, p, toldTo(t, p, user).Channels["private"].ID), "of chief")
		}
		if status, a := call(t, p, p.URL()+pushAdd, params{"auth": p.Token(chief).AccessToken, "USER_ID": 1, "TEXT": "x"}); status != 400 || a.Error != "USER_ID_ACCESS_ERROR" {
			t.Errorf("a push to a user who is not there: %d %s", status, a.Error)
		}
		p.SignIn(guest)
		if a := exchange(t, p, authorize(t, p).Get("code")); a.raw["user_id"] != float64(guest) {
			t.Errorf("the code is of user %v", a.raw["user_id"])
		}
		p.Watch(guest, "TAG")
		if _, a := call(t, p, p.URL()+"/rest/pull.watch.extend", params{"auth": p.Token(guest).AccessToken, "TAGS": []string{"TAG"}}); string(a.Result) != `{"TAG":true}` {
			t.Errorf("a watch: %s", a.Result)
		}
		if _, a := call(t, p, p.Webhook()+"pull.api.user.getLastSeen", params{"userIds": []int{1, 2, chief}}); !strings.HasPrefix(string(a.Result), `{"1000001":`) {
			t.Errorf("last seen: %s", a.Result)
		}
		for name, f := range map[string]func(){
			"Token": func() { p.Token(1) }, "SignIn": func() { p.SignIn(1) }, "Watch": func() { p.Watch(1, "x") }, "Deactivate": func() { p.Deactivate(1) },
			"Emit": func() { p.Emit(to("x", pulltest.Private, 1)) }, "ReplaceChannel": func() { p.ReplaceChannel(pulltest.Colleague) },
		} {
			func() {
				defer func() {
					if said, _ := recover().(string); !strings.Contains(said, "there is no user") {
						t.Errorf("%s: %q", name, said)
					}
				}()
				f()
			}()
		}
	}, staff())
}

// TestWithUsers_Versions: a jwt is of the user, and so is a call of JSON-RPC.
func TestWithUsers_Versions(t *testing.T) {
	for version := 1; version <= 5; version++ {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			c := toldTo(t, p, guest)
			if c.Channels["private"].ID == "" || (version == 5) != (c.JWT != "") {
				t.Errorf("version %d: %d channels", version, len(c.Channels))
			}
			time.Sleep(time.Hour)
			if all := toldTo(t, p, chief).Channels; all["private"].Start != all["shared"].Start {
				t.Errorf("version %d: a user's channel begins when it is asked for", version)
			}
			if version == 5 {
				target := p.PushURL() + "/sub/?jsonRpc=true&token=" + c.JWT
				ws, _, err := dialURL(p, target)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				p.Emit(to("by token", pulltest.Private, guest))
				if _, frame, err := ws.ReadMessage(); err != nil || !strings.Contains(string(frame), "by token") {
					t.Errorf("by token: %v", err)
				}
			}
		}, staff(), pulltest.WithVersion(version))
	}
}

func TestWithUsers_Refuses(t *testing.T) {
	for name, users := range map[string][]pulltest.User{
		"nobody": {}, "no ID": {{Name: "x"}}, "below zero": {{ID: -1}}, "twice": {{ID: 3}, {ID: 3}}, "too many": make([]pulltest.User, 10_001),
	} {
		p, err := pulltest.Start(pulltest.WithUsers(users...))
		if err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), "WithUsers") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWithUsers_Clients: any user's client can publish; unless it is said whose,
// it is the second user's.
func TestWithUsers_Clients(t *testing.T) {
	observed(t, func(w watched) {
		for from, want := range map[int]int{0: chief, clerk: clerk, chief: chief, guest: guest} {
			m := to("x", pulltest.Private, clerk)
			m.From = from
			w.EmitAsClient(m)
			synctest.Wait()
			if events := w.take(false); len(events) != 1 || !events[0].Client || events[0].User != want {
				w.Errorf("from %d: %+v", from, events)
			}
		}
		defer func() {
			if said, _ := recover().(string); !strings.Contains(said, "there is no user 1;") {
				w.Errorf("from nobody: %q", said)
			}
		}()
		w.EmitAsClient(pulltest.Message{Command: "x", From: 1})
	}, staff())
}
