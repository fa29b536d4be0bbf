package pulltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// ask asks each service once; the answer of a websocket is that to its upgrade.
func ask(t *testing.T, p *pulltest.Portal) map[pulltest.Service]pollResult {
	t.Helper()
	answers := map[pulltest.Service]pollResult{
		pulltest.REST:  get(t, p, p.URL()+"/rest/pull.application.config.get?auth="+p.AccessToken()),
		pulltest.Polls: pollMid(t, p, zeros),
	}
	ws, resp, err := dialURL(p, subURL(t, p, ""))
	if err == nil {
		ws.Close()
	} else if resp == nil {
		t.Fatal(err)
	}
	answers[pulltest.WebSockets] = pollResult{status: resp.StatusCode, header: resp.Header}
	return answers
}

// Each service fails alone, and is well again when it behaves.
func TestFaults_MisbehaveByService(t *testing.T) {
	healthy := map[pulltest.Service]int{pulltest.REST: 200, pulltest.WebSockets: 101, pulltest.Polls: 200}
	faults := []struct {
		fault  pulltest.Fault
		status int
	}{
		{pulltest.BadGateway, 502},
		{pulltest.Refuse(503), 503},
		{pulltest.Refuse(429), 429},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		for _, tt := range faults {
			for broken := range healthy {
				p.Misbehave(broken, tt.fault)
				for s, r := range ask(t, p) {
					want := healthy[s]
					if s == broken {
						want = tt.status
					}
					if r.status != want {
						t.Errorf("service %d while %d answers %d: %d", s, broken, tt.status, r.status)
					}
				}
				p.Behave(broken)
			}
		}
		p.Misbehave(pulltest.REST|pulltest.Polls, pulltest.BadGateway)
		for s, r := range ask(t, p) {
			if (r.status == 502) != (s != pulltest.WebSockets) {
				t.Errorf("two of three broken: service %d answers %d", s, r.status)
			}
			if s == pulltest.REST && (!strings.HasPrefix(string(r.body), "<html>") || r.header.Get("Content-Type") != "text/html") {
				t.Errorf("%v %s", r.header, r.body)
			}
		}
		p.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
		for s, r := range ask(t, p) {
			if r.status != healthy[s] {
				t.Errorf("behaving: service %d answers %d", s, r.status)
			}
		}
	})
}

func TestFaults_RESTError(t *testing.T) {
	tests := []struct {
		status            int
		code, description string
	}{
		{503, "QUERY_LIMIT_EXCEEDED", "Too many requests"},
		{500, "SERVER_ERROR", "Push & Pull server is not configured"},
		{200, "SERVER_ERROR", "Push & Pull server is not configured"},
		{429, "OPERATION_TIME_LIMIT", "OPERATION_TIME_LIMIT"},
		{401, "expired_token", "The access token provided has expired."},
		{403, "WRONG_AUTH_TYPE", "Get access to application config available only for application authorization."},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		for _, tt := range tests {
			p.Misbehave(pulltest.REST, pulltest.RESTError(tt.status, tt.code))
			for _, target := range []string{p.Webhook() + "pull.config.get", p.URL() + "/rest/pull.application.config.get?auth=" + p.AccessToken()} {
				status, a := call(t, p, target, params{})
				if status != tt.status || a.Error != tt.code || a.Description != tt.description || a.Result != nil {
					t.Errorf("%s: %d %+v", tt.code, status, a)
				}
			}
		}
	})
}

