package b24pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestAnswers_ErrorObjects: an error that is an object has its code and class, whatever
// the status.
func TestAnswers_ErrorObjects(t *testing.T) {
	for _, tt := range classes {
		if tt.code == "" {
			continue
		}
		for _, status := range []int{tt.status, 200} {
			synctest.Test(t, func(t *testing.T) {
				body := fmt.Sprintf(`{"error":{"code":%q,"message":"why","validation":[]},"time":{"finish":1000.5,"operating_reset_at":1100}}`, tt.code)
				s := &script{answers: []func(*http.Request) (*http.Response, error){says(status, body)}}
				err := event(t.Context(), s.retrying(t, WithRetry(Retry{Attempts: 1})))
				want := answerClassOf(tt.code, status)
				var refused *APIError
				if !errors.As(err, &refused) || refused.Code != tt.code || refused.Description != "why" || ClassOf(err) != want {
					t.Errorf("%d: got %v, class %v, want %v", status, err, ClassOf(err), want)
				}
				if knownCode(tt.code) && !errors.Is(err, codes[strings.ToLower(tt.code)]) {
					t.Errorf("%d: %v is not the sentinel", status, err)
				}
			})
		}
	}
}

func answerClassOf(code string, status int) Class {
	class, _ := answerClass(code, status)
	return class
}

// TestAnswers_ErrorObjectRefreshes: also with HTTP 200 an expired token is refreshed,
// and the call repeated.
func TestAnswers_ErrorObjectRefreshes(t *testing.T) {
	for _, status := range []int{401, 200} {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(status, `{"error":{"code":"expired_token","message":"old"}}`), good}}
		source := &refresher{tokens: []string{resttest.Mark + "1", resttest.Mark + "2"}}
		c := mustNew(t, OAuth("portal.example", source), WithHTTPClient(s.client()))
		if err := event(t.Context(), c); err != nil || source.refreshed != 1 {
			t.Errorf("%d: %v, refreshed %d times", status, err, source.refreshed)
		}
	}
}

// TestAnswers_Validation: what is not valid is in the error, in whatever shape it
// comes, bounded, on one line and without secrets.
func TestAnswers_Validation(t *testing.T) {
	many := strings.Repeat(`{"field":"f","message":"m"},`, 1000)
	long := strings.Repeat("a word ", 2000)
	tests := []struct {
		name, validation string
		want             []InvalidField
		text             string
	}{
		{"objects", `[{"field":"TITLE","message":"is empty"},{"message":"too many"}]`, []InvalidField{{"TITLE", "is empty"}, {"", "too many"}}, `; not valid: "TITLE": "is empty", "too many" (HTTP 400)`},
		{"texts", `["is empty"]`, []InvalidField{{"", "is empty"}}, `"is empty"`},
		{"a text", `"is empty"`, []InvalidField{{"", "is empty"}}, `"is empty"`},
		{"by field", `{"B":"is empty","A":["too long","and more"],"C":{"message":"odd","field":"D"}}`, []InvalidField{{"A", "too long"}, {"B", "is empty"}, {"D", "odd"}}, `"A": "too long", "B": "is empty", "D": "odd"`},
		{"numbers", `[{"field":7,"message":8}]`, []InvalidField{{"7", "8"}}, `"7": "8"`},
		{"nothing", `[]`, nil, ""},
		{"null", `null`, nil, ""},
		{"odd", `[null,[],{},{"field":null},7,[[["deep"]]]]`, []InvalidField{{"", "7"}, {"", "deep"}}, ""},
		{"lines", `[{"field":"A\nB","message":"C\r\nD\u001b[2J"}]`, []InvalidField{{"A B", `C D\x1b[2J`}}, `"A B": "C D\\x1b[2J"`},
		{"a secret", `[{"field":"` + resttest.AccessToken + `","message":"` + resttest.AccessToken + ` x"}]`, []InvalidField{{"[redacted]", "[redacted] x"}}, ""},
		{"many", `[` + strings.TrimSuffix(many, ",") + `]`, slices.Repeat([]InvalidField{{"f", "m"}}, maxInvalid), ""},
		{"long", `[{"field":"` + long + `","message":"` + long + `"}]`, []InvalidField{{long[:fieldLimit] + "…", long[:messageLimit] + "…"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: []func(*http.Request) (*http.Response, error){says(400, `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_VALIDATION_REQUIREDFIELDINREQUESTEXCEPTION","message":"not valid","validation":`+tt.validation+`}}`)}}
			err := event(t.Context(), s.retrying(t))
			resttest.CheckError(t, err)
			var refused *APIError
			if !errors.As(err, &refused) || !slices.Equal(refused.Validation(), tt.want) || refused.Code == "" {
				t.Fatalf("got %q of %v", refused.Validation(), err)
			}
			if text := err.Error(); !strings.Contains(text, tt.text) || len(text) > 5000 || strings.ContainsAny(text, "\n\r\x1b") {
				t.Errorf("the text is %.300s…, %d bytes", text, len(text))
			}
		})
	}
}

