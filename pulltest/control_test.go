package pulltest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

type event struct {
	Module  string `json:"module_id"`
	Command string
	Params  json.RawMessage
	Extra   json.RawMessage
}

func (r received) event(t *testing.T) event {
	t.Helper()
	var e event
	if err := json.Unmarshal([]byte(r.Body), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// dialOld connects to the channels as they are now; a test then replaces them.
func dialOld(t *testing.T, p *pulltest.Portal) (ws *websocket.Conn, address string) {
	t.Helper()
	address = subURL(t, p, "")
	ws, _, err := dialURL(p, address)
	if err != nil {
		t.Fatal(err)
	}
	return ws, address
}

func TestControl_ReplaceChannel(t *testing.T) {
	for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			onBoth(t, func(t *testing.T, p *pulltest.Portal) {
				emit := func(publish func(pulltest.Message) string, s string) {
					m := text(s)
					m.To = to
					publish(m)
				}
				old, address := dialOld(t, p)
				defer old.Close()
				emit(p.Emit, "before")
				p.ReplaceChannel(to)
				if subURL(t, p, "") == address {
					t.Fatal("the config names the old channel")
				}
				fresh := dial(t, p, "")
				defer fresh.Close()
				emit(p.Emit, "new")
				emit(p.EmitOld, "old")
				expect(t, "the old channel brings", append(texts(t, next(t, old)), texts(t, next(t, old))...), "before", "old")
				expect(t, "the new channel brings", texts(t, next(t, fresh)), "new")
				again, _, err := dialURL(p, address)
				if err != nil {
					t.Fatalf("the old channel is refused: %v", err)
				}
				defer again.Close()
				r := get(t, p, address+"&mid="+zeros)
				expect(t, "the old channel keeps", texts(t, decode(t, r.body)), "before", "old")
				expect(t, "the new channel keeps", kept(t, p, zeros), "new")
			}, pulltest.WithGather(0))
		})
	}
}

// A portal's own channels are replaced apart from the application's, and the
// one replaced last is the old one.
func TestControl_ReplaceUserChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		read := func() configChannels {
			_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
			var c configChannels
			if err := json.Unmarshal(a.Result, &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
		application, first := channels(t, p), read()
		p.ReplaceChannel(pulltest.UserPrivate)
		second := read()
		p.ReplaceChannel(pulltest.UserPrivate)
		third := read()
		if a, b, c := first.Channels["private"].ID, second.Channels["private"].ID, third.Channels["private"].ID; a == b || b == c || a == c {
			t.Error("a replaced channel has its old id")
		}
		if first.Channels["shared"] != third.Channels["shared"] {
			t.Error("the shared channel was replaced")
		}
		if diff := cmp.Diff(application, channels(t, p)); diff != "" {
			t.Errorf("the application's channels were replaced:\n%s", diff)
		}
		m := text("old")
		m.To = pulltest.UserPrivate
		p.EmitOld(m)
		for i, c := range []configChannels{first, second, third} {
			r := get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&CHANNEL_ID="+c.Channels["private"].ID)
			if (r.status == 200) != (i == 1) {
				t.Errorf("channel %d: %d", i, r.status)
			}
		}
	})
}

func TestControl_EmitOldNeedsAReplacedChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		defer func() {
			if recover() == nil {
				t.Error("published to no channel")
			}
		}()
		p.EmitOld(text("x"))
	})
}

func TestControl_ExpireChannel(t *testing.T) {
	tests := []struct {
		name, action, kind, typ string
		to                      pulltest.Target
	}{
		{"private", "reconnect", "private", "private", pulltest.Private},
		{"private", "get_config", "private", "local.5f3c0d1b2a4e60.71829304", pulltest.Private},
		{"shared", "reconnect", "shared", "local.5f3c0d1b2a4e60.71829304", pulltest.Shared},
		{"shared", "get_config", "shared", "local.5f3c0d1b2a4e60.71829304", pulltest.Shared},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.action, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				ws, _ := dialOld(t, p)
				defer ws.Close()
				old := channels(t, p).Channels[tt.kind]
				time.Sleep(time.Hour)
				mid := p.ExpireChannel(tt.to, tt.action)
				got := next(t, ws)
				e := got[0].event(t)
				if len(got) != 1 || got[0].Mid != mid || got[0].Sender != 2 || e.Module != "pull" || e.Command != "channel_expire" {
					t.Fatalf("%+v", got)
				}
				private, _, _ := strings.Cut(strings.ReplaceAll(old.ID, ":", "."), ".")
				fresh := channels(t, p).Channels[tt.kind]
				if fresh.ID == old.ID {
					t.Error("the channel was not replaced")
				}
				want := map[string]any{
					"action":  tt.action,
					"channel": map[string]any{"id": private, "type": tt.typ},
				}
				if tt.action == "reconnect" || tt.kind == "shared" {
					c := map[string]any{"id": fresh.ID, "start": fresh.Start, "end": fresh.End, "type": tt.kind}
					if tt.kind == "private" {
						c["public_id"] = fresh.PublicID
					} else {
						c["start"] = float64(time.Now().Unix())
					}
					want["new_channel"] = c
				}
				var params map[string]any
				if err := json.Unmarshal(e.Params, &params); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, params); diff != "" {
					t.Error(diff)
				}
			}, pulltest.WithPingInterval(0))
		})
	}
}

