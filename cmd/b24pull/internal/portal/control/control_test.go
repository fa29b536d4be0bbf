package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// api is a control API over real sockets, with a portal named main.
type api struct {
	t       *testing.T
	url     string
	portals *Portals
	server  *Server
}

func newAPI(t *testing.T, specs ...Spec) *api {
	t.Helper()
	portals := NewPortals(nil, nil)
	for _, spec := range append([]Spec{{Name: "main"}}, specs...) {
		if _, err := portals.Start(spec); err != nil {
			t.Fatal(err)
		}
	}
	server := New(portals, []string{"portal.test"}, func(missing http.Handler) http.Handler { return missing })
	srv := httptest.NewServer(server)
	t.Cleanup(srv.Close)
	t.Cleanup(portals.Close)
	return &api{t, srv.URL, portals, server}
}

// answer is the status and the body of an answer.
type answer struct {
	status int
	body   string
}

// code is that of an error.
func (a answer) code() string {
	var e struct {
		Error struct{ Code, Message string }
	}
	json.Unmarshal([]byte(a.body), &e)
	return e.Error.Code
}

func (a *api) do(method, path, body string, header ...string) answer {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(data)}
}

// post does an action on main that must succeed.
func (a *api) post(action, body string) string {
	a.t.Helper()
	got := a.do("POST", "/v1/portals/main/"+action, body)
	if got.status != 200 {
		a.t.Fatalf("%s: %d %s", action, got.status, got.body)
	}
	return got.body
}

// get reads of main into v.
func (a *api) get(what string, v any) {
	a.t.Helper()
	got := a.do("GET", "/v1/portals/main/"+what, "")
	if err := json.Unmarshal([]byte(got.body), v); got.status != 200 || err != nil {
		a.t.Fatalf("%s: %d %v", what, got.status, err)
	}
}

