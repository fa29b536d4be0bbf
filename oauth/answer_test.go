package oauth

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestAnswer_OddFieldsLoseNoToken: the refresh token is spent whatever else the answer
// tells, so only what the token is made of may refuse it. The rest counts as
// not told.
func TestAnswer_OddFieldsLoseNoToken(t *testing.T) {
	none := []any{nil, false, true, []any{}, []any{"crm"}, map[string]any{}, map[string]any{"a": 1}, ""}
	odd := map[string][]any{
		"scope": append(none, 1), "status": append(none, 1), "server_endpoint": append(none, 1, "%zz"), "member_id": none,
		"client_endpoint": append(none, 1), "user_id": append(none, 1.5, "x", 1e30), "expires": append(none, -1, "soon", 1e30, "1e400"),
		"expires_in": append(none, "soon", -1, "NaN", "1e400", 1e30), "token_type": append(none, 1), "error": {nil, false, 0, []any{}, ""},
		"error_description": append(none, 1), "error_uri": append(none, 1),
	}
	for name, values := range odd {
		for _, v := range values {
			server := &rotating{change: map[string]any{name: v}}
			old := server.present()
			old.ServerEndpoint, old.Status, old.UserID, old.Scope = "https://oauth.example/rest/", "L", 5, []string{"pull"}
			next, err := testApp(server.transport(nil)).Refresh(context.Background(), old)
			if err != nil {
				t.Errorf("%s %v: %v", name, v, err)
				continue
			}
			if next.AccessToken != resttest.Mark+"-access-1" || next.RefreshToken != resttest.Mark+"-refresh-1" || next.Portal != old.Portal || next.MemberID != old.MemberID {
				t.Errorf("%s %v: got %s", name, v, next.Raw())
			}
			inherited := map[string]bool{
				"scope": strings.Join(next.Scope, " ") == "pull", "status": next.Status == "L", "user_id": next.UserID == 5,
				"server_endpoint": next.ServerEndpoint == old.ServerEndpoint || v == "%zz",
			}
			if is, tested := inherited[name]; tested && !is {
				t.Errorf("%s %v is not the old one's: %s", name, v, next.Raw())
			}
		}
	}
}

// TestAnswer_Life: expires_in is what x/oauth2 reads as well, and fails at.
func TestAnswer_Life(t *testing.T) {
	for _, v := range []any{3600, "3600", "3600.0", 3600.5, "3600.9", 3.6e3} {
		server := &rotating{change: map[string]any{"expires": nil, "expires_in": v}}
		next, err := testApp(server.transport(nil)).Refresh(context.Background(), server.present())
		if err != nil || next.Expiry.IsZero() {
			t.Errorf("%v: %v, %v", v, next, err)
		}
	}
}

// TestAnswer_NoTokenWithoutItsParts: what is odd in these refuses the answer.
func TestAnswer_NoTokenWithoutItsParts(t *testing.T) {
	for name, values := range map[string][]any{
		"access_token":  {nil, false, 1, []any{resttest.Mark}, ""},
		"refresh_token": {false, 1, []any{resttest.Mark}},
	} {
		for _, v := range values {
			server := &rotating{change: map[string]any{name: v}}
			_, err := testApp(server.transport(nil)).Refresh(context.Background(), server.present())
			if err == nil || !strings.Contains(err.Error(), "may be lost with the answer") {
				t.Errorf("%s %v: %v", name, v, err)
			}
			resttest.CheckError(t, err)
		}
	}
}

// TestAnswer_BreaksOff: the cause stays in reach.
func TestAnswer_BreaksOff(t *testing.T) {
	broken := errors.New("broken")
	hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		resp := resttest.JSONResponse(r, 200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"access_token":"`+resttest.Mark), failing{broken}))
		return resp, nil
	})}
	_, err := testApp(hc).Refresh(context.Background(), (&rotating{}).present())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "may be lost with the answer") {
		t.Errorf("got %v", err)
	}
	resttest.CheckError(t, err)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestAnswer_CompressedAnswers: whoever stands before the authorization server may
// compress what nobody asked it to.
func TestAnswer_CompressedAnswers(t *testing.T) {
	const tokens = `{"access_token":"` + resttest.Mark + `-access-1","refresh_token":"` + resttest.Mark + `-refresh-1"}`
	var gzipped, deflated bytes.Buffer
	for _, w := range []io.WriteCloser{gzip.NewWriter(&gzipped), zlib.NewWriter(&deflated)} {
		io.WriteString(w, tokens)
		w.Close()
	}
	for _, tt := range []struct{ coding, body string }{
		{"gzip", gzipped.String()}, {"X-GZIP", gzipped.String()}, {"deflate", deflated.String()}, {"", tokens}, {"identity", tokens}, {"br", tokens},
		{"gzip", gzipped.String()[:gzipped.Len()-4]},
	} {
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			resp := resttest.JSONResponse(r, 200, tt.body)
			resp.Header.Set("Content-Encoding", tt.coding)
			return resp, nil
		})}
		got, err := testApp(hc).Refresh(t.Context(), (&rotating{}).start())
		checkStored(t, "Content-Encoding "+tt.coding, got, err)
	}
}
