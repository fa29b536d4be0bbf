package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// A middle box ends what the server sends nothing over; a pong counts, what the
// client sends does not.
func TestMiddlebox_IdleTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		began := time.Now()
		r := pollMid(t, p, "")
		if took := time.Since(began); r.status != http.StatusGatewayTimeout || took != 20*time.Second || !strings.Contains(string(r.body), "504") {
			t.Errorf("a poll is answered %d after %v", r.status, took)
		}
		ws := dial(t, p, "")
		defer ws.Close()
		ended := make(chan time.Time, 1)
		go func() {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					ended <- time.Now()
					return
				}
			}
		}()
		var last time.Time
		for range 5 {
			last = time.Now()
			if err := ws.WriteControl(websocket.PingMessage, nil, last.Add(time.Second)); err != nil {
				t.Fatal("the websocket has ended in spite of pings")
			}
			time.Sleep(15 * time.Second)
		}
		p.Emit(text("a message"))
		last = time.Now()
		time.Sleep(15 * time.Second)
		if err := ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second)); err != nil {
			t.Error("the websocket has ended in spite of a message")
		}
		if at := (<-ended).Sub(last); at != 20*time.Second {
			t.Errorf("ended %v after the last word of the server", at)
		}
		if s := p.Stats(); s.IdleCuts != 2 || s.ClientPings != 5 {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithIdleTimeout(20*time.Second))
}

// While somebody listens in text mode, live binary frames have milliseconds as
// created; the history does not.
func TestMiddlebox_TextModeSpoilsCreated(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		created := func() (spoiled, right bool) {
			at := time.Now()
			p.Emit(text("message"))
			defer time.Sleep(time.Second)
			_, frame, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			got := createdIn(t, frame)[0]
			return got == uint32(at.UnixMilli()), got == uint32(at.Unix())
		}
		if _, right := created(); !right {
			t.Error("created is wrong")
		}
		textMode, _, err := dialURL(p, strings.ReplaceAll(subURL(t, p, ""), "binaryMode=true", ""))
		if err != nil {
			t.Fatal("a text-mode subscriber is refused")
		}
		if spoiled, _ := created(); !spoiled {
			t.Error("beside a text-mode subscriber created is not in milliseconds")
		}
		for _, at := range createdIn(t, pollMid(t, p, strings.Repeat("0", 26)).body) {
			if now := uint32(time.Now().Unix()); at > now || at < now-5 {
				t.Errorf("in the history created is %d", at)
			}
		}
		textMode.Close()
		time.Sleep(time.Second)
		if _, right := created(); !right {
			t.Error("after it created is wrong")
		}
	})
}

// createdIn are the created fields of a ResponseBatch.
func createdIn(t *testing.T, frame []byte) (list []uint32) {
	fields(t, frame, func(_ protowire.Number, response []byte, _ uint64) {
		fields(t, response, func(_ protowire.Number, content []byte, _ uint64) {
			fields(t, content, func(_ protowire.Number, m []byte, _ uint64) {
				fields(t, m, func(num protowire.Number, _ []byte, value uint64) {
					if num == 4 {
						list = append(list, uint32(value))
					}
				})
			})
		})
	})
	return list
}

// Configs can lack channels for a while; a retired channel's successor is the
// portal's own.
func TestMiddlebox_OmitAndRetireChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		kinds := func() string {
			var config struct{ Channels json.RawMessage }
			if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(strings.Contains(string(config.Channels), `"private":`), strings.Contains(string(config.Channels), `"shared":`), string(config.Channels) == "[]")
		}
		p.OmitChannel(pulltest.Private, 2)
		p.OmitChannel(pulltest.Shared, 1)
		for _, want := range []string{"false false true", "false true false", "true true false"} {
			if got := kinds(); got != want {
				t.Errorf("private, shared, none: %s, want %s", got, want)
			}
		}
		p.OmitChannel(pulltest.Shared, -1)
		for range 3 {
			if got := kinds(); got != "true false false" {
				t.Errorf("private, shared, none: %s", got)
			}
		}
		p.OmitChannel(pulltest.Shared, 0)
		ws := dial(t, p, "")
		defer ws.Close()
		before := p.ConfigJSON()
		p.RetireChannel(pulltest.Private)
		var event struct {
			Params struct {
				Action  string
				Channel struct{ Type string }
				New     struct{ ID, Type string } `json:"new_channel"`
			}
		}
		if err := json.Unmarshal([]byte(next(t, ws)[0].Body), &event); err != nil {
			t.Fatal(err)
		}
		if e := event.Params; e.Action != "reconnect" || e.Channel.Type != "private" || e.New.Type != "shared" || e.New.ID == "" ||
			strings.Contains(string(before), e.New.ID) || strings.Contains(string(p.ConfigJSON()), e.New.ID) {
			t.Error("the successor is not the portal's own shared channel")
		}
	})
}

// Others take ids too, and a counter that is set back gives them again.
func TestMiddlebox_TrafficAndSetBack(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		counter := func() (n int) {
			fmt.Sscanf(p.Emit(text("message"))[10:], "%d", &n)
			return n
		}
		first := counter()
		time.Sleep(10 * time.Second)
		second := counter()
		if second-first != 10_001 {
			t.Errorf("%d ids in ten seconds", second-first)
		}
		p.SetBack(5000)
		if n := counter(); n != second-5000+1 {
			t.Errorf("%d after %d was set back", n, second)
		}
		p.SetBack(1 << 60)
		if n := counter(); n != 1 {
			t.Errorf("%d after it was set back to the beginning", n)
		}
		if n := len(decode(t, pollMid(t, p, strings.Repeat("0", 26)).body)); n != 1 {
			t.Errorf("%d messages are kept", n)
		}
	}, pulltest.WithTraffic(1000))
}
