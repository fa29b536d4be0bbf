package pulltest_test

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// burst calls until it is refused, and returns how many calls were not.
func burst(t *testing.T, p *pulltest.Portal, method string) (n int, refused answer, status int) {
	t.Helper()
	for ; n < 100; n++ {
		if status, refused = call(t, p, p.Webhook()+method, params{}); status != 200 {
			return n, refused, status
		}
	}
	t.Fatal("no call was refused")
	return
}

func TestLimits_QueryLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		check := func(when string, want int) {
			t.Helper()
			n, a, status := burst(t, p, "pull.config.get")
			if n != want || status != 503 || a.Error != "QUERY_LIMIT_EXCEEDED" || a.Description != "Too many requests" {
				t.Errorf("%s: %d calls, then %d %s", when, n, status, a.Error)
			}
		}
		check("full", 50)
		time.Sleep(499 * time.Millisecond)
		check("before one has drained", 0)
		time.Sleep(time.Millisecond)
		check("when one has drained", 1)
		time.Sleep(5 * time.Second)
		check("after 5 s", 10)
		time.Sleep(time.Hour)
		check("after an hour", 50)
		if status, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": "guess"}); status != 503 {
			t.Errorf("who has no token: %d %s", status, a.Error)
		}
		if s := p.Stats(); s.Calls != 117 || s.QueryLimited != 6 {
			t.Errorf("%d calls, %d refused", s.Calls, s.QueryLimited)
		}
	}, pulltest.WithQueryLimit(50, 2))
}

func TestLimits_QueryLimitOverSockets(t *testing.T) {
	p := pulltest.NewPortal(pulltest.WithQueryLimit(3, 1e-6))
	defer p.Close()
	if n, a, status := burst(t, p, "pull.config.get"); n != 3 || status != 503 {
		t.Errorf("%d calls, then %d %s", n, status, a.Error)
	}
}

func TestLimits_OperatingLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		number := func(a answer, name string) float64 {
			t.Helper()
			n, ok := a.Time[name].(float64)
			if !ok {
				t.Fatalf("%s is %v", name, a.Time[name])
			}
			return n
		}
		clock := func() float64 { return float64(time.Now().Add(time.Hour).Unix()) }
		start := clock()
		time.Sleep(30 * time.Second)
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		if got := number(a, "operating"); got != 120 {
			t.Errorf("operating after one call: %v", got)
		}
		if got := number(a, "operating_reset_at"); got != start+600 {
			t.Errorf("the basket ends at %v, not at %v", got, start+600)
		}
		time.Sleep(time.Minute) // the next basket
		n, a, status := burst(t, p, "pull.config.get")
		if n != 3 || status != 429 || a.Error != "OPERATION_TIME_LIMIT" || number(a, "operating") != 480 || number(a, "operating_reset_at") != start+600 {
			t.Errorf("%d calls, then %d %+v", n, status, a)
		}
		if status, a := call(t, p, p.Webhook()+"pull.channel.public.list", params{"USERS": []int{1}}); status != 200 {
			t.Errorf("another method: %d %s", status, a.Error)
		}
		time.Sleep(time.Duration(start+600-clock())*time.Second - time.Second)
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 429 {
			t.Errorf("a second early: %d", status)
		}
		time.Sleep(time.Second)
		if n, a, _ := burst(t, p, "pull.config.get"); n != 1 || number(a, "operating_reset_at") != start+660 {
			t.Errorf("at operating_reset_at: %d calls, then until %v", n, number(a, "operating_reset_at")-start)
		}
		if s := p.Stats(); s.TimeLimited != 3 {
			t.Errorf("%d refused", s.TimeLimited)
		}
	}, pulltest.WithOperatingLimit(480*time.Second, 120*time.Second), pulltest.WithClockShift(time.Hour), pulltest.WithPingInterval(0))
}
