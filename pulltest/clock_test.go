package pulltest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

func TestClock_Shift(t *testing.T) {
	for _, shift := range []time.Duration{0, 3*time.Hour + 5*time.Second, -90 * time.Minute} {
		t.Run(shift.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				told := time.Now().Add(shift)
				channel := subURL(t, p, "") // for good: the config soon names another
				framed := p.PushURL() + "/sub/?CHANNEL_ID=" + url.QueryEscape(channelParam(t, p))
				ws, _, err := dialURL(p, framed)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				mid := p.Emit(text("x"))
				if want := fmt.Sprintf("%010d", told.Unix()); mid[:10] != want {
					t.Errorf("mid %s, want the epoch %s", mid, want)
				}
				checkConfigTimes(t, p, told)
				r := pollMid(t, p, zeros)
				if date := r.header.Get("Date"); date != told.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") {
					t.Errorf("Date %s", date)
				}
				if got := created(t, r.body); got != told.Unix() {
					t.Errorf("created %d, want %d", got, told.Unix())
				}
				var event struct {
					Extra struct {
						Time string  `json:"server_time"`
						Unix float64 `json:"server_time_unix"`
					}
				}
				json.Unmarshal([]byte(decode(t, r.body)[0].Body), &event)
				if at, err := time.Parse(time.RFC3339, event.Extra.Time); err != nil || !at.Equal(told) || event.Extra.Unix != float64(told.Unix()) {
					t.Errorf("extra %+v", event.Extra)
				}
				_, frame, _ := ws.ReadMessage()
				for _, frame := range [][]byte{frame, get(t, p, framed+"&mid="+zeros).body} {
					if want := `"time":"` + told.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + `"`; !strings.Contains(string(frame), want) {
						t.Errorf("text frame %s, want %s", frame, want)
					}
				}
				time.Sleep(23 * time.Hour)
				status, newest := get(t, p, channel+"&mid="+zeros).status, get(t, p, channel).header.Get("Last-Message-Id")
				if status != 200 || newest != mid {
					t.Errorf("after 23 hours: %d, %q", status, newest)
				}
				time.Sleep(time.Hour)
				status, newest = get(t, p, channel+"&mid="+zeros).status, get(t, p, channel).header.Get("Last-Message-Id")
				if status != 304 || newest != "" {
					t.Errorf("after 24 hours: %d, %q", status, newest)
				}
			}, pulltest.WithClockShift(shift), pulltest.WithPingInterval(0))
		})
	}
}

func checkConfigTimes(t *testing.T, p *pulltest.Portal, told time.Time) {
	t.Helper()
	var config struct {
		Result struct {
			Exp    int64
			Server struct {
				Timestamp int64 `json:"config_timestamp"`
			}
			configChannels
		}
		Time struct {
			Start  float64
			Finish string `json:"date_finish"`
		}
	}
	r := get(t, p, p.URL()+"/rest/pull.application.config.get?auth="+p.AccessToken())
	if err := json.Unmarshal(r.body, &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Result.Exp; got != told.Add(24*time.Hour).Unix() {
		t.Errorf("exp %d", got)
	}
	if got := config.Result.Server.Timestamp; got != told.Unix() {
		t.Errorf("config_timestamp %d", got)
	}
	if at, err := time.Parse(time.RFC3339, config.Time.Finish); err != nil || !at.Equal(told) || config.Time.Start != float64(told.Unix()) {
		t.Errorf("time %+v", config.Time)
	}
	for kind, c := range config.Result.Channels {
		if start, err := time.Parse(time.RFC3339, c.Start); err != nil || !start.Equal(told) {
			t.Errorf("the %s channel starts at %s, want %s", kind, c.Start, told)
		}
	}
}

// created is the field of the first message of a frame.
func created(t *testing.T, frame []byte) (seconds int64) {
	t.Helper()
	inside := func(b []byte, want protowire.Number) (found []byte, number uint64) {
		fields(t, b, func(num protowire.Number, v []byte, u uint64) {
			if num == want {
				found, number = v, u
			}
		})
		return found, number
	}
	response, _ := inside(frame, 1)
	messages, _ := inside(response, 1)
	message, _ := inside(messages, 1)
	_, at := inside(message, 4)
	return int64(at)
}

func TestClock_ChannelAndConfigLife(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		told := time.Now().Add(2 * time.Hour)
		var config struct{ Exp int64 }
		json.Unmarshal(p.ConfigJSON(), &config)
		if config.Exp != told.Add(time.Hour).Unix() {
			t.Errorf("exp %d", config.Exp)
		}
		first := channels(t, p).Channels["private"]
		if end, err := time.Parse(time.RFC3339, first.End); err != nil || !end.Equal(told.Add(time.Minute)) {
			t.Errorf("the channel ends at %s", first.End)
		}
		time.Sleep(59 * time.Second)
		if got := channels(t, p).Channels["private"]; got != first {
			t.Error("a living channel was replaced")
		}
		time.Sleep(time.Second)
		before := p.ConfigJSON()
		if got := channels(t, p).Channels["private"]; got.ID == first.ID {
			t.Error("a channel outlives its end")
		}
		if !bytes.Equal(before, p.ConfigJSON()) {
			t.Error("a channel is made anew for each config")
		}
	}, pulltest.WithChannelLife(time.Minute), pulltest.WithConfigLife(time.Hour), pulltest.WithClockShift(2*time.Hour))
}