// TestAnswers_SurroundedErrorObject: whatever PHP writes before it.
func TestAnswers_SurroundedErrorObject(t *testing.T) {
	for _, before := range []string{"\ufeff", "<br />\n<b>Notice</b>: odd in <b>/home/x.php</b> on line <b>7</b><br />\n", "\ufeff\n "} {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(200, before+`{"error":{"code":"NO_AUTH_FOUND","message":"m"}}`)}}
		if err := event(t.Context(), s.retrying(t)); !errors.Is(err, ErrNoAuth) {
			t.Errorf("%q: %v", before, err)
		}
	}
}

// TestAnswers_ErrorObjectBesideResult: an object that says nothing is no error.
func TestAnswers_ErrorObjectBesideResult(t *testing.T) {
	for body, fine := range map[string]bool{
		`{"result":true,"error":{"code":"","message":"","validation":[]}}`: true,
		`{"result":true,"error":{"code":0,"message":null}}`:                true,
		`{"result":true,"error":{"code":"X"}}`:                             false,
		`{"result":true,"error":{"message":"X"}}`:                          false,
		`{"result":true,"error":{"validation":["X"]}}`:                     false,
		`{"error":{"code":"","message":""}}`:                               false,
		`{"error":{}}`:                                                     false,
		`{"error":[]}`:                                                     false,
	} {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(200, body)}}
		if err := event(t.Context(), s.retrying(t)); (err == nil) != fine {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestAnswers_NewerAddresses: calls go below the address that was given, whatever of a
// call was pasted with it.
func TestAnswers_NewerAddresses(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	for _, hook := range []string{portal.Webhook(), portal.APIWebhook()} {
		want := strings.TrimPrefix(hook, portal.URL()) + "pull.config.get"
		for _, end := range []string{"", "profile", "profile/", "profile.json", "pull.config.get", "crm.deal.list.xml", "CRM.Deal.List"} {
			var paths []string
			hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
				paths = append(paths, r.URL.Path)
				return portal.HTTPClient().Transport.RoundTrip(r)
			})}
			for _, address := range []string{hook + end, strings.TrimSuffix(hook+end, "/")} {
				c, err := New(Webhook(address), WithHTTPClient(hc), WithRetry(Retry{Attempts: 1}))
				if err != nil {
					t.Fatalf("with %q at the end: %v", end, err)
				}
				if cfg, err := c.GetConfig(t.Context(), true); err != nil || cfg.Channels.Private == nil {
					t.Errorf("with %q at the end: %v", end, err)
				}
				_, err = c.GetApplicationConfig(t.Context(), true)
				if !errors.Is(err, ErrWrongAuthType) {
					t.Errorf("with %q at the end: %v", end, err)
				}
				if text := fmt.Sprint(err, c) + fmt.Sprintf("%+v %#v", c, Webhook(address)); strings.Contains(text, pulltest.SecretMark) {
					t.Error("the code is told")
				}
			}
			if len(paths) != 4 || paths[0] != want || paths[2] != want {
				t.Errorf("with %q at the end: %d calls, to other addresses", end, len(paths))
			}
		}
	}
	c := mustNew(t, OAuth(portal.URL()+"/rest/api", resttest.Static(portal.AccessToken())), WithHTTPClient(portal.HTTPClient()))
	if _, err := c.GetApplicationConfig(t.Context(), true); err != nil || c.base.now().Path != "/rest/api/" {
		t.Errorf("OAuth: %v", err)
	}
	if _, err := c.GetConfig(t.Context(), true); !errors.Is(err, ErrWrongAuthType) {
		t.Errorf("OAuth: %v", err)
	}
}

