package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// subject is a portal to be reset, with its first token and channel.
type subject struct {
	*testing.T
	*pulltest.Portal
	token, channel string
}

func (s subject) get(target string) pollResult {
	s.Helper()
	return get(s.T, s.Portal, target)
}

// signedIn is whose code the page of the authorization server gives out.
func signedIn(s subject) any {
	return exchange(s.T, s.Portal, authorize(s.T, s.Portal).Get("code")).raw["user_id"]
}

// lastSeen is what REST tells user 2 of when user 1 was seen.
func lastSeen(s subject) any {
	r := s.get(s.URL() + "/rest/pull.api.user.getLastSeen?userIds[]=1&auth=" + s.Token(2).AccessToken)
	return strings.Split(string(r.body), `,"time"`)[0]
}

// TestReset: what a test can do to a portal is undone. Each part is looked at in
// a new portal, then disturbed, then looked at to see that it is, and then the
// portal is to be as the new one was.
func TestReset(t *testing.T) {
	// what is told of a webhook's call
	call := func(p *pulltest.Portal, method string) string {
		resp, err := p.HTTPClient().Get(p.Webhook() + method)
		if err != nil {
			return err.Error()[max(0, len(err.Error())-20):]
		}
		defer resp.Body.Close()
		var answer struct{ Error string }
		json.NewDecoder(resp.Body).Decode(&answer)
		return fmt.Sprint(resp.StatusCode, " ", answer.Error)
	}
	kept := func(s subject) any {
		r := s.get(subURL(s.T, s.Portal, zeros))
		if r.status != http.StatusOK {
			return 0
		}
		return len(decode(s.T, r.body))
	}
	parts := []struct {
		name    string
		opts    []pulltest.Option
		disturb func(s subject)
		look    func(s subject) any
	}{
		{"history", []pulltest.Option{pulltest.WithChannels("seed")}, func(s subject) { s.Emit(text("x")) }, kept},
		{"late messages", []pulltest.Option{pulltest.WithDisorder(time.Hour), pulltest.WithChannels("seed")},
			func(s subject) {
				for range 20 {
					s.Emit(text("x"))
				}
				time.Sleep(30 * time.Minute)
			},
			func(s subject) any { time.Sleep(2 * time.Hour); return kept(s) }},
		{"message ids", nil, func(s subject) { s.Emit(text("x")) },
			func(s subject) any { return s.Emit(text("x"))[10:] }},
		{"statistics", nil, func(s subject) { s.Emit(text("x")); s.get(subURL(s.T, s.Portal, "")) },
			func(s subject) any { return s.Stats() }},
		{"statistics of the server", nil,
			func(s subject) {
				post(s.T, s.Portal, s.PushURL()+"/pub/?binaryMode=true", batchOf(statsRequest(privateReceiver(make([]byte, 16)))))
			},
			func(s subject) any {
				var list []struct{ Daily any }
				json.Unmarshal(s.get(s.PushURL()+"/server-stat/").body, &list)
				return fmt.Sprint(list)
			}},
		{"faults", nil, func(s subject) { s.Misbehave(pulltest.REST, pulltest.BadGateway) },
			func(s subject) any { return call(s.Portal, "pull.config.get") }},
		{"restart", nil,
			func(s subject) { s.RestartServer(time.Hour); time.Sleep(time.Second) },
			func(s subject) any {
				resp, err := s.HTTPClient().Get(s.PushURL() + "/server-stat/")
				if err == nil {
					resp.Body.Close()
				}
				return err == nil
			}},
		{"silence", nil,
			func(s subject) { s.Silence(0, time.Hour) },
			func(s subject) any {
				r := pollLater(s.T, s.Portal, "")
				synctest.Wait()
				s.Emit(pulltest.Message{Command: "x", Expiry: -1})
				return (<-r).status
			}},
		{"clock", []pulltest.Option{pulltest.WithClockShift(time.Hour)},
			func(s subject) { s.SetClock(-time.Hour) },
			func(s subject) any { return time.Until(s.Token(1).Expires).Round(time.Minute) }},
		{"channels", nil,
			func(s subject) { s.ReplaceChannel(pulltest.Private) },
			func(s subject) any { return channels(s.T, s.Portal).Channels["private"].ID == s.channel }},
		{"channels left out", nil, func(s subject) { s.OmitChannel(pulltest.Shared, -1) },
			func(s subject) any { return len(channels(s.T, s.Portal).Channels) }},
		{"tokens", nil, func(s subject) { s.ExpireToken() },
			func(s subject) any { return restStatus(s.T, s.Portal, s.token) }},
		{"installation", nil,
			func(s subject) { s.Uninstall(s.Context(), "http://nowhere.example/") },
			func(s subject) any { return restStatus(s.T, s.Portal, s.token) }},
		{"application token", []pulltest.Option{pulltest.WithApplication(pulltest.Application{ApplicationToken: "first"})},
			func(s subject) {
				s.Uninstall(s.Context(), "http://nowhere.example/")
				s.Install(s.Context(), "http://nowhere.example/")
			},
			func(s subject) any { return s.Application().ApplicationToken == "first" }},
		{"who is signed in", nil, func(s subject) { s.SignIn(2) }, signedIn},
		{"who is active", nil, func(s subject) { s.Deactivate(1) },
			func(s subject) any { return len(channels(s.T, s.Portal).Channels) }},
		{"who was seen", nil,
			func(s subject) { restStatus(s.T, s.Portal, s.Token(1).AccessToken) },
			func(s subject) any { return lastSeen(s) }},
		{"who was online", nil,
			func(s subject) { dial(s.T, s.Portal, "").Close() },
			func(s subject) any { synctest.Wait(); return lastSeen(s) }},
		{"watches", nil, func(s subject) { s.Watch(1, "tag") },
			func(s subject) any { return s.Watched(1) }},
		{"push notifications", nil,
			func(s subject) {
				s.get(s.URL() + "/rest/pull.application.push.add?USER_ID=1&TEXT=x&auth=" + s.AccessToken())
			},
			func(s subject) any { return len(s.PushNotifications()) }},
		{"query limit", []pulltest.Option{pulltest.WithQueryLimit(2, 0.0001)},
			func(s subject) { call(s.Portal, "pull.config.get") },
			func(s subject) any { return call(s.Portal, "pull.config.get") + call(s.Portal, "pull.config.get") }},
		{"operating limit", []pulltest.Option{pulltest.WithOperatingLimit(2*time.Second, time.Second)},
			func(s subject) { call(s.Portal, "pull.config.get") },
			func(s subject) any { return call(s.Portal, "pull.config.get") + call(s.Portal, "pull.config.get") }},
		{"canned answers", nil, func(s subject) { s.Answer("crm.deal.list", []int{1}) },
			func(s subject) any { return call(s.Portal, "crm.deal.list") }},
		{"bound events", nil,
			func(s subject) {
				s.get(s.URL() + "/rest/event.bind?event=OnAppUpdate&handler=https://app.example/&auth=" + s.AccessToken())
			},
			func(s subject) any {
				r := s.get(s.URL() + "/rest/event.get?auth=" + s.AccessToken())
				return strings.Split(string(r.body), `"time"`)[0]
			}},
		{"revoked tokens", nil, func(s subject) { s.RevokeTokens() },
			func(s subject) any { return restStatus(s.T, s.Portal, s.token) }},
		{"address", nil, func(s subject) { s.Move("new.example") },
			func(s subject) any { return s.URL() + call(s.Portal, "pull.config.get") }},
		{"numbers", nil, func(s subject) { dial(s.T, s.Portal, "").Close() },
			func(s subject) any {
				ws := dial(s.T, s.Portal, "")
				defer ws.Close()
				list := s.Subscribers()
				return list[len(list)-1].Number
			}},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			run := func(disturbed, reset bool) (seen any) {
				inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
					s := subject{t, p, p.AccessToken(), channels(t, p).Channels["private"].ID}
					if disturbed {
						part.disturb(s)
					}
					if reset {
						if err := p.Reset(); err != nil {
							t.Error(err)
						}
					}
					seen = part.look(s)
				}, append([]pulltest.Option{pulltest.WithPingInterval(0), pulltest.WithHandover(0)}, part.opts...)...)
				return seen
			}
			first, disturbed, reset := fmt.Sprint(run(false, false)), fmt.Sprint(run(true, false)), fmt.Sprint(run(true, true))
			if first == disturbed {
				t.Errorf("%s shows nothing of it", first)
			}
			if reset != first {
				t.Errorf("after a reset %s, of a new portal %s", reset, first)
			}
		})
	}
}

