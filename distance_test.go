package b24pull

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefreshesKeepTheirDistance: a portal that refuses every token, or each one the second time, has the authorization
// server asked now and then only, whatever the number of calls. Counted are refreshes in an hour.
func TestRefreshesKeepTheirDistance(t *testing.T) {
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
				rest := roundTrip(func(r *http.Request) (*http.Response, error) {
					if calls++; tt.good(calls) {
						allowed++
						return jsonResponse(r, 200, `{"result":`+minimalConfig+`}`), nil
					}
					return jsonResponse(r, 401, map[string]any{"error": "expired_token"}), nil
				})
				c := mustNew(t, OAuth("portal.example", ts.Source("member1")), WithHTTPClient(&http.Client{Transport: rest}), WithLimiter(nil))
				for range 3600 {
					if _, err := c.GetApplicationConfig(t.Context(), true); err != nil && !errors.Is(err, ErrExpiredToken) {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				t.Logf("%d refreshes for %d calls, %d of them allowed", server.asked, calls, allowed)
				if server.asked > tt.most {
					t.Errorf("%d refreshes in an hour", server.asked)
				}
			})
		})
	}
}

// TestRefreshesOfProcesses: two processes with one store, which refuse each other's tokens by turns, keep their distance
// as well, and the error says why a refused token is not refreshed.
func TestRefreshesOfProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{}, new(MemoryStore)
		rest := roundTrip(func(r *http.Request) (*http.Response, error) {
			return jsonResponse(r, 401, map[string]any{"error": "expired_token"}), nil
		})
		var clients []*Client
		for range 2 {
			source := keep(t, server, store).Source("member1")
			clients = append(clients, mustNew(t, OAuth("portal.example", source), WithHTTPClient(&http.Client{Transport: rest}), WithLimiter(nil)))
		}
		told := 0
		for n := range 3600 {
			_, err := clients[n%2].GetApplicationConfig(t.Context(), true)
			var refused *APIError
			if !errors.Is(err, ErrExpiredToken) || !errors.As(err, &refused) {
				t.Fatal(err)
			}
			if strings.Contains(err.Error(), "the next refresh is") {
				told++
			}
			time.Sleep(time.Second)
		}
		t.Logf("%d refreshes, told %d times", server.asked, told)
		if server.asked > 2*(refreshBurst+60) || told < 3000 {
			t.Errorf("%d refreshes in an hour, told %d times", server.asked, told)
		}
	})
}
