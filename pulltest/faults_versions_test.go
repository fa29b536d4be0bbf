package pulltest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// pieces cuts a frame of text or JSON-RPC into its messages without parsing
// them.
func pieces(frame []byte) (list []string) {
	text := string(frame)
	if strings.HasPrefix(text, "#!") {
		for _, piece := range strings.Split(text, "#!NGINXNMS!#")[1:] {
			list = append(list, strings.TrimSuffix(piece, "#!NGINXNME!#"))
		}
		return list
	}
	const start = `{"jsonrpc"`
	for _, piece := range strings.Split(text, start)[1:] {
		list = append(list, start+strings.TrimRight(piece, ",]"))
	}
	return list
}

// One message of each frame or answer is broken, the others are as they were.
func TestFaultsVersions_GarbleOfEachFraming(t *testing.T) {
	ofVersion(t, []int{1, 2, 3, 5}, func(t *testing.T, p *pulltest.Portal) {
		check := func(what string, frame []byte, first, n int) {
			t.Helper()
			list := pieces(frame)
			if len(list) != n {
				t.Fatalf("%s has %d messages: %s", what, len(list), frame)
			}
			for i, piece := range list {
				whole := json.Valid([]byte(piece)) && strings.Contains(piece, fmt.Sprintf(`"params":{"text":"%d"}`, first+i))
				if whole != (i != n/2) {
					t.Errorf("%s: message %d of %d is %s", what, i, n, piece)
				}
			}
		}
		ws := connectAs(t, p)
		const both = pulltest.WebSockets | pulltest.Polls
		p.Misbehave(both, pulltest.Garble)
		for i := range 4 {
			p.Emit(text(fmt.Sprint(i)))
		}
		single := readConfig(t, p).Server.Version <= 2
		check("the first frame", nextFrame(t, ws), 0, 1)
		if single {
			for i := range 3 {
				check("a frame", nextFrame(t, ws), 1+i, 1)
			}
		} else {
			check("the second frame", nextFrame(t, ws), 1, 3)
		}
		check("a poll", pollAs(t, p, fromTheStart...).body, 0, 4)
		history := connectAs(t, p, fromTheStart...)
		if single {
			check("the history", nextFrame(t, history), 0, 1)
		} else {
			check("the history", nextFrame(t, history), 0, 4)
		}
		p.Behave(both)
		time.Sleep(time.Second)
		p.Emit(text("4"))
		expect(t, "behaving", nextTexts(t, ws), "4")
		expect(t, "behaving", frameTexts(t, pollAs(t, p, fromTheStart...).body), "0", "1", "2", "3", "4")
	})
}

func TestFaultsVersions_GarbleFrameOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		p.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.GarbleFrame)
		p.Emit(text("x"))
		poll := pollAs(t, p, fromTheStart...)
		for what, b := range map[string][]byte{"frame": nextFrame(t, ws), "poll": poll.body} {
			if _, _, n := protowire.ConsumeField(b); n >= 0 || bytes.Contains(b, []byte("NGINX")) || json.Valid(b) || len(b) == 0 {
				t.Errorf("%s: %q", what, b)
			}
		}
		if poll.status != http.StatusOK {
			t.Errorf("status %d", poll.status)
		}
		p.Behave(pulltest.WebSockets)
		time.Sleep(time.Second)
		p.Emit(text("y"))
		expect(t, "behaving", nextTexts(t, ws), "y")
	})
}

// A stalled websocket owes no text pongs either.
func TestFaultsVersions_StallOfEachVersion(t *testing.T) {
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		p.Misbehave(pulltest.WebSockets, pulltest.Stall)
		p.Emit(text("a"))
		time.Sleep(10 * time.Minute)
		if s := p.Stats(); s.Connections != 1 || s.Pings+s.TextPings != 0 {
			t.Errorf("stats %+v", s)
		}
		p.Behave(pulltest.WebSockets)
		expect(t, "then comes", nextTexts(t, ws), "a")
	})
}

var clockShifts = []time.Duration{3*time.Hour + 5*time.Second, -90 * time.Minute}

// shifted runs f with portals whose clocks are wrong.
func shifted(t *testing.T, versions []int, f func(t *testing.T, p *pulltest.Portal, shift time.Duration)) {
	for _, shift := range clockShifts {
		t.Run(shift.String(), func(t *testing.T) {
			ofVersion(t, versions, func(t *testing.T, p *pulltest.Portal) { f(t, p, shift) },
				pulltest.WithClockShift(shift), pulltest.WithPingInterval(0), pulltest.WithTextPing(0), pulltest.WithTokenLife(time.Minute))
		})
	}
}

func httpDate(at time.Time) string { return at.UTC().Format(http.TimeFormat) }

func TestFaultsVersions_ClockShiftByTimeAndTag(t *testing.T) {
	shifted(t, nginxVersions, func(t *testing.T, p *pulltest.Portal, shift time.Duration) {
		told := time.Now().Add(shift)
		m := text("a minute")
		m.Expiry = time.Minute
		p.Emit(m)
		r := pollAs(t, p, "time", httpDate(told), "tag", "0")
		if got := decodeText(t, string(r.body)); len(got) != 1 || got[0].Time != httpDate(told) || got[0].Tag != "1" || r.header.Get("Last-Modified") != httpDate(told) {
			t.Errorf("%v %s", r.header, r.body)
		}
		r = pollAs(t, p, "time", httpDate(told), "tag", "1")
		if r.status != http.StatusNotModified || r.header.Get("Last-Modified") != httpDate(told.Add(40*time.Second)) {
			t.Errorf("%d %v", r.status, r.header)
		}
		time.Sleep(19 * time.Second)
		expect(t, "a second before its end", frameTexts(t, pollAs(t, p, fromTheStart...).body), "a minute")
		time.Sleep(time.Second)
		expect(t, "at its end", frameTexts(t, pollAs(t, p, fromTheStart...).body))
	})
}

