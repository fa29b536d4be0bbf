package control

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestEmit_Waits: a message is waited for until who listens has been sent it, or
// until the time is over.
func TestEmit_Waits(t *testing.T) {
	a := newAPI(t)
	got := a.do("POST", "/v1/portals/main/emit", `{"command":"a","wait_seconds":0.01}`)
	if got.status != http.StatusGatewayTimeout || got.code() != "not_sent" || !strings.Contains(got.body, "is published, but nobody listens, and nobody has been sent it") {
		t.Errorf("nobody listens: %d %s", got.status, got.body)
	}
	sent := make(chan string, 1)
	go func() { sent <- held(t, a.portal().Portal, "") }()
	a.do("GET", "/v1/portals/main/log?kind=subscribed&after=0&wait_seconds=60", "")
	got = a.do("POST", "/v1/portals/main/emit", `{"command":"b","wait_seconds":30}`)
	if body := <-sent; got.status != http.StatusOK || !strings.Contains(got.body, `"mid":"`) || !strings.Contains(body, `"command":"b"`) {
		t.Errorf("somebody listens: %d %s, sent %q", got.status, got.body, body)
	}
}

// TestSpec_History: a portal begins with the messages that its spec has, and one
// of its own where there is none.
func TestSpec_History(t *testing.T) {
	for spec, want := range map[string]string{
		`[]`:                      `"command":"before"`,
		`[{"command":"of-user"}]`: `"command":"of-user"`,
	} {
		a := newAPI(t)
		if got := a.do("POST", "/v1/portals", `{"name":"old","history":`+spec+`}`); got.status != http.StatusCreated {
			t.Fatalf("%d %s", got.status, got.body)
		}
		p, err := a.portals.get("old")
		if err != nil {
			t.Fatal(err)
		}
		if got := held(t, p.Portal, "&mid="+strings.Repeat("0", 26)); !strings.Contains(got, want) {
			t.Errorf("%s: it holds %q", spec, got)
		}
	}
	a := newAPI(t)
	for spec, want := range map[string]string{
		`[{}]`: "history[0].command: is missing",
		`[{"command":"a","to":"shared","user":1}]`: "history[0].user: a shared channel is nobody's own",
		`[{"command":"a","expiry_seconds":0}]`:     "history: message 0 is kept for",
		`[{"command":"a","user":3}]`:               "history: message 0 is for user 3; users says who is there",
	} {
		if got := a.do("POST", "/v1/portals", `{"name":"old","history":`+spec+`}`); got.status != http.StatusBadRequest || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s, want %s", spec, got.status, got.body, want)
		}
	}
}

// held is what a poll of the first user's private channel is answered.
func held(t *testing.T, p *pulltest.Portal, query string) string {
	var config struct {
		Channels struct{ Private struct{ ID string } }
	}
	if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
		t.Error(err)
	}
	resp, err := p.HTTPClient().Get(p.PushURL() + "/sub/?CHANNEL_ID=" + url.QueryEscape(config.Channels.Private.ID) + query)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