// portal is the portal main itself.
func (a *api) portal() *running {
	a.t.Helper()
	p, err := a.portals.get("main")
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// TestActions does each action, and looks at what it has come to by the methods
// of pulltest.
func TestActions(t *testing.T) {
	handlers := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		handlers <- r.Form.Get("event") + r.Form.Get("PLACEMENT")
	}))
	defer app.Close()
	stats := func(p *running) pulltest.Stats { return p.Stats() }
	tests := []struct {
		action, body string
		want         string // in the answer
		then         func(p *running) bool
	}{
		{"emit", `{"command":"a","params":{"b":[1]},"to":"shared"}`, `"mid":"`, func(p *running) bool { return stats(p).Published == 1 && stats(p).Stored == 1 }},
		{"emit", `{"command":"a","expiry_seconds":0}`, `"mid":"`, func(p *running) bool { return stats(p).Published == 2 && stats(p).Stored == 1 }},
		{"emit", `{"body":"no JSON at all","user":2}`, `"mid":"`, func(p *running) bool { return stats(p).Stored == 2 }},
		{"emit", `{"command":"a","as_client":true}`, `"mid":"`, func(p *running) bool { return stats(p).ClientMessages == 1 }},
		{"replace-channel", `{}`, `{}`, nil},
		{"emit", `{"command":"a","old":true}`, `"mid":"`, func(p *running) bool { return stats(p).Published == 5 }},
		{"control", `{"command":"config_expire"}`, `"mid":"`, func(p *running) bool { return stats(p).Published == 6 }},
		{"cut", `{"transport":"polls"}`, `{"connections":0}`, nil},
		{"cut", ``, `{"connections":0}`, nil},
		{"close-websockets", `{"code":4000,"reason":"go"}`, `{"connections":0}`, nil},
		{"ping", ``, `{}`, nil},
		{"expire-channel", `{"action":"get_config"}`, `"mid":"`, func(p *running) bool { return stats(p).Published == 7 }},
		{"retire-channel", `{"to":"shared"}`, `"mid":"`, nil},
		{"expire-config", ``, `"mid":"`, nil},
		{"omit-channel", `{"to":"private","count":1}`, `{}`, func(p *running) bool { return !strings.Contains(string(p.ConfigJSON()), `"private"`) }},
		{"set-back", `{"by":1}`, `{}`, nil},
		{"forget", ``, `{}`, nil},
		{"silence", `{"process":0,"seconds":0.001}`, `{}`, nil},
		{"restart", `{"down_seconds":0}`, `{}`, nil},
		{"deactivate", `{"user":2}`, `{}`, nil},
		{"activate", `{"user":2}`, `{}`, nil},
		{"watch", `{"user":1,"tags":["b","a"]}`, `{}`, func(p *running) bool { return strings.Join(p.Watched(1), " ") == "a b" }},
		{"unwatch", `{"user":1,"tags":["b"]}`, `{}`, func(p *running) bool { return strings.Join(p.Watched(1), " ") == "a" }},
		{"token", `{"user":2}`, `"user_id":2`, nil},
		{"expire-token", ``, `"access_token":"`, nil},
		{"sign-in", `{"user":2}`, `{}`, nil},
		{"revoke-tokens", ``, `{}`, nil},
		{"clock", `{"shift_seconds":3600}`, `{}`, func(p *running) bool { return time.Until(p.Token(1).Expires) > 90*time.Minute }},
		{"clock", `{"shift_seconds":0}`, `{}`, nil},
		{"answer", `{"method":"crm.deal.get","result":{"ID":"7"}}`, `{}`, func(p *running) bool { return strings.Contains(callREST(t, p, "crm.deal.get"), `"result":{"ID":"7"}`) }},
		{"answer", `{"method":"crm.deal.list","list":[1,2],"field":"items"}`, `{}`, func(p *running) bool {
			return strings.Contains(callREST(t, p, "crm.deal.list"), `"result":{"items":[1,2]}`)
		}},
		{"answer", `{"method":"crm.deal.get"}`, `{}`, func(p *running) bool {
			return strings.Contains(callREST(t, p, "crm.deal.get"), "ERROR_METHOD_NOT_FOUND")
		}},
		{"install", `{"url":"` + app.URL + `/"}`, `{}`, func(*running) bool { return strings.Contains(<-handlers, "DEFAULT") }},
		{"install-by-event", `{"url":"` + app.URL + `/"}`, `{}`, func(*running) bool { return <-handlers == "ONAPPINSTALL" }},
		{"open", `{"url":"` + app.URL + `/"}`, `{}`, func(*running) bool { return <-handlers != "" }},
		{"uninstall", `{"url":"` + app.URL + `/"}`, `{}`, func(*running) bool { return <-handlers == "ONAPPUNINSTALL" }},
		{"misbehave", `{"services":["rest"],"fault":"refuse","status":418,"times":1}`, `{}`, func(p *running) bool {
			first, second := status(t, p), status(t, p)
			return first == 418 && second != 418
		}},
		{"misbehave", `{"fault":"bad_gateway"}`, `{}`, func(p *running) bool { return status(t, p) == 502 }},
		{"behave", `{}`, `{}`, func(p *running) bool { return status(t, p) != 502 }},
		{"reset", ``, `{}`, func(p *running) bool { return stats(p) == pulltest.Stats{} }},
		{"move", `{}`, `"url":"https://`, func(p *running) bool { return stats(p).Redirects == 0 }},
	}
	a := newAPI(t)
	for _, tt := range tests {
		got := a.post(tt.action, tt.body)
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %s", tt.action, tt.body, "another answer than expected")
		}
		if tt.then != nil && !tt.then(a.portal()) {
			t.Errorf("%s %s: it was not done", tt.action, tt.body)
		}
	}
	tried := make(map[string]bool)
	for _, tt := range tests {
		tried[tt.action] = true
	}
	for _, e := range endpoints() {
		if e.method == "POST" && !tried[e.name] {
			t.Errorf("%s was not tried", e.name)
		}
	}
}

// status is what the portal answers to a call.
func status(t *testing.T, p *running) int {
	t.Helper()
	status, _ := request(t, p, "server.time")
	return status
}

// callREST is the answer to a call.
func callREST(t *testing.T, p *running, method string) string {
	t.Helper()
	_, body := request(t, p, method)
	return body
}

