package control

import (
	"net/http"
	"strings"
	"testing"
)

// TestBadBodies_Silent: input that would do nothing, or something else than is
// written, is refused in place of being taken in silence.
func TestBadBodies_Silent(t *testing.T) {
	a := newAPI(t, Spec{Name: "old", Version: 4}, Spec{Name: "new", Version: 5})
	tests := []struct{ path, body, want string }{
		{"", `{"name":"x","users":[]}`, "users: want a length from 1 to 10000"},
		{"", `{"name":"x","hostname":"https://x"}`, "hostname: want a name"},
		{"", `{"name":"x","hostname":"a b"}`, "hostname: want a name"},
		{"", `{"name":"x","address":"127.0.0.1:99999"}`, "address: want host:port"},
		{"", `{"name":"x","address":"a b:80"}`, "address: want host:port"},
		{"", `{"name":"x","plain_address":"127.0.0.1:-1"}`, "plain_address: want host:port"},
		{"", `{"name":"x","push_path":"/rest"}`, "push_path: want"},
		{"", `{"name":"x","push_path":"/a b"}`, "push_path: want"},
		{"", `{"name":"x","version":7}`, "version: want a number from 1 to 5"},
		{"", `{"name":"x","answers":{"a b":1}}`, `answers: "a b" is no name of a method`},
		{"", `{"name":"x","answers":{"a.b":1,"A.B":2}}`, `answers: "a.b" is there twice`},
		{"", `{"name":"x","answers":{"a.b":1,"a.b":2}}`, `answers.a.b: is there twice`},
		{"", `{"name":"x","name":"y"}`, "name: is there twice"},
		{"", `{"name":"x","users":[{"id":1,"id":2}]}`, "users[0].id: is there twice"},
		{"", "{\"name\":\"x\",\"key\":\"a\xff\"}", "not UTF-8 at byte 21"},
		{"", `{"name":"x","key":"a\ud800"}`, "key: want a text: half of a surrogate pair stands in it"},
		{"main/misbehave", `{"fault":"stall","status":503}`, "status: the fault stall does not use it; it uses: times"},
		{"main/misbehave", `{"fault":"stall","retry_after":"1"}`, "retry_after: the fault stall does not use it"},
		{"main/misbehave", `{"fault":"refuse","status":503,"code":"A"}`, "code: the fault refuse does not use it; it uses: status, retry_after, times"},
		{"main/misbehave", `{"fault":"bad_gateway","value":null}`, "value: the fault bad_gateway does not use it"},
		{"main/misbehave", `{"fault":"rest_error","status":503,"code":"A","location":"x"}`, "location: the fault rest_error does not use it"},
		{"main/misbehave", `{"fault":"rest_error","status":503,"code":""}`, "code: want a length of 1 or more"},
		{"main/misbehave", `{"fault":"stall","services":[]}`, "services: want a length from 1 to 5"},
		{"main/misbehave", `{"fault":"stall","services":["rest","rest"]}`, `services: "rest" is there twice`},
		{"main/behave", `{"services":[]}`, "services: want a length from 1 to 5"},
		{"main/misbehave", `{"fault":"token_field","field":"a","services":["polls"]}`, "services: the fault token_field means nothing to polls; it is for: oauth"},
		{"main/misbehave", `{"fault":"compressed","coding":"gzip","services":["polls","rest"]}`, "services: the fault compressed means nothing to rest; it is for: polls"},
		{"main/misbehave", `{"fault":"stale_cache","services":["websockets"]}`, "services: the fault stale_cache means nothing to websockets"},
		{"main/misbehave", `{"fault":"lose_answer","services":["polls"]}`, "services: the fault lose_answer means nothing to polls; it is for: rest, oauth, publishing"},
		{"main/misbehave", `{"fault":"php_notice","services":["websockets"]}`, "services: the fault php_notice means nothing to websockets"},
		{"main/misbehave", `{"fault":"garble","services":["publishing"]}`, "services: the fault garble means nothing to publishing"},
		{"new/misbehave", `{"fault":"rpc_error","rpc_code":-1,"services":["rest"]}`, "services: the fault rpc_error means nothing to rest"},
		{"old/misbehave", `{"fault":"rpc_error","rpc_code":-1}`, "fault: rpc_error is for version 5 of the push server, and this is 4"},
		{"main/omit-channel", `{"count":-5}`, "count: want a number of 0 or more"},
		{"main/answer", `{"method":"a b","result":1}`, "method: "},
		{"main/answer", `{"method":"a/b","result":1}`, "method: "},
		{"main/answer", `{"method":".a","result":1}`, "method: "},
		{"main/close-websockets", `{"code":1005}`, "code: 1005 may not be sent: give 1000 to 1003, 1007 to 1014 or 3000 to 4999"},
		{"main/close-websockets", `{"code":1006}`, "code: 1006 may not be sent"},
		{"main/close-websockets", `{"code":1004}`, "code: 1004 may not be sent"},
		{"main/close-websockets", `{"code":1015}`, "code: 1015 may not be sent"},
		{"main/close-websockets", `{"code":2000}`, "code: 2000 may not be sent"},
		{"main/close-websockets", `{"code":5000}`, "code: want a number from 1000 to 4999"},
		{"main/emit", `{"command":"a","command":"b"}`, "command: is there twice"},
		{"main/emit", `{"command":"a","old":true}`, "old: "},
		{"main/emit", `{"command":"a"} {}`, "at byte"},
		{"main/clock", `{"shift_seconds":1e300}`, "want a number from -4000000000 to 4000000000"},
		{"main/emit?command=b", `{"command":"a"}`, "a query: POST takes a body"},
		{"main/cut?transport=polls", ``, "a query: POST takes a body"},
		{"?name=y", `{"name":"x"}`, "a query: POST takes a body"},
	}
	for _, tt := range tests {
		path := "/v1/portals/" + tt.path
		if tt.path == "" || tt.path[0] == '?' {
			path = "/v1/portals" + tt.path
		}
		got := a.do("POST", path, tt.body)
		if got.status != 400 || !strings.Contains(got.body, strings.ReplaceAll(tt.want, `"`, `\"`)) {
			t.Errorf("%s %s: %d %s\nwant %s", tt.path, tt.body, got.status, got.body, tt.want)
		}
		if strings.Contains(got.body, "With") || strings.Contains(got.body, "EmitOld") {
			t.Errorf("%s %s: the error has a name of Go: %s", tt.path, tt.body, got.body)
		}
		if got.status == 201 {
			a.do("DELETE", "/v1/portals/x", "")
		}
	}
	for _, tt := range []struct{ method, path, body string }{
		{"GET", "/v1/portals?x=1", ""},
		{"GET", "/v1/portals/main?x=1", ""},
		{"GET", "/v1/portals/main/events?from=1", ""},
		{"GET", "/v1/portals/main/events?after=1&after=2", ""},
		{"GET", "/v1/portals/main/log?after=1;kind=ping", ""},
		{"GET", "/v1/portals/main/stats", `{"x":1}`},
		{"DELETE", "/v1/portals/main?x=1", ""},
		{"DELETE", "/v1/portals/main", `{"name":"other"}`},
	} {
		if got := a.do(tt.method, tt.path, tt.body); got.status != 400 {
			t.Errorf("%s %s %s: %d %.100s", tt.method, tt.path, tt.body, got.status, got.body)
		}
	}
}

