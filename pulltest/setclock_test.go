package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

var shifts = []time.Duration{5 * time.Hour, -5 * time.Hour}

// onShift runs f for a clock that is set ahead, and behind, in all versions.
func onShift(t *testing.T, f func(t *testing.T, p *pulltest.Portal, version int, shift time.Duration), opts ...pulltest.Option) {
	for version := 1; version <= 5; version++ {
		for _, shift := range shifts {
			t.Run(fmt.Sprint("version ", version, " by ", shift), func(t *testing.T) {
				inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
					time.Sleep(time.Second)
					f(t, p, version, shift)
				}, append([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithPingInterval(0), pulltest.WithDisorder(0)}, opts...)...)
			})
		}
	}
}

// TestSetClock_Tells: every time that is told follows the clock.
func TestSetClock_Tells(t *testing.T) {
	onShift(t, func(t *testing.T, p *pulltest.Portal, version int, shift time.Duration) {
		framed := p.PushURL() + "/sub/?CHANNEL_ID=" + url.QueryEscape(channelParam(t, p)) // as long as clients can live with
		for _, shift := range []time.Duration{shift, 0, -shift} {
			p.SetClock(shift)
			polled := make(chan pollResult, 1)
			go func() { polled <- get(t, p, framed) }()
			until(t, func() bool { return p.Stats().Connections == 1 })
			told := time.Now().Add(shift)
			p.Emit(pulltest.Message{Command: "x"})
			r := <-polled
			body := string(r.body)
			if date := r.header.Get("Date"); date != told.UTC().Format(httpTime) {
				t.Errorf("Date %s, want %s", date, told.UTC())
			}
			for _, want := range []string{
				`"time":"` + told.UTC().Format(httpTime) + `"`,
				`"server_time":"` + told.In(time.FixedZone("", 2*60*60)).Format(time.RFC3339) + `"`,
			} {
				if !strings.Contains(body, want) {
					t.Errorf("version %d: the message lacks %s", version, want)
				}
			}
			checkToldByREST(t, p, told)
			if version < 3 {
				continue
			}
			var processes []struct{ Date int64 }
			json.Unmarshal(get(t, p, p.PushURL()+"/server-stat/").body, &processes)
			if len(processes) == 0 || processes[0].Date != told.UnixMilli() {
				t.Errorf("server-stat tells %+v, want %d", processes, told.UnixMilli())
			}
		}
	})
}

func checkToldByREST(t *testing.T, p *pulltest.Portal, told time.Time) {
	t.Helper()
	var answer struct {
		Result struct {
			Exp int64
			JWT string
		}
		Time struct {
			Start  float64
			Finish string `json:"date_finish"`
		}
	}
	r := get(t, p, p.URL()+"/rest/pull.application.config.get?auth="+p.AccessToken())
	if err := json.Unmarshal(r.body, &answer); err != nil {
		t.Fatal(err)
	}
	if got := answer.Result.Exp; got != told.Add(24*time.Hour).Unix() {
		t.Errorf("exp %d, want %d", got, told.Add(24*time.Hour).Unix())
	}
	if at, err := time.Parse(time.RFC3339, answer.Time.Finish); err != nil || !at.Equal(told.Truncate(time.Second)) || answer.Time.Start != float64(told.UnixMicro())/1e6 {
		t.Errorf("time %+v, want %s", answer.Time, told)
	}
	if at := p.Token(1).Expires; !at.Equal(told.Add(time.Hour)) {
		t.Errorf("a token expires at %s, want %s", at, told.Add(time.Hour))
	}
}

// restStatus is the status and the error code of a call.
func restStatus(t *testing.T, p *pulltest.Portal, token string) string {
	t.Helper()
	r := get(t, p, p.URL()+"/rest/pull.application.config.get?auth="+token)
	var answer struct{ Error string }
	json.Unmarshal(r.body, &answer)
	return strings.TrimSpace(fmt.Sprint(r.status, " ", answer.Error))
}