func TestFaultsVersions_ClockShiftOfVersions3And5(t *testing.T) {
	shifted(t, []int{3, 5}, func(t *testing.T, p *pulltest.Portal, shift time.Duration) {
		c := readConfig(t, p)
		life := 24 * time.Hour
		if c.Server.Version == 5 {
			life = time.Minute
		}
		if want := time.Now().Add(shift + life).Unix(); c.Exp != want {
			t.Errorf("exp %d, want %d", c.Exp, want)
		}
		time.Sleep(1234 * time.Millisecond)
		told := time.Now().Add(shift)
		p.Emit(text("x"))
		time.Sleep(58 * time.Second)
		r := get(t, p, p.PushURL()+"/sub/"+c.query("mid", zeros))
		if r.status != http.StatusOK {
			t.Fatalf("a second before the token's end: %d", r.status)
		}
		if c.Server.Version == 3 {
			if m := decodeText(t, string(r.body))[0]; m.Time != httpDate(told) || m.Tag != "234" {
				t.Errorf("message %+v", m)
			}
		}
		var extra struct {
			Unix float64 `json:"server_time_unix"`
		}
		m := frameMessages(t, r.body)[0]
		if err := json.Unmarshal(m.event(t).Extra, &extra); err != nil || extra.Unix != float64(told.UnixMilli())/1e3 || m.Mid[:10] != fmt.Sprintf("%010d", told.Unix()) {
			t.Errorf("mid %s, extra %+v", m.Mid, extra)
		}
		time.Sleep(time.Second)
		if r = get(t, p, p.PushURL()+"/sub/"+c.query("mid", zeros)); (r.status == http.StatusOK) != (c.Server.Version == 3) {
			t.Errorf("at the token's end: %d", r.status)
		}
	})
}

// In versions 1 and 2 there is no disorder to switch on.
func TestFaultsVersions_DisorderOfEachVersion(t *testing.T) {
	const n = 60
	ofVersion(t, allVersions, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p)
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
			p.Emit(text(want[i]))
			time.Sleep(5 * time.Millisecond)
		}
		got := texts(t, hear(t, ws, n))
		var came []int
		for _, s := range got {
			i, _ := strconv.Atoi(s)
			came = append(came, i)
		}
		if ordered := readConfig(t, p).Server.Version <= 2; (inversions(came) == 0) != ordered {
			t.Errorf("came %v", came)
		}
		if slices.Sort(came); len(slices.Compact(came)) != n {
			t.Errorf("%d messages came", len(came))
		}
		expect(t, "the history", frameTexts(t, pollAs(t, p, fromTheStart...).body), want...)
	}, pulltest.WithGather(0), pulltest.WithProcesses(1, 2), pulltest.WithDisorder(100*time.Millisecond))
}

// A message that is kept later still has the first channel that it is for, and
// the history has it once.
func TestFaultsVersions_DisorderedMessageToTwoChannels(t *testing.T) {
	ofVersion(t, []int{3}, func(t *testing.T, p *pulltest.Portal) {
		ws, c := connectAs(t, p), readConfig(t, p)
		p.ExpireConfig()
		synctest.Wait()
		if s := p.Stats(); s.Stored != 0 {
			t.Errorf("stats %+v", s)
		}
		got := append(decodeText(t, string(nextFrame(t, ws))), decodeText(t, string(nextFrame(t, ws)))...)
		got = append(got, decodeText(t, string(pollAs(t, p, fromTheStart...).body))...)
		for i, kind := range []string{"private", "private", "private"} {
			if len(got) != 3 || got[i].Channel != c.Channels[kind].ID[:32] {
				t.Fatalf("%d messages: %+v", len(got), got)
			}
		}
	}, pulltest.WithGather(0), pulltest.WithDisorder(time.Second))
}

// Processes share what counts ids and tags; who lost its data counts ids anew.
func TestFaultsVersions_NginxProcesses(t *testing.T) {
	ofVersion(t, nginxVersions, func(t *testing.T, p *pulltest.Portal) {
		first, second := connectAs(t, p), connectAs(t, p)
		p.Emit(text("a"))
		p.Silence(1, time.Second)
		p.Emit(text("b"))
		p.Forget()
		p.Emit(text("c"))
		for i, want := range []textMessage{{ID: 1, Tag: "1"}, {ID: 2, Tag: "2"}, {ID: 1, Tag: "3"}} {
			m := decodeText(t, string(nextFrame(t, first)))[0]
			if m.ID != want.ID || m.Tag != want.Tag {
				t.Errorf("message %d is %+v", i, m)
			}
		}
		time.Sleep(time.Second)
		p.Emit(text("d"))
		expect(t, "the silenced process sent", texts(t, hear(t, second, 2)), "a", "d")
		expect(t, "the history holds", frameTexts(t, pollAs(t, p, fromTheStart...).body), "c", "d")
	}, pulltest.WithProcesses(2, 2))
}