// TestAnswers_RetryAfterHeader: a refusal that says when to come again is obeyed,
// whatever Retry says, and within bounds.
func TestAnswers_RetryAfterHeader(t *testing.T) {
	const gateway, limit = "<html>", `{"error":"QUERY_LIMIT_EXCEEDED"}`
	tests := []struct {
		name        string
		status      int
		body, value string
		least       time.Duration
	}{
		{"a gateway", 503, gateway, "40", 40 * time.Second},
		{"too many", 429, gateway, "40", 40 * time.Second},
		{"the portal", 503, limit, "40", 40 * time.Second},
		{"an object", 200, `{"error":{"code":"QUERY_LIMIT_EXCEEDED"}}`, "40", 40 * time.Second},
		{"a date", 503, gateway, "2000", 2000 * time.Second}, // see below
		{"huge", 503, gateway, "99999999999999999999999", 15 * time.Minute},
		{"little", 503, gateway, "1", time.Second},
		{"negative", 503, gateway, "-40", time.Second},
		{"garbage", 503, gateway, "in a while", time.Second},
		{"paused", 429, `{"error":"OPERATION_TIME_LIMIT"}`, "40", 40 * time.Second},
		{"paused for longer", 429, `{"error":"OPERATION_TIME_LIMIT","time":{"finish":1000,"operating_reset_at":1100}}`, "40", 101 * time.Second},
	}
	for _, tt := range tests {
		for _, shift := range []time.Duration{-time.Hour, 0, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				value, least := tt.value, min(tt.least, 15*time.Minute)
				refusal := func(r *http.Request) (*http.Response, error) {
					resp := resttest.JSONResponse(r, tt.status, tt.body)
					clock := time.Now().Add(shift)
					resp.Header.Set("Date", clock.UTC().Format(http.TimeFormat))
					if tt.name == "a date" {
						value = clock.Add(tt.least).UTC().Format(http.TimeFormat)
					}
					resp.Header.Set("Retry-After", value)
					return resp, nil
				}
				s := &script{answers: []func(*http.Request) (*http.Response, error){refusal, good}}
				_, err := s.retrying(t, WithRetry(Retry{Max: 5 * time.Second}), WithLimiter(nil)).Call(t.Context(), "some.get", nil, nil, Idempotent())
				if err != nil || len(s.came) != 2 || s.came[1] < least || s.came[1] > least+least/5 {
					t.Errorf("%s, shift %v: %v, calls at %v, want %v", tt.name, shift, err, s.came, least)
				}
				s = &script{answers: []func(*http.Request) (*http.Response, error){refusal}}
				_, err = s.retrying(t, WithRetry(Retry{Attempts: 1})).Call(t.Context(), "some.get", nil, nil, Idempotent())
				var refused *APIError
				if !errors.As(err, &refused) || refused.RetryAfter > 15*time.Minute || (refused.RetryAfter > 0) != (tt.least > time.Second || tt.name == "little") {
					t.Errorf("%s: %v", tt.name, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				start := time.Now()
				if err := event(ctx, s.retrying(t)); err == nil || time.Since(start) > 0 {
					t.Errorf("%s: waits for longer than the context: %v after %v", tt.name, err, time.Since(start))
				}
			})
		}
	}
}

// TestAnswers_UntoldReset: a refusal that does not tell the time waits for what the
// method's last answer told.
func TestAnswers_UntoldReset(t *testing.T) {
	for _, shift := range []time.Duration{-time.Hour, 0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithClockShift(shift))
			defer portal.Close()
			c := mustNew(t, OAuth(portal.URL(), resttest.Static(portal.AccessToken())), WithHTTPClient(portal.HTTPClient()), WithRetry(Retry{}))
			if _, err := c.GetApplicationConfig(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			reset := time.Now().Add(10 * time.Minute)
			time.Sleep(4 * time.Minute)
			portal.Misbehave(pulltest.REST, pulltest.RESTError(429, "OPERATION_TIME_LIMIT").WithoutTime())
			if err := event(t.Context(), c); !errors.Is(err, ErrOperationTimeLimit) {
				t.Errorf("a method of which nothing was told: %v", err)
			}
			time.AfterFunc(time.Minute, func() { portal.Behave(pulltest.REST) })
			calls := portal.Stats().Calls
			done := make(chan struct{})
			go func() { // a second caller is not sent into the pause
				defer close(done)
				time.Sleep(2 * time.Minute)
				var refused *APIError
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := c.GetApplicationConfig(ctx, true); !errors.As(err, &refused) || refused.RetryAfter < 6*time.Minute {
					t.Errorf("meanwhile: %v", err)
				}
			}()
			_, err := c.GetApplicationConfig(t.Context(), true)
			if late := time.Since(reset); err != nil || late < 0 || late > 2*time.Second {
				t.Errorf("shift %v: %v, %v after the reset", shift, err, late)
			}
			<-done
			if n := portal.Stats().Calls - calls; n != 1 {
				t.Errorf("%d calls arrived", n)
			}
		})
	}
}

// TestAnswers_UntoldResetIsOver: a reset that has passed says nothing, and those that
// are over make room for others.
func TestAnswers_UntoldResetIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(200, `{"result":true,"time":{"finish":1000,"operating_reset_at":1060}}`), says(429, `{"error":"OPERATION_TIME_LIMIT"}`)}}
		c := s.retrying(t)
		event(t.Context(), c)
		time.Sleep(2 * time.Minute)
		start := time.Now()
		if err := event(t.Context(), c); !errors.Is(err, ErrOperationTimeLimit) || time.Since(start) > 0 || len(s.came) != 2 {
			t.Errorf("%v after %v, calls at %v", err, time.Since(start), s.came)
		}
		s.answers = s.answers[:1]
		for round := range 2 {
			for i := range maxResets + 10 {
				if _, err := c.Call(t.Context(), fmt.Sprintf("m%d.x%d", round, i), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(c.pauses.resets); n > maxResets {
				t.Errorf("%d methods are remembered", n)
			}
			time.Sleep(time.Hour)
		}
		if c.pauses.resets[fmt.Sprintf("m1.x%d", maxResets+9)].IsZero() {
			t.Error("what is over makes no room")
		}
	})
}
