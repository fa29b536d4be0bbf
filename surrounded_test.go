package b24pull

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestSurrounded_Answers: REST is read whatever PHP writes around it, results as
// well as refusals.
func TestSurrounded_Answers(t *testing.T) {
	for _, s := range resttest.Surrounds {
		synctest.Test(t, func(t *testing.T) {
			answers := []string{
				`{"result":` + resttest.MinimalConfig + `,"time":{"finish":` + "4102444800" + `}}`,
				`{"error":"expired_token","error_description":"The access token provided has expired."}`,
				`{"error":"QUERY_LIMIT_EXCEEDED"}`,
				`{"result":true}`,
			}
			play := &script{}
			for i, status := range []int{200, 401, 503, 200} {
				play.answers = append(play.answers, says(status, s.Before+answers[i]+s.After))
			}
			source := &refresher{tokens: []string{"a", "b"}}
			c := mustNew(t, OAuth("portal.example", source), WithHTTPClient(play.client()), WithRetry(Retry{}))
			cfg, err := c.GetApplicationConfig(t.Context(), true)
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			if shift := cfg.ClockShift(); shift < 24*time.Hour {
				t.Errorf("%s: the time was not read: %v", s.Name, shift)
			}
			if err := event(t.Context(), c); err != nil || source.refreshed != 1 || len(play.came) != 4 {
				t.Errorf("%s: %v after %d refreshes and %d requests", s.Name, err, source.refreshed, len(play.came))
			}
		})
	}
}

// TestSurrounded_NoAnswersWithin: what a page or half an answer holds is no answer.
func TestSurrounded_NoAnswersWithin(t *testing.T) {
	for name, body := range map[string]string{
		"a login page":   "<!DOCTYPE html><html><script>window.app = {\"result\":true}</script></html>",
		"half an answer": `{"result":{"result":true},"ti`,
		"half, noticed":  resttest.PHPNotice + `{"result":[{"result":true},{"error":`,
		"another's JSON": resttest.PHPNotice + `{"status":"ok"}`,
		"a list":         "\ufeff" + `[{"result":true}]`,
		"only a mark":    "\ufeff",
		"a notice":       resttest.PHPNotice,
	} {
		play := &script{answers: []func(*http.Request) (*http.Response, error){says(200, body)}}
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(play.client()))
		err := event(t.Context(), c)
		var refused *APIError
		if !errors.As(err, &refused) || refused.Code != "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
