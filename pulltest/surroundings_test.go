package pulltest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestSurroundings: the answer stands between the two texts, whatever the
// service, and is the one that it would be.
func TestSurroundings(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		for _, tt := range []struct {
			fault         pulltest.Fault
			before, after string
		}{
			{pulltest.ByteOrderMark, "\xef\xbb\xbf", ""},
			{pulltest.PHPNotice, "<br />\n<b>Notice</b>:  ", ""},
			{pulltest.PHPWarnings, "<br />\n<b>Warning</b>:  ", "<br />\n"},
			{pulltest.Surround("a", "z"), "a", "z"},
		} {
			targets := map[pulltest.Service]string{
				pulltest.REST:  p.URL() + "/rest/pull.application.config.get?auth=" + p.AccessToken(),
				pulltest.Polls: subURL(t, p, zeros),
				pulltest.OAuth: p.AuthServer() + "/oauth/token/?grant_type=refresh_token",
			}
			plain := map[pulltest.Service]pollResult{}
			for s, target := range targets {
				plain[s] = get(t, p, target)
			}
			p.Misbehave(everyService, tt.fault)
			for s, target := range targets {
				got, want := get(t, p, target), plain[s]
				body := string(got.body)
				inner := strings.TrimSuffix(strings.TrimPrefix(body, tt.before), tt.after)
				if got.status != want.status || !strings.HasPrefix(body, tt.before) || !strings.HasSuffix(body, tt.after) || len(inner) > len(body)-len(tt.before)-len(tt.after) {
					t.Errorf("service %d: %d %.80q", s, got.status, body)
				}
				if s == pulltest.Polls && !strings.Contains(inner, string(want.body)) {
					t.Errorf("the poll is another one: %.80q", body)
				}
			}
			if ws, _, err := dialURL(p, subURL(t, p, "")); err != nil {
				t.Errorf("a websocket: %v", err)
			} else {
				ws.Close()
			}
			p.Behave(everyService)
			if got := get(t, p, targets[pulltest.REST]); !json.Valid(got.body) {
				t.Errorf("it goes on: %.80q", got.body)
			}
		}
	})
}

// TestSurroundings_TokenFields: one field of the answer is another, and the tokens are good.
func TestSurroundings_TokenFields(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		for _, tt := range []struct {
			fault       pulltest.Fault
			field, want string
		}{
			{pulltest.InsecureEndpoint, "client_endpoint", `"` + strings.Replace(p.URL(), "https://", "http://", 1) + `/rest/"`},
			{pulltest.TokenField("client_endpoint", "%zz"), "client_endpoint", `"%zz"`},
			{pulltest.TokenField("expires_in", []int{}), "expires_in", `[]`},
			{pulltest.TokenField("member_id", nil), "member_id", ""},
			{pulltest.TokenField("something_new", 5), "something_new", `5`},
		} {
			p.Misbehave(everyService, tt.fault)
			r := post(t, p, p.AuthServer()+"/oauth/token/", []byte(credentials(p, "grant_type", "refresh_token", "refresh_token", p.Token(1).RefreshToken).Encode()), "Content-Type", "application/x-www-form-urlencoded")
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(r.body, &fields); err != nil || string(fields[tt.field]) != tt.want {
				t.Errorf("%v, %s is %s, want %s", err, tt.field, fields[tt.field], tt.want)
			}
			var access string
			if err := json.Unmarshal(fields["access_token"], &access); err != nil {
				t.Fatal(err)
			}
			if got := works(t, p, access); got != "" {
				t.Errorf("the token: %s", got)
			}
			p.Behave(everyService)
		}
	})
}

// TestSurroundings_Times: a fault that is bounded passes, and spends no token.
func TestSurroundings_Times(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1)
		for range 2 {
			p.Misbehave(pulltest.OAuth, pulltest.AuthorizationError.Times(3))
			for range 3 {
				if a := refresh(t, p, token.RefreshToken); a.status != http.StatusUnauthorized || a.Error != "authorization_error" {
					t.Errorf("got %d %s", a.status, a.Error)
				}
			}
			a := refresh(t, p, token.RefreshToken)
			if a.status != http.StatusOK {
				t.Fatalf("got %d %s", a.status, a.Error)
			}
			token.RefreshToken = a.RefreshToken
		}
	})
}