func TestFaults_StalledRequests(t *testing.T) {
	var serving atomic.Int32
	count := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serving.Add(1)
			defer serving.Add(-1)
			next.ServeHTTP(w, r)
		})
	}
	const all = pulltest.REST | pulltest.Polls | pulltest.WebSockets
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Emit(text("kept"))
		p.Misbehave(all, pulltest.Stall)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		dialer := func() error {
			ws, _, err := dialURL(p, subURL(t, p, ""))
			if err == nil {
				ws.Close()
			}
			return err
		}
		do := func(method, target string) func() error {
			return func() error {
				req, _ := http.NewRequestWithContext(ctx, method, target, strings.NewReader("x=y"))
				resp, err := p.HTTPClient().Do(req)
				if err == nil {
					resp.Body.Close()
				}
				return err
			}
		}
		requests := []func() error{dialer, do("GET", subURL(t, p, zeros)), do("POST", p.Webhook()+"pull.config.get")}
		ended := make(chan error, len(requests))
		ask := func() {
			for _, r := range requests {
				go func() { ended <- r() }()
			}
		}
		ask()
		time.Sleep(59 * time.Minute)
		if len(ended) > 0 {
			t.Fatalf("answered: %v", <-ended)
		}
		time.Sleep(2 * time.Minute) // the two whose client has a limit give up
		if n := serving.Load(); len(ended) != 2 || n != 1 {
			t.Errorf("%d clients gave up, %d requests are open", len(ended), n)
		}
		p.Behave(pulltest.WebSockets)
		for range requests {
			if err := <-ended; err == nil {
				t.Error("a stalled request was answered")
			}
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p.Behave(pulltest.REST | pulltest.Polls)
		ask()
		for range requests {
			if err := <-ended; err != nil {
				t.Errorf("behaving: %v", err)
			}
		}
		ctx = context.Background()
		for _, end := range []func(){func() { p.Behave(all) }, p.Close} {
			p.Misbehave(all, pulltest.Stall)
			ask()
			synctest.Wait()
			end()
			for range requests {
				if err := <-ended; err == nil {
					t.Error("a stalled request was answered at the end")
				}
			}
		}
	}, pulltest.WithPingInterval(0), pulltest.WithHandler(count))
}

// Nothing is written to an open websocket while it stalls; then all comes.
func TestFaults_StalledWebSocket(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws, leaving := dial(t, p, ""), dial(t, p, "")
		defer ws.Close()
		pongs := 0
		ws.SetPongHandler(func(string) error { pongs++; return nil })
		l := listen(t, ws)
		p.Misbehave(pulltest.WebSockets, pulltest.Stall)
		p.Emit(text("a"))
		ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute))
		time.Sleep(10 * time.Minute) // of which the timer of the pings takes no notice
		p.Emit(text("b"))
		if got := l.soFar(); len(got) > 0 || pongs > 0 {
			t.Errorf("while stalled: %q, %d pongs", got, pongs)
		}
		leaving.Close()
		synctest.Wait()
		if s := p.Stats(); s.Connections != 1 || s.Pings != 0 {
			t.Errorf("stats %+v", s)
		}
		p.Behave(pulltest.WebSockets)
		expect(t, "then comes", l.soFar(), "a", "b")
		if pongs != 1 {
			t.Errorf("%d pongs", pongs)
		}
		p.Misbehave(pulltest.WebSockets, pulltest.Stall)
		p.Emit(text("never sent")) // and Close does not wait for it
	}, pulltest.WithGather(0))
}

// A poll that hung already is not answered either, by a message or at its end.
func TestFaults_StalledHangingPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, status := range []int{http.StatusOK, http.StatusNotModified} {
			hanging := pollLater(t, p, "")
			synctest.Wait()
			p.Misbehave(pulltest.Polls, pulltest.Stall)
			if status == http.StatusOK {
				p.Emit(text("live"))
			}
			time.Sleep(time.Hour)
			if len(hanging) > 0 {
				t.Error("a stalled poll was answered")
			}
			p.Behave(pulltest.Polls)
			if r := <-hanging; r.status != status {
				t.Errorf("then comes %d, want %d", r.status, status)
			}
		}
	}, pulltest.WithPingInterval(0))
}

