package oauth

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestDistance_RefreshesKeepTheirDistance: a portal that refuses every token, or each
// one the second time, has the authorization server asked now and then only,
// whatever the number of calls. Counted are refreshes in an hour.
func TestDistance_RefreshesKeepTheirDistance(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		good func(calls int) bool
		most int
	}{
		"never good":    {func(int) bool { return false }, 8},
		"good once":     {func(calls int) bool { return calls%2 == 0 }, 75},
		"good for long": {func(calls int) bool { return calls%100 != 0 }, 40},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, calls, allowed := &rotating{}, 0, 0
				ts := keep(t, server, new(MemoryStore))
				rest := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
					if calls++; tt.good(calls) {
						allowed++
						return resttest.JSONResponse(r, 200, `{"result":`+resttest.MinimalConfig+`}`), nil
					}
					return resttest.JSONResponse(r, 401, map[string]any{"error": "expired_token"}), nil
				})
				c := mustNew(t, b24pull.OAuth("portal.example", ts.Source("member1")), b24pull.WithHTTPClient(&http.Client{Transport: rest}), b24pull.WithLimiter(nil))
				for range resttest.Rounds(3600) {
					if _, err := c.GetApplicationConfig(t.Context(), true); err != nil && !errors.Is(err, b24pull.ErrExpiredToken) {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				t.Logf("%d refreshes for %d calls, %d of them allowed", server.asked, calls, allowed)
				if server.asked > tt.most {
					t.Errorf("%d refreshes in %d s", server.asked, resttest.Rounds(3600))
				}
			})
		})
	}
}

// TestDistance_RefreshesOfProcesses: two processes with one store, which refuse each
// other's tokens by turns, keep their distance as well, and the error says why
// a refused token is not refreshed.
func TestDistance_RefreshesOfProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{}, new(MemoryStore)
		rest := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			return resttest.JSONResponse(r, 401, map[string]any{"error": "expired_token"}), nil
		})
		var clients []*b24pull.Client
		for range 2 {
			source := keep(t, server, store).Source("member1")
			clients = append(clients, mustNew(t, b24pull.OAuth("portal.example", source), b24pull.WithHTTPClient(&http.Client{Transport: rest}), b24pull.WithLimiter(nil)))
		}
		told := 0
		seconds := resttest.Rounds(3600)
		for n := range seconds {
			_, err := clients[n%2].GetApplicationConfig(t.Context(), true)
			var refused *b24pull.APIError
			if !errors.Is(err, b24pull.ErrExpiredToken) || !errors.As(err, &refused) {
				t.Fatal(err)
			}
			if strings.Contains(err.Error(), "the next refresh is") {
				told++
			}
			time.Sleep(time.Second)
		}
		t.Logf("%d refreshes, told %d times", server.asked, told)
		if server.asked > 2*(refreshBurst+seconds/60) || told < seconds-600 {
			t.Errorf("%d refreshes in %d s, told %d times", server.asked, seconds, told)
		}
	})
}
