package b24pull

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPasted_Addresses: what stands around an address is no part of it.
func TestPasted_Addresses(t *testing.T) {
	for _, around := range resttest.Pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		if c, err := New(Webhook(pasted("https://portal.example/rest/1/" + resttest.HookCode + "/"))); err != nil || c.base.now().String() != "https://portal.example/rest/1/"+resttest.HookCode+"/" {
			t.Errorf("a webhook between %q: %v", around, err)
		}
		for _, portal := range []string{"https://portal.example", "portal.example"} {
			if c, err := New(OAuth(pasted(portal), resttest.Static("t"))); err != nil || c.Portal() != "https://portal.example" {
				t.Errorf("%s between %q: %v", portal, around, err)
			}
		}
	}
}

// TestPasted_Tokens: nor is what stands around a token, and the token as it is
// sent is kept out of errors too.
func TestPasted_Tokens(t *testing.T) {
	for _, around := range resttest.Pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		var bodies []string
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			return resttest.JSONResponse(r, 400, `{"error":"invalid_request","error_description":"no s3cr3t-token"}`), err
		})}
		c := mustNew(t, OAuth("portal.example", resttest.Static(pasted("s3cr3t-token"))), WithHTTPClient(hc))
		_, err := c.Call(t.Context(), "a.b", nil, nil)
		resttest.CheckError(t, err)
		if err == nil || len(bodies) != 1 || bodies[0] != `{"auth":"s3cr3t-token"}` {
			t.Errorf("an access token between %q: %v", around, err)
		}
	}
	empty := mustNew(t, OAuth("portal.example", resttest.Static(" \"\" ")), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the portal was called without a token")
		return nil, errors.New("called")
	})}))
	if _, err := empty.Call(context.Background(), "a.b", nil, nil); err == nil || !strings.Contains(err.Error(), "empty token") {
		t.Errorf("a token of quotes: %v", err)
	}
}

// TestPasted_NoNextPage: the last page of a list, and one whose next begins at 0.
func TestPasted_NoNextPage(t *testing.T) {
	for body, want := range map[string]Response{
		`{"result":[],"total":70,"next":50}`:  {Total: 70, Next: 50, HasNext: true},
		`{"result":[],"total":"70","next":0}`: {Total: 70, HasNext: true},
		`{"result":[],"next":"0"}`:            {HasNext: true},
		`{"result":[],"total":70}`:            {Total: 70},
		`{"result":[],"next":null}`:           {},
		`{"result":[],"next":""}`:             {},
		`{"result":[],"next":false}`:          {},
		`{"result":[],"next":"x"}`:            {},
	} {
		_, err := calling(t, body, func(c *Client) error {
			got, err := c.Call(context.Background(), "a.b", nil, nil)
			if got != want {
				t.Errorf("%s: got %+v", body, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