func TestFaults_Delay(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Emit(text("kept"))
		const all = pulltest.REST | pulltest.WebSockets | pulltest.Polls
		p.Misbehave(all, pulltest.Delay(7*time.Second))
		start := time.Now()
		for s, r := range ask(t, p) {
			if r.status > 200 {
				t.Errorf("service %d answers %d", s, r.status)
			}
		}
		if took := time.Since(start); took != 21*time.Second {
			t.Errorf("three requests took %v", took)
		}
		p.Misbehave(all, pulltest.Delay(time.Hour))
		time.AfterFunc(time.Minute, func() { p.Behave(all) })
		ask(t, p)
		if took := time.Since(start); took != 81*time.Second {
			t.Errorf("the last three ended after %v", took)
		}
	})
}

// One message of a frame or answer is broken, the others are as they were.
func TestFaults_Garble(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		p.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Garble)
		var mids []string
		for i := range 4 {
			mids = append(mids, p.Emit(text(fmt.Sprint(i))))
		}
		check := func(what string, got []received, want []int, broken int) {
			for i, m := range got {
				if len(got) != len(want) || m.Mid != mids[want[i]] || json.Valid([]byte(m.Body)) != (want[i] != broken) {
					t.Errorf("%s: message %d of %d is %+v", what, i, len(got), m)
				}
			}
		}
		check("first frame", next(t, ws), []int{0}, 0)
		check("second frame", next(t, ws), []int{1, 2, 3}, 2)
		check("poll", decode(t, pollMid(t, p, zeros).body), []int{0, 1, 2, 3}, 2)
		r := get(t, p, p.PushURL()+"/sub/?mid="+mids[2]+"&CHANNEL_ID="+url.QueryEscape(channelParam(t, p)))
		body := strings.TrimSuffix(strings.TrimPrefix(string(r.body), "#!NGINXNMS!#"), "#!NGINXNME!#")
		if !strings.Contains(body, mids[3]) || json.Valid([]byte(body)) {
			t.Errorf("text framing: %s", r.body)
		}
		p.Behave(pulltest.WebSockets | pulltest.Polls)
		p.Emit(text("4"))
		expect(t, "behaving", texts(t, next(t, ws)), "4")
		expect(t, "behaving", kept(t, p, zeros), "0", "1", "2", "3", "4")
	})
}

func TestFaults_GarbleFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		p.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.GarbleFrame)
		p.Emit(text("x"))
		_, frame, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		poll := pollMid(t, p, zeros)
		for what, b := range map[string][]byte{"frame": frame, "poll": poll.body} {
			if _, _, n := protowire.ConsumeField(b); n >= 0 || bytes.Contains(b, []byte("NGINX")) || json.Valid(b) || len(b) == 0 {
				t.Errorf("%s: %q", what, b)
			}
		}
		if poll.status != 200 {
			t.Errorf("status %d", poll.status)
		}
	})
}

func TestFaults_GarbledREST(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Misbehave(pulltest.REST, pulltest.Garble)
		r := get(t, p, p.Webhook()+"pull.config.get")
		if r.status != 200 || !bytes.HasPrefix(r.body, []byte(`{"result":{`)) || json.Valid(r.body) {
			t.Errorf("cut: %d %s", r.status, r.body)
		}
		p.Misbehave(pulltest.REST, pulltest.GarbleFrame)
		r = get(t, p, p.Webhook()+"pull.config.get")
		if r.status != 200 || bytes.Contains(r.body, []byte("result")) || json.Valid(r.body) {
			t.Errorf("garbage: %d %s", r.status, r.body)
		}
	})
}

// An open websocket does not notice that new ones are refused.
func TestFaults_OpenWebSocketOutlivesRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		for _, f := range []pulltest.Fault{pulltest.BadGateway, pulltest.Refuse(400), pulltest.Delay(time.Hour)} {
			p.Misbehave(pulltest.WebSockets, f)
			p.Emit(text("live"))
			expect(t, "the websocket heard", texts(t, next(t, ws)), "live")
		}
	}, pulltest.WithGather(0))
}
