package b24pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPaused_Method: nobody else's call is sent into a pause. It is of the
// method, and over in time.
func TestPaused_Method(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := map[string]int{}
		start := time.Now()
		over := start.Add(5 * time.Minute)
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, r.Body)
			method := r.URL.Path[len("/rest/"):]
			sent[method]++
			if method == "slow.add" && time.Now().Before(over) {
				now := time.Now().Add(time.Hour).Unix() // by the portal's clock
				return resttest.JSONResponse(r, 429, fmt.Sprintf(`{"error":"OPERATION_TIME_LIMIT","time":{"finish":%d,"operating_reset_at":%d}}`,
					now, over.Add(time.Hour).Unix())), nil
			}
			return resttest.JSONResponse(r, 200, `{"result":true}`), nil
		})}
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(hc), WithRetry(Retry{}))
		slow := func(ctx context.Context) error { _, err := c.Call(ctx, "slow.add", nil, nil); return err }
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
			var refused *APIError
			if err := slow(ctx); !errors.As(err, &refused) || !errors.Is(err, ErrOperationTimeLimit) || refused.Timing.OperatingResetAt.IsZero() || time.Since(start) > 0 {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
			cancel()
		}
		once := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(hc), WithRetry(Retry{Attempts: 1}))
		for range 2 {
			if _, err := once.Call(t.Context(), "slow.add", nil, nil); !errors.Is(err, ErrOperationTimeLimit) || time.Since(start) > 0 {
				t.Errorf("without repeats: %v", err)
			}
		}
		if _, err := c.Call(t.Context(), "other.add", nil, nil); err != nil || time.Since(start) > 0 {
			t.Errorf("another method: %v", err)
		}
		if sent["slow.add"] != 2 { // one of each client
			t.Errorf("%d calls were sent into the pause", sent["slow.add"])
		}
		time.Sleep(time.Minute)
		if err := slow(t.Context()); err != nil || time.Since(start) != 5*time.Minute+time.Second || sent["slow.add"] != 3 {
			t.Errorf("%v after %v and %d calls", err, time.Since(start), sent["slow.add"])
		}
	})
}