// TestMisbehave_ByDefault: a fault without services leaves alone those to which
// it means nothing.
func TestMisbehave_ByDefault(t *testing.T) {
	a := newAPI(t)
	a.post("misbehave", `{"services":["rest"],"fault":"bad_gateway"}`)
	a.post("misbehave", `{"fault":"stale_cache"}`)
	if got := status(t, a.portal()); got != 502 {
		t.Errorf("REST answers %d; its fault is gone", got)
	}
	a.post("misbehave", `{"fault":"refuse","status":418}`)
	if got := status(t, a.portal()); got != 418 {
		t.Errorf("REST answers %d; a fault for all is not for it", got)
	}
}

// TestAnswer_Again: without a result a method is again as it was when the portal
// began, and after another answer, too.
func TestAnswer_Again(t *testing.T) {
	a := newAPI(t)
	got := a.do("POST", "/v1/portals", `{"name":"shop","answers":{"crm.Deal.get":{"ID":"1"}}}`)
	if got.status != 201 {
		t.Fatal(got.status)
	}
	shop, err := a.portals.get("shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"method":"crm.deal.get"}`,
		`{"method":"crm.deal.get","result":{"ID":"2"}}`,
		`{"method":"CRM.deal.get"}`,
		`{"method":"crm.deal.get","list":[]}`,
		`{"method":"crm.deal.get"}`,
	} {
		if got := a.do("POST", "/v1/portals/shop/answer", body); got.status != 200 {
			t.Fatal(got.body)
		}
		again := strings.HasSuffix(body, `get"}`)
		if is := strings.Contains(callREST(t, shop, "crm.deal.get"), `"result":{"ID":"1"}`); is != again {
			t.Errorf("%s: it is as it was: %t, want %t", body, is, again)
		}
	}
	a.post("answer", `{"method":"server.time","result":1}`)
	a.post("answer", `{"method":"server.time"}`)
	if said := callREST(t, a.portal(), "server.time"); strings.Contains(said, `"result":1`) {
		t.Errorf("a method of the portal's own is not as it was: %s", said)
	}
}

// TestGuards_Reading: a browser that tells that another page asks gets nothing
// of the API, and the page itself all the same.
func TestGuards_Reading(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		name, path string
		header     []string
		status     int
	}{
		{"a picture on another page", "/v1/portals", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a stream on another page", "/v1/portals/main/events", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a wait on another page", "/v1/portals/main/log", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"the description", "/openapi.json", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page of another port", "/v1/portals", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, 403},
		{"a picture on a page of another port", "/v1/portals", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"an older browser", "/v1/portals", []string{"Origin", "https://evil.example"}, 403},
		{"a file", "/v1/portals", []string{"Origin", "null"}, 403},
		{"a link to the page", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 404},
		{"its own page", "/v1/portals", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"its own page with an origin", "/v1/portals", []string{"Origin", a.url}, 200},
		{"typed by hand", "/v1/portals", []string{"Sec-Fetch-Site", "none"}, 200},
		{"no browser", "/v1/portals", nil, 200},
	} {
		if got := a.do("GET", tt.path, "", tt.header...); got.status != tt.status || tt.status == 403 && got.code() != "foreign_origin" {
			t.Errorf("%s: %d %.100s, want %d", tt.name, got.status, got.body, tt.status)
		}
	}
}

// TestNotFound: what is not there is told in JSON, wherever it is not.
func TestNotFound(t *testing.T) {
	a := newAPI(t)
	for _, path := range []string{"/nosuch", "/v1", "/v1/", "/v1/nosuch", "/v1/portals/main/nosuch", "/v2/portals"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := a.do(method, path, ""); got.status != 404 || got.code() != "no_such_path" {
				t.Errorf("%s %s: %d %.100s", method, path, got.status, got.body)
			}
		}
	}
}
