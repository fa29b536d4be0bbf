package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestFaultNames: the event of a request that has met a fault calls it as it was
// sent.
func TestFaultNames(t *testing.T) {
	a := newAPI(t, Spec{Name: "five", Version: 5, PlainAddress: "127.0.0.1:0", PlainURLs: true}) // whose requests are counted as they come
	five, err := a.portals.get("five")
	if err != nil {
		t.Fatal(err)
	}
	five.Emit(pulltest.Message{Command: "kept"}) // so that polls are answered
	var config struct {
		Channels struct{ Private struct{ ID string } }
	}
	if err := json.Unmarshal(five.ConfigJSON(), &config); err != nil {
		t.Fatal(err)
	}
	channel := "?CHANNEL_ID=" + url.QueryEscape(config.Channels.Private.ID)
	rest := func() (*http.Request, error) { return http.NewRequest("GET", five.Webhook()+"server.time", nil) }
	oauth := func() (*http.Request, error) { return http.NewRequest("GET", five.AuthServer()+"/oauth/token/", nil) }
	poll := func() (*http.Request, error) {
		return http.NewRequest("GET", five.PushURL()+"/sub/"+channel+"&mid="+strings.Repeat("0", 26), nil)
	}
	call := func() (*http.Request, error) {
		return http.NewRequest("POST", five.PushURL()+"/rest/"+channel, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	}
	others := map[string]func() (*http.Request, error){
		"token_field": oauth, "insecure_endpoint": oauth,
		"compressed": poll, "stale_cache": poll, "instant_not_modified": poll,
		"rpc_error": call,
	}
	last := int64(0)
	met := func() (named string, ok bool) {
		var log struct {
			Events []struct{ Fault string }
			Last   int64
		}
		got := a.do("GET", fmt.Sprintf("/v1/portals/five/log?kind=request&wait_seconds=30&after=%d", last), "")
		if err := json.Unmarshal([]byte(got.body), &log); err != nil {
			t.Fatalf("the log: %d %v", got.status, err)
		}
		last = log.Last
		if len(log.Events) != 1 {
			return fmt.Sprint(len(log.Events), " requests"), false
		}
		return log.Events[0].Fault, true
	}
	details := map[string]any{
		"status": 503, "code": "E", "rpc_code": -32603, "location": "/elsewhere",
		"coding": "gzip", "field": "f", "seconds": 0.001, "before": "b",
	}
	for name, f := range faults {
		in := map[string]any{"fault": name}
		for field, value := range details {
			if slices.Contains(f.needs, field) || slices.Contains(f.uses, field) {
				in[field] = value
			}
		}
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.do("POST", "/v1/portals/five/misbehave", string(body)); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, got.status, got.body)
		}
		ask := rest
		if other, is := others[name]; is {
			ask = other
		}
		request, err := ask()
		if err != nil {
			t.Fatal("no request") // the error would hold the address
		}
		request.Close = true // over a used connection net/http would ask again
		before, ended := five.Stats().Insecure, make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			resp, err := five.HTTPClient().Transport.RoundTrip(request.WithContext(ctx))
			if err != nil {
				return
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
		}()
		if name == "stall" {
			for five.Stats().Insecure == before {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}
		<-ended
		cancel()
		if got, ok := met(); !ok || got != name {
			t.Errorf("%s is called %q", name, got)
		}
	}
}