func request(t *testing.T, p *running, method string) (status int, body string) {
	t.Helper()
	resp, err := p.HTTPClient().Get(p.Webhook() + method)
	if err != nil {
		t.Fatal("no answer") // the error would hold the address
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestCut: cuts take the connections that they name, subscribers lists those
// that are left, and reset takes the rest, with the log and the counters.
func TestCut(t *testing.T) {
	a := newAPI(t)
	var config struct {
		Channels struct{ Shared struct{ ID string } }
	}
	a.get("config", &config)
	base := a.portal().PushURL() + "/sub/?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(config.Channels.Shared.ID)
	transport := a.portal().HTTPClient().Transport.(*http.Transport)
	var seen events // go on after those of the connections before
	open := func() (ended chan string) {
		ended = make(chan string, 2)
		dialer := websocket.Dialer{TLSClientConfig: transport.TLSClientConfig.Clone()}
		socket, _, err := dialer.Dial("wss"+strings.TrimPrefix(base, "https"), nil)
		if err != nil {
			t.Fatal("no websocket")
		}
		t.Cleanup(func() { socket.Close() })
		go func() {
			socket.ReadMessage()
			ended <- "websocket"
		}()
		go func() {
			if resp, err := a.portal().HTTPClient().Get(base); err == nil {
				resp.Body.Close()
			}
			ended <- "poll"
		}()
		for subscribed := map[string]bool{}; len(subscribed) < 2; {
			a.get(fmt.Sprintf("log?kind=subscribed&wait_seconds=10&after=%d", seen.Last), &seen)
			for _, raw := range seen.Events {
				var e event
				json.Unmarshal(raw, &e)
				subscribed[e.Transport] = true
			}
		}
		return ended
	}
	left := func() (transports string) {
		var subscribers []pulltest.Subscriber
		a.get("subscribers", &subscribers)
		for _, s := range subscribers {
			transports += s.Transport + " "
		}
		return transports
	}
	ended := open()
	for _, cut := range []struct{ transport, ends, leaves string }{{"polls", "poll", "websocket "}, {"websockets", "websocket", ""}} {
		if got := a.post("cut", `{"transport":"`+cut.transport+`"}`); got != "{\"connections\":1}\n" {
			t.Errorf("cut %s: %s", cut.transport, got)
		}
		if got := <-ended; got != cut.ends || left() != cut.leaves {
			t.Errorf("cut %s: a %s has ended, %q is left", cut.transport, got, left())
		}
	}
	ended = open()
	a.post("emit", `{"command":"x"}`)
	a.post("reset", `{}`)
	<-ended
	<-ended
	var stats statistics
	var log events
	a.get("stats", &stats)
	a.get("log", &log)
	if stats["published"] != 0 || left() != "" || log.Last == 0 || log.Lost {
		t.Errorf("after reset: %d published, %q open, events up to %d, lost: %t", stats["published"], left(), log.Last, log.Lost)
	}
	for _, raw := range log.Events {
		var e event
		if json.Unmarshal(raw, &e); e.Kind != pulltest.Unsubscribed && e.Kind != pulltest.Requested {
			t.Errorf("after reset the log has an event %s", e.Kind)
		}
	}
}

// TestPortals: portals begin and end at run time; an address that is taken is
// an error that says so.
func TestPortals(t *testing.T) {
	a := newAPI(t)
	var info Info
	got := a.do("POST", "/v1/portals", `{"name":"shop","version":5,"shared":true,"users":[{"id":7,"name":"Ann","admin":true},{"id":8}]}`)
	if err := json.Unmarshal([]byte(got.body), &info); got.status != 201 || err != nil || info.Version != 5 || !info.Shared || len(info.Users) != 2 || info.Users[0].Name != "Ann" {
		t.Fatalf("started: %d %v, version %d, %v", got.status, err, info.Version, info.Users)
	}
	taken := a.do("POST", "/v1/portals", `{"name":"other","address":"`+strings.TrimPrefix(info.URL, "https://")+`"}`)
	if taken.status != 400 || !strings.Contains(taken.body, "cannot listen at") {
		t.Errorf("a taken address: %d %s", taken.status, taken.body)
	}
	names := func() string {
		var all []string
		for _, p := range a.portals.List() {
			all = append(all, p.Name)
		}
		return strings.Join(all, " ")
	}
	if names() != "main shop" {
		t.Errorf("there are %s", names())
	}
	if got := a.do("DELETE", "/v1/portals/shop", ""); got.status != 200 || names() != "main" {
		t.Errorf("after the end of shop: %d, there are %s", got.status, names())
	}
	if got := a.do("DELETE", "/v1/portals/shop", ""); got.status != 404 {
		t.Errorf("ended twice: %d", got.status)
	}
}

// TestHostile: hostile timing has two processes of each kind, since messages of
// one never overtake each other; what is said of processes counts all the same.
func TestHostile(t *testing.T) {
	a := newAPI(t, Spec{Name: "hostile", Hostile: true}, Spec{Name: "one", Hostile: true, Processes: &Processes{1, 1}})
	for name, status := range map[string]int{"main": 400, "hostile": 200, "one": 400} {
		if got := a.do("POST", "/v1/portals/"+name+"/silence", `{"process":1,"seconds":0.001}`); got.status != status {
			t.Errorf("%s has a second process, or not: %d %s", name, got.status, got.body)
		}
	}
}
