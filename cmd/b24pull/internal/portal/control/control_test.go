package control

import (
	"bufio"
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
}

func newAPI(t *testing.T, specs ...Spec) *api {
	t.Helper()
	portals := NewPortals(nil, nil)
	for _, spec := range append([]Spec{{Name: "main"}}, specs...) {
		if _, err := portals.Start(spec); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(New(portals, []string{"portal.test"}, http.NotFoundHandler()))
	t.Cleanup(server.Close)
	t.Cleanup(portals.Close)
	return &api{t, server.URL, portals}
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
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
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
		var log events
		for subscribed := map[string]bool{}; len(subscribed) < 2; {
			a.get(fmt.Sprintf("log?kind=subscribed&wait_seconds=10&after=%d", log.Last), &log)
			for _, raw := range log.Events {
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

// TestBadBodies: what is wrong with a body is said, with the name of the field.
func TestBadBodies(t *testing.T) {
	a := newAPI(t, Spec{Name: "old", Version: 3})
	tests := []struct{ path, body, want string }{
		{"main/emit", `[]`, "want a JSON object"},
		{"main/emit", `{"command":`, "at byte"},
		{"main/emit", `null`, "want a JSON object"},
		{"main/emit", `{"comand":"a"}`, "comand: there is no such field; there are: to, user, module, command"},
		{"main/emit", `{}`, "command: is missing"},
		{"main/emit", `{"command":7}`, "command: want a text"},
		{"main/emit", `{"command":"a","to":"me"}`, `to: "me" is none of private, shared`},
		{"main/emit", `{"command":"a","user":9}`, "user: there is no user 9; there are: 1, 2"},
		{"main/emit", `{"command":"a","user":1.5}`, "user: want a whole number"},
		{"main/emit", `{"command":"a","user":2,"to":"shared"}`, "user: a shared channel is nobody's own"},
		{"main/emit", `{"command":"a","expiry_seconds":-1}`, "expiry_seconds: want a number of 0 or more"},
		{"main/emit", `{"command":"a","body":"b"}`, "body: takes the place"},
		{"main/emit", `{"command":"a","old":true}`, "never replaced"},
		{"old/emit", `{"command":"a","as_client":true}`, "as_client: clients publish from version 4"},
		{"main/misbehave", `{}`, "fault: is missing"},
		{"main/misbehave", `{"fault":"sleep"}`, `fault: "sleep" is none of`},
		{"main/misbehave", `{"fault":"refuse"}`, "status: is missing: the fault refuse needs it"},
		{"main/misbehave", `{"fault":"stall","services":["rest","web"]}`, `services: "web" is none of rest`},
		{"main/misbehave", `{"fault":"error_object","status":400,"code":"x","validation":[{"field":"a"}]}`, "validation[0].message: is missing"},
		{"main/answer", `{"method":"a","result":1,"list":[]}`, "list: takes the place of result"},
		{"main/answer", `{"method":"a","field":"b"}`, "field: is of a list"},
		{"main/clock", `{}`, "shift_seconds: is missing"},
		{"main/cut", `{"transport":true}`, "transport: want a text"},
		{"main/ping", `{"a":1}`, "a: there is no such field; there are none here"},
		{"main/silence", `{"process":7,"seconds":1}`, "process"},
		{"main/watch", `{"user":1,"tags":"a"}`, "tags: want a list"},
		{"main/watch", `{"user":1,"tags":["a",1]}`, "tags[1]: want a text"},
		{"main/install", `{"url":"ftp://x"}`, "url: want an address"},
		{"main/close-websockets", `{"code":3}`, "code: want a number of 1000 or more"},
		{"", `{"name":"ä"}`, "name: want letters"},
		{"", `{"name":"x","version":6}`, "version: want a number of 5 or less"},
		{"", `{"name":"x","address":"nowhere"}`, "address: want host:port"},
		{"", `{"name":"x","processes":{"subscribers":2}}`, "processes.publishers: is missing"},
		{"", `{"name":"x","users":[{"id":3},{"id":3}]}`, "users[1].id: user 3 is there twice"},
		{"", `{"name":"x","without_polling":true,"without_websockets":true}`, "without_polling"},
	}
	for _, tt := range tests {
		got := a.do("POST", strings.TrimSuffix("/v1/portals/"+tt.path, "/"), tt.body)
		if got.status != 400 || !strings.Contains(got.body, strings.ReplaceAll(tt.want, `"`, `\"`)) {
			t.Errorf("%s %s: %d %s\nwant %s", tt.path, tt.body, got.status, got.body, tt.want)
		}
	}
}

// TestGuards: a page of somebody else, in a browser on this machine, can do
// nothing and read nothing; what is too long, or no JSON, is refused.
func TestGuards(t *testing.T) {
	a := newAPI(t)
	const cut = "/v1/portals/main/cut"
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     string
	}{
		{"a name that leads here", "GET", "/v1/portals", "", []string{"Host", "evil.example"}, 421, "foreign_host"},
		{"the same with our port", "GET", "/v1/portals", "", []string{"Host", "evil.example:80"}, 421, "foreign_host"},
		{"localhost as a part", "GET", "/v1/portals", "", []string{"Host", "localhost.evil.example"}, 421, "foreign_host"},
		{"another address", "GET", "/v1/portals", "", []string{"Host", "192.0.2.1"}, 421, "foreign_host"},
		{"localhost", "GET", "/v1/portals", "", []string{"Host", "LocalHost:1"}, 200, ""},
		{"IPv6", "GET", "/v1/portals", "", []string{"Host", "[::1]:1"}, 200, ""},
		{"a name of -control-host", "GET", "/v1/portals", "", []string{"Host", "portal.test"}, 200, ""},
		{"a form", "POST", cut, "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "not_json"},
		{"a form that looks like JSON", "POST", cut, "{}", []string{"Content-Type", "text/plain"}, 415, "not_json"},
		{"JSON in UTF-8", "POST", cut, "{}", []string{"Content-Type", "Application/JSON; charset=utf-8"}, 200, ""},
		{"another page without a body", "POST", cut, "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "foreign_origin"},
		{"an older browser", "POST", cut, "", []string{"Origin", "https://evil.example"}, 403, "foreign_origin"},
		{"a page of another port", "POST", cut, "", []string{"Origin", "http://127.0.0.1:1"}, 403, "foreign_origin"},
		{"its own page", "POST", cut, "", []string{"Sec-Fetch-Site", "same-origin", "Origin", a.url}, 200, ""},
		{"a delete from another page", "DELETE", "/v1/portals/main", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "foreign_origin"},
		{"too long", "POST", cut, `{"transport":"` + strings.Repeat("x", mostBody) + `"}`, nil, 413, "too_large"},
		{"no portal", "POST", "/v1/portals/other/cut", "", nil, 404, "no_portal"},
		{"no path", "GET", "/v1/portals/main/dance", "", nil, 404, "no_such_path"},
		{"wrong method", "GET", cut, "", nil, 405, "wrong_method"},
		{"a query twice", "GET", "/v1/portals/main/log?after=1&after=2", "", nil, 400, "bad_request"},
		{"a query of no use", "GET", "/v1/portals/main/log?from=1", "", nil, 400, "bad_request"},
		{"a name taken", "POST", "/v1/portals", `{"name":"main"}`, nil, 409, "name_taken"},
	}
	for _, tt := range tests {
		got := a.do(tt.method, tt.path, tt.body, tt.header...)
		if got.status != tt.status || got.code() != tt.code {
			t.Errorf("%s: %d %q, want %d %q", tt.name, got.status, got.code(), tt.status, tt.code)
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

// TestLog: what happened has numbers, messages are kept apart, and one can wait
// for what is still to come.
func TestLog(t *testing.T) {
	a := newAPI(t)
	var empty, log, messages events
	a.get("log", &empty)
	if len(empty.Events) != 0 || empty.Last != 0 {
		t.Fatalf("in the beginning: %+v", empty)
	}
	waited := make(chan answer)
	go func() { waited <- a.do("GET", "/v1/portals/main/log?kind=published&after=0&wait_seconds=30", "") }()
	status(t, a.portal())
	a.post("emit", `{"command":"hello","params":{"text":"<&>"}}`)
	if err := json.Unmarshal([]byte((<-waited).body), &log); err != nil || len(log.Events) != 1 {
		t.Fatalf("waited for %d events, %v", len(log.Events), err)
	}
	var e event
	if err := json.Unmarshal(log.Events[0], &e); err != nil || e.Kind != pulltest.Published || e.Command != "hello" || e.N == 0 || e.N > log.Last {
		t.Errorf("the event is %d, %s %q, %v", e.N, e.Kind, e.Command, err)
	}
	a.get("messages?after=0", &messages)
	if len(messages.Events) != 1 || messages.Lost {
		t.Errorf("messages: %d, lost: %t", len(messages.Events), messages.Lost)
	}
	a.get(fmt.Sprintf("log?after=%d", log.Last), &empty)
	if len(empty.Events) != 0 {
		t.Errorf("behind the last: %d events", len(empty.Events))
	}
}

// TestJournal_Bounds: the log is bounded in number and bytes, says what is
// lost, and requests do not push out messages.
func TestJournal_Bounds(t *testing.T) {
	j := newJournal()
	j.add(pulltest.Event{Kind: pulltest.Published})
	for range mostRecords + 10 {
		j.add(pulltest.Event{Kind: pulltest.Requested})
	}
	all := j.read(0, false, 10)
	if len(j.all.records) != mostRecords || !all.lost || all.records[0].n != 12 {
		t.Errorf("kept %d records from %d on, lost: %t", len(j.all.records), all.records[0].n, all.lost)
	}
	if c := j.read(11, false, 10); c.lost {
		t.Error("behind what was lost nothing is")
	}
	if c := j.read(0, true, 10); c.lost || len(c.records) != 1 {
		t.Errorf("of messages %d are kept, lost: %t", len(c.records), c.lost)
	}
	large := pulltest.Event{Kind: pulltest.Published, Body: strings.Repeat("x", 1<<20)}
	for range 40 {
		j.add(large)
	}
	for _, r := range []ring{j.all, j.messages} {
		if r.bytes > mostRecordBytes || len(r.records) == 0 {
			t.Errorf("%d bytes in %d records", r.bytes, len(r.records))
		}
	}
	j.clear(time.Now())
	j.add(pulltest.Event{Kind: pulltest.Published}) // told of late
	if c := j.read(0, false, 10); c.lost || len(c.records) != 0 || c.last == 0 {
		t.Errorf("cleared: %d records, lost: %t, last %d", len(c.records), c.lost, c.last)
	}
}

// TestStream: a stream begins with the present or behind a number, goes on
// behind Last-Event-ID, and ends with its portal.
func TestStream(t *testing.T) {
	a := newAPI(t)
	listen := func(query string, header ...string) *stream { return openStream(t, a, query, header...) }
	now := listen("")
	a.post("emit", `{"command":"one"}`)
	id, e := now.next()
	if e.Command != "one" || id != fmt.Sprint(e.N) {
		t.Errorf("got %q as %s, want one as %d", e.Command, id, e.N)
	}
	a.post("emit", `{"command":"two"}`)
	now.next()
	if _, e := listen("", "Last-Event-ID", id).next(); e.Command != "two" {
		t.Errorf("behind one comes %q", e.Command)
	}
	if _, e := listen("?after=0").next(); e.Command != "one" {
		t.Errorf("all begins with %q", e.Command)
	}
	if got := a.do("GET", "/v1/portals/main/events", "", "Last-Event-ID", "x"); got.status != 400 {
		t.Errorf("behind x: %d", got.status)
	}
	a.do("DELETE", "/v1/portals/main", "")
	for {
		if _, err := now.lines.ReadString('\n'); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestStream_Slow: a reader that takes nothing is let go; others and the portal
// do not wait for it.
func TestStream_Slow(t *testing.T) {
	a := newAPI(t)
	p := a.portal()
	openStream(t, a, "") // and nothing is read of it
	body, _ := json.Marshal(map[string]string{"body": strings.Repeat("x", 1<<20)})
	for i := 0; p.streams.Load() > 0; i++ {
		if i < 32 {
			a.post("emit", string(body)) // more than sockets hold
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stream is an open stream of events.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
}

func openStream(t *testing.T, a *api, query string, header ...string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/v1/portals/main/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if media := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || media != "text/event-stream" {
		t.Fatalf("a stream: %d, %s", resp.StatusCode, media)
	}
	return &stream{t, bufio.NewReader(resp.Body)}
}

// next is the next event.
func (s *stream) next() (id string, e event) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if after, ok := strings.CutPrefix(line, "id: "); ok {
			id = after
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatal(err)
			}
			return id, e
		}
	}
}