// TestReset_Connections: they are cut, their ends change nothing of the new
// portal, and what was to be done later is not.
func TestReset_Connections(t *testing.T) {
	for _, version := range []int{2, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			observed(t, func(w watched) {
				socketPath := "/sub/"
				if version < 3 {
					socketPath = "/subws/"
				}
				ws, _, err := dialURL(w.Portal, framedURL(w, socketPath))
				if err != nil {
					w.Fatal(err)
				}
				defer ws.Close()
				w.RestartServer(time.Hour)
				old := pollAt(w.HTTPClient(), framedURL(w, "/sub/"))
				synctest.Wait()
				w.take(false)
				if err := w.Reset(); err != nil {
					w.Error(err)
				}
				synctest.Wait()
				if len(w.Subscribers()) != 0 || w.Stats() != (pulltest.Stats{}) {
					w.Errorf("%+v, %+v", w.Subscribers(), w.Stats())
				}
				cut := 0
				for _, e := range w.take(false) {
					if e.Kind == pulltest.Unsubscribed && e.Reason == "reset" {
						cut++
					}
				}
				if cut != 2 {
					w.Errorf("%d connections were cut, want 2", cut)
				}
				if ending(w.T, old) == nil {
					w.Error("a poll that was cut is answered")
				}
				_, _, err = ws.ReadMessage()
				for err == nil {
					_, _, err = ws.ReadMessage()
				}
				// neither the end of the old poll nor the restart is of the new portal
				time.Sleep(2 * time.Second)
				again := pollAt(w.HTTPClient(), framedURL(w, "/sub/"))
				time.Sleep(15 * time.Second)
				if list := w.Subscribers(); len(list) != 1 || list[0].Number != 1 {
					w.Errorf("after the reset: %+v", list)
				}
				w.Emit(pulltest.Message{Command: "x"})
				if err := ending(w.T, again); err != nil {
					w.Error(err)
				}
			}, pulltest.WithVersion(version))
		})
	}
}