// TestSetClock_Ends: what lives until some time ends by the clock, and what the
// clock has not reached does not.
func TestSetClock_Ends(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		token := p.Token(1)
		channel := channels(t, p).Channels["private"]
		p.Watch(1, "tag")
		p.SetClock(30 * time.Minute)
		if got := restStatus(t, p, token.AccessToken); got != "200" || len(p.Watched(1)) != 1 {
			t.Errorf("after half an hour: %s, %v", got, p.Watched(1))
		}
		p.SetClock(time.Hour)
		if got := restStatus(t, p, token.AccessToken); got != "401 expired_token" || len(p.Watched(1)) != 0 {
			t.Errorf("after an hour: %s, %v", got, p.Watched(1))
		}
		p.SetClock(12 * time.Hour)
		if channels(t, p).Channels["private"] != channel {
			t.Error("a channel ends before its time")
		}
		p.SetClock(43205 * time.Second)
		next := channels(t, p).Channels["private"]
		if next.ID == channel.ID {
			t.Error("a channel outlives its time")
		}
		if at, err := time.Parse(time.RFC3339, next.Start); err != nil || !at.Equal(time.Now().Add(43205*time.Second)) {
			t.Errorf("the next channel starts at %s", next.Start)
		}
		p.SetClock(180 * 24 * time.Hour)
		if got := refreshed(t, p, token.RefreshToken); got != "400 invalid_grant" {
			t.Errorf("an old refresh token: %s", got)
		}
	}, pulltest.WithPingInterval(0))
}

func refreshed(t *testing.T, p *pulltest.Portal, token string) string {
	t.Helper()
	app := p.Application()
	r := get(t, p, p.AuthServer()+"/oauth/token/?"+url.Values{
		"grant_type": {"refresh_token"}, "client_id": {app.ClientID}, "client_secret": {app.ClientSecret}, "refresh_token": {token},
	}.Encode())
	var answer struct{ Error string }
	json.Unmarshal(r.body, &answer)
	return strings.TrimSpace(fmt.Sprint(r.status, " ", answer.Error))
}

func TestSetClock_Messages(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		target := subURL(t, p, zeros)
		p.Emit(pulltest.Message{Command: "x", Expiry: time.Hour})
		for _, c := range []struct {
			shift  time.Duration
			status int
		}{{-10 * time.Hour, 200}, {0, 200}, {time.Hour - time.Second, 200}, {time.Hour, 304}} {
			p.SetClock(c.shift)
			if r := get(t, p, target); r.status != c.status {
				t.Errorf("with the clock at %s: %d, want %d", c.shift, r.status, c.status)
			}
			p.SetClock(0)
		}
	}, pulltest.WithPingInterval(0), pulltest.WithLongPollHold(0))
}

// TestSetClock_ExpiredStays: a token that was made to expire does not live again
// when the clock is set back.
func TestSetClock_ExpiredStays(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		token := p.AccessToken()
		p.ExpireToken()
		p.SetClock(-10 * time.Hour)
		if got := restStatus(t, p, token); got != "401 expired_token" {
			t.Error(got)
		}
	})
}

// TestSetClock_Counts: a clock that is set back does not upset what is counted
// by the second.
func TestSetClock_Counts(t *testing.T) {
	for _, shift := range shifts {
		t.Run(shift.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				first := p.Emit(text("x"))
				restStatus(t, p, p.AccessToken())
				p.SetClock(shift)
				time.Sleep(time.Second)
				var before, after int
				fmt.Sscanf(first[10:], "%d", &before)
				fmt.Sscanf(p.Emit(text("x"))[10:], "%d", &after)
				if after-before != 11 {
					t.Errorf("%d ids are taken within a second, want 10 and one", after-before)
				}
				time.Sleep(time.Minute)
				if got := restStatus(t, p, p.AccessToken()); got != "200" {
					t.Errorf("a call a minute after the first: %s", got)
				}
			}, pulltest.WithTraffic(10), pulltest.WithQueryLimit(1, 1))
		})
	}
}

// TestSetClock_Uptime: nginx has been up as long as it has, whatever its clock
// says.
func TestSetClock_Uptime(t *testing.T) {
	for _, how := range []string{"from the beginning", "at run time"} {
		t.Run(how, func(t *testing.T) {
			shift := 3 * time.Hour
			opts := []pulltest.Option{pulltest.WithVersion(2)}
			if how == "from the beginning" {
				opts = append(opts, pulltest.WithClockShift(shift))
			}
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				p.SetClock(shift)
				p.Emit(pulltest.Message{Command: "x"})
				p.Emit(pulltest.Message{Command: "x", To: pulltest.Shared})
				time.Sleep(time.Minute)
				c := channels(t, p).Channels
				r := get(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+c["private"].ID+"/"+c["shared"].ID)
				if r.status != http.StatusOK || !strings.Contains(string(r.body), `"uptime": 60,`) {
					t.Errorf("%d, and not up for 60 s", r.status)
				}
				if want := time.Now().Add(shift).UTC().Format("2006-01-02T15:04:05"); !strings.Contains(string(r.body), want) {
					t.Errorf("the time is not %s", want)
				}
			}, opts...)
		})
	}
}