func TestControl_Commands(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		mid := p.ExpireConfig()
		for range 2 { // over the private and over the shared channel
			got := next(t, ws)
			if e := got[0].event(t); len(got) != 1 || got[0].Mid != mid || got[0].Sender != 2 || e.Module != "pull" || e.Command != "config_expire" || string(e.Params) != "[]" {
				t.Errorf("%+v", got)
			}
		}
		mid = p.Control("open_exists", map[string]int{"n": 1}, pulltest.Shared)
		got := next(t, ws)
		if e := got[0].event(t); got[0].Mid != mid || got[0].Sender != 2 || e.Module != "pull" || e.Command != "open_exists" || string(e.Params) != `{"n":1}` {
			t.Errorf("%+v", got)
		}
	}, pulltest.WithGather(0))
}

func TestControl_EmitAsClient(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		mid := p.EmitAsClient(pulltest.Message{Module: "pull", Command: "config_expire"})
		got := next(t, ws)
		want := received{Mid: mid, Body: `{"command":"config_expire","module_id":"pull","params":[]}`, Expiry: 86400, Sender: 1, From: publicID(t, p, 2)}
		if diff := cmp.Diff([]received{want}, got); diff != "" {
			t.Error(diff)
		}
		if got := decode(t, pollMid(t, p, zeros).body); len(got) != 1 || got[0].Mid != mid {
			t.Errorf("kept %+v", got)
		}
		defer func() {
			if recover() == nil {
				t.Error("a client published to a shared channel")
			}
		}()
		p.EmitAsClient(pulltest.Message{Command: "x", To: pulltest.Shared})
	})
}

func TestControl_RestartServer(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		before := p.Emit(text("before"))
		ws := dial(t, p, "")
		defer ws.Close()
		hanging := pollLater(t, p, before)
		time.Sleep(time.Second)
		p.RestartServer(10 * time.Second)
		if e := next(t, ws)[0].event(t); e.Module != "pull" || e.Command != "server_restart" {
			t.Errorf("%+v", e)
		}
		<-hanging // answered by the command
		start := time.Now()
		hanging = pollLater(t, p, "")
		next(t, ws) // the same over the shared channel
		_, _, err := ws.ReadMessage()
		if closed := (*websocket.CloseError)(nil); err == nil || errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
			t.Errorf("the websocket ends with %v", err)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("it was cut after %v", took)
		}
		if r, ok := <-hanging; ok {
			t.Errorf("a cut poll answered %d", r.status)
		}
		refused := func() (refused int) {
			if ws, resp, err := dialURL(p, subURL(t, p, "")); err == nil {
				ws.Close()
			} else if resp == nil {
				refused++
			}
			for _, path := range []string{"/sub/?mid=" + zeros, "/server-stat"} {
				if resp, err := p.HTTPClient().Get(p.PushURL() + path); err == nil {
					resp.Body.Close()
				} else {
					refused++
				}
			}
			return refused
		}
		time.Sleep(9 * time.Second)
		if n := refused(); n != 3 {
			t.Errorf("%d of 3 requests were refused", n)
		}
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("REST is down too: %d", status)
		}
		after := p.Emit(text("meanwhile"))
		time.Sleep(1001 * time.Millisecond)
		if n := refused(); n != 0 {
			t.Errorf("%d of 3 requests are still refused", n)
		}
		if after[:10] != before[:10] || after <= before {
			t.Errorf("mid %s after %s", after, before)
		}
		got := decode(t, pollMid(t, p, before).body)
		if last := got[len(got)-1]; last.Mid != after {
			t.Errorf("the history ends with %+v", last)
		}
	}, pulltest.WithGather(0), pulltest.WithHandover(0))
}

// Every code that a push server is known to close with can be sent.
func TestControl_CloseCodes(t *testing.T) {
	codes := []int{1000, 1001, 1008, 1009, 4010, 4011, 4012, 4013, 4014, 4016, 4017, 4018, 4019, 4020, 4021, 4029, 4030, 4031, 4035, 4036}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, code := range codes {
			ws := dial(t, p, "")
			reason := fmt.Sprintf("%d: reason", code)
			p.CloseWebSockets(code, reason)
			ws.SetReadDeadline(time.Now().Add(time.Minute))
			_, _, err := ws.ReadMessage()
			if closed := (*websocket.CloseError)(nil); !errors.As(err, &closed) || closed.Code != code || closed.Text != reason {
				t.Errorf("%d: %v", code, err)
			}
			ws.Close()
		}
	})
}