// framedURL is where a subscriber of the present channel connects.
func framedURL(w watched, path string) string {
	w.Helper()
	return w.PushURL() + path + "?CHANNEL_ID=" + url.QueryEscape(channelParam(w.T, w.Portal))
}

// TestReset_Presence: the end of a connection of before is none of a user who
// has come after.
func TestReset_Presence(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		old := pollLater(t, p, "")
		synctest.Wait()
		if err := p.Reset(); err != nil {
			t.Error(err)
		}
		<-old
		ws := dial(t, p, "")
		defer ws.Close()
		time.Sleep(time.Minute)
		s := subject{T: t, Portal: p}
		if got := lastSeen(s); got != `{"result":{"1":0}` {
			t.Errorf("a user with an open connection: %s", got)
		}
	})
}

// TestReset_Stays: what a reset does not change.
func TestReset_Stays(t *testing.T) {
	for _, seed := range []string{"", "seed"} {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			look := func() string {
				return fmt.Sprint(p.URL(), p.PushURL(), p.AuthServer(), p.Webhook(), p.APIWebhook(), p.AccessToken(), p.MemberID(),
					p.Application(), p.Certificate().SerialNumber, p.HTTPClient())
			}
			before, channel := look(), channels(t, p).Channels["private"].ID
			mid := p.Emit(text("x"))
			for range 2 {
				if err := p.Reset(); err != nil {
					t.Error(err)
				}
				if look() != before {
					t.Error("a reset changes what is to stay")
				}
				if channels(t, p).Channels["private"].ID != channel {
					t.Errorf("seed %q: the channel has another id", seed)
				}
				if next := p.Emit(text("x")); next <= mid {
					t.Errorf("mid %s comes after %s", next, mid)
				} else {
					mid = next
				}
			}
			token := p.Token(1)
			p.Reset()
			if got := restStatus(t, p, token.AccessToken); got != "401 NO_AUTH_FOUND" {
				t.Errorf("a token of before: %s", got)
			}
		}, func() []pulltest.Option {
			if seed == "" {
				return nil
			}
			return []pulltest.Option{pulltest.WithChannels(seed)}
		}()...)
	}
}

// TestReset_Knows: whoever adds a field to a portal says what becomes of it.
func TestReset_Knows(t *testing.T) {
	stays := strings.Fields("opts pushURL authServer authAlone push methods client cert authority trusted server conns open serving quit once")
	anew := strings.Fields("where config auth limiter watches pushes users answers handlers")
	for field := range reflect.TypeFor[pulltest.Portal]().Fields() {
		if !slices.Contains(append(stays, anew...), field.Name) {
			t.Errorf("what does Reset do with the field %s?", field.Name)
		}
	}
}

// TestReset_PollsThatCannotBeCut are told of, and do not keep Close waiting
// until they have hung for their whole time.
func TestReset_PollsThatCannotBeCut(t *testing.T) {
	hiding := doors[slices.IndexFunc(doors, func(d door) bool { return d.hidden })]
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		pollLater(t, p, "")
		synctest.Wait()
		if err := p.Reset(); err == nil || !strings.Contains(err.Error(), "1 long poll") {
			t.Errorf("Reset: %v", err)
		}
		if list := p.Subscribers(); len(list) != 0 {
			t.Errorf("after the reset: %+v", list)
		}
		start := time.Now()
		p.Close()
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	}, pulltest.WithHandler(hiding.make))
}
