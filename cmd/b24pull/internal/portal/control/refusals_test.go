package control

import (
	"strings"
	"testing"
)

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
		{"main/emit", `{"command":"a","expiry_seconds":-1}`, "expiry_seconds: want a number from 0 to 86400"},
		{"main/emit", `{"command":"a","body":"b"}`, "body: takes the place"},
		{"main/emit", `{"command":"a","old":true}`, "never replaced"},
		{"main/emit", `{"command":"a","old":true,"wait_seconds":1}`, "wait_seconds: does not go together with as_client and old"},
		{"main/emit", `{"command":"a","from":1}`, "from: is the user whose client publishes: it needs as_client"},
		{"main/emit", `{"command":"a","as_client":true,"from":9}`, "from: there is no user 9; there are: 1, 2"},
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
		{"main/close-websockets", `{"code":3}`, "code: want a number from 1000 to 4999"},
		{"", `{"name":"ä"}`, "name: want letters"},
		{"", `{"name":"x","version":6}`, "version: want a number from 1 to 5"},
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
