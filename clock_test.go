package b24pull

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestClock_Shift: a portal whose clock is off, or which does not tell its time.
func TestClock_Shift(t *testing.T) {
	const hour, second = time.Hour, time.Second
	unix := func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
	atom := func(at time.Time) string {
		return `"` + at.In(time.FixedZone("", 3*3600)).Format(time.RFC3339) + `"`
	}
	quoted := func(at time.Time) string { return `"` + unix(at) + `"` }
	fraction := func(at time.Time) string { return unix(at) + ".25" }
	only := func(text string) func(time.Time) string { return func(time.Time) string { return text } }
	type fields map[string]func(time.Time) string
	tests := []struct {
		name   string
		ahead  time.Duration // the portal's clock
		took   time.Duration // until it has answered
		config fields
		time   fields
		want   time.Duration
	}{
		{"serverTime", hour, second, fields{"serverTime": unix}, nil, hour},
		{"serverTime as text", hour, second, fields{"serverTime": atom}, nil, hour},
		{"behind", -hour, second, fields{"serverTime": unix}, nil, -hour},
		{"serverTime before time", hour, second, fields{"serverTime": unix}, fields{"finish": only("1")}, hour},
		{"serverTime 0", hour, second, fields{"serverTime": only("0")}, fields{"finish": unix}, hour},
		{"finish", hour, second, nil, fields{"start": only("1"), "finish": fraction}, hour + second/4},
		{"finish as a string", hour, second, nil, fields{"finish": quoted}, hour},
		{"finish before date_finish", hour, second, nil, fields{"finish": unix, "date_finish": only(`"2001-01-01T00:00:00Z"`)}, hour},
		{"date_finish", hour, second, nil, fields{"date_finish": atom}, hour},
		{"date_finish, finish unreadable", hour, second, nil, fields{"finish": only(`{"a":1}`), "date_finish": atom}, hour},
		{"no time", hour, second, nil, nil, 0},
		{"an unreadable time", hour, second, nil, fields{"finish": only(`"noon"`), "date_finish": only("true")}, 0},
		{"only the start", hour, second, nil, fields{"start": unix}, 0},
		{"a little ahead", 2*second - 1, 0, nil, fields{"finish": func(at time.Time) string { return fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond()) }}, 0},
		{"two seconds ahead", 2 * second, 0, fields{"serverTime": unix}, nil, 2 * second},
		{"less than the call took", 9 * second, 10 * second, fields{"serverTime": unix}, nil, 0},
		{"as much as the call took", -10 * second, 10 * second, fields{"serverTime": unix}, nil, -10 * second},
		{"beyond what a duration holds", 0, second, fields{"serverTime": only("253402300799")}, nil, 1<<63 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
					time.Sleep(tt.took)
					now := time.Now().Add(tt.ahead)
					object := func(text string, add fields) string {
						for name, value := range add {
							text += fmt.Sprintf(`,%q:%s`, name, value(now))
						}
						return text + "}"
					}
					body := `{"result":` + object(strings.TrimSuffix(resttest.MinimalConfig, "}"), tt.config)
					if tt.time != nil {
						body += `,"time":` + object(`{"duration":0.1`, tt.time)
					}
					return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body + "}")), Request: r}, nil
				})
				c := mustNew(t, Webhook("https://portal.example/rest/1/s3cr3thookcode/"), WithHTTPClient(&http.Client{Transport: slow}))
				cfg, err := c.GetConfig(context.Background(), true)
				if err != nil {
					t.Fatal(err)
				}
				if got := cfg.ClockShift(); got != tt.want {
					t.Errorf("shift %v, want %v", got, tt.want)
				}
				var loaded Config
				if err := json.Unmarshal(cfg.Raw(), &loaded); err != nil || loaded.ClockShift() != 0 {
					t.Errorf("loaded again: shift %v, %v", loaded.ClockShift(), err)
				}
				if dumped, again := fmt.Sprintf("%+v", cfg), fmt.Sprintf("%+v", &loaded); dumped != again {
					t.Errorf("the shift shows: %s, loaded again %s", dumped, again)
				}
			})
		})
	}
	if (*Config)(nil).ClockShift() != 0 {
		t.Error("nothing has a shift")
	}
}

// TestClock_ShiftAfterRefresh: what counts is the call that was answered, not
// the one refused before it.
func TestClock_ShiftAfterRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		slowAtFirst := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			status, body := 401, `{"error":"expired_token"}`
			if calls == 1 {
				time.Sleep(10 * time.Second)
			} else {
				status, body = 200, fmt.Sprintf(`{"result":%s,"time":{"finish":%d}}`, resttest.MinimalConfig, time.Now().Add(5*time.Second).Unix())
			}
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})
		c := mustNew(t, OAuth("https://portal.example", &refresher{tokens: []string{"first", "second"}}), WithHTTPClient(&http.Client{Transport: slowAtFirst}))
		cfg, err := c.GetApplicationConfig(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.ClockShift() != 5*time.Second || calls != 2 {
			t.Errorf("shift %v after %d calls", cfg.ClockShift(), calls)
		}
	})
}
