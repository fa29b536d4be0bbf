package pulltest_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// heldIn is what a poll from the very beginning is answered.
func heldIn(t *testing.T, p *pulltest.Portal) string {
	t.Helper()
	res, err := p.HTTPClient().Get(subURL(t, p, strings.Repeat("0", 26)) + "&tag=0&time=Thu,%2001%20Jan%201970%2000:00:01%20GMT")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestHistory_Before: what WithHistory gives is there for whoever asks, older
// than the portal by its clock, in the channel that it names; the channels that
// get nothing have the portal's own. It is back after a reset, and counted and
// observed by nobody.
func TestHistory_Before(t *testing.T) {
	const own = `"module_id":"pulltest","command":"before"`
	for _, version := range []int{1, 2, 3, 4, 5} {
		for _, test := range []struct {
			before    []pulltest.Message
			own, user int // how many of each kind the application's user gets
		}{
			{nil, 2, 0},
			{[]pulltest.Message{{Command: "old"}}, 1, 1},
			{[]pulltest.Message{{Command: "old", To: pulltest.Shared}, {Command: "old", Expiry: time.Hour}}, 0, 2},
			{[]pulltest.Message{{Command: "old", User: 2}, {Command: "old", To: pulltest.UserPrivate}}, 2, 0},
		} {
			observed(t, func(w watched) {
				w.take(false)
				begin, newest := time.Now().Add(time.Hour), ""
				for _, when := range []string{"at first", "after a reset"} {
					body := heldIn(w.T, w.Portal)
					ours, users := strings.Count(body, own), strings.Count(body, `"command":"old"`)
					if ours != test.own || users != test.user {
						w.Errorf("version %d, %s: %d of the portal's own and %d of %v", version, when, ours, users, test.before)
					}
					if then := fmt.Sprintf(`"server_time_unix":%d`, begin.Add(-time.Minute).Unix()); strings.Count(body, then) != ours+users {
						w.Errorf("version %d, %s: not from a minute before", version, when)
					}
					if s := w.Stats(); s.Published+s.Stored > 0 {
						w.Errorf("version %d, %s: counted: %d, %d", version, when, s.Published, s.Stored)
					}
					for _, e := range w.take(false) {
						if e.Kind == pulltest.Published {
							w.Errorf("version %d, %s: told of %s", version, when, e.Command)
						}
					}
					if mid := w.Emit(pulltest.Message{Command: "new"}); mid <= newest {
						w.Errorf("version %d, %s: mid %s comes after %s", version, when, mid, newest)
					} else {
						newest = mid
					}
					synctest.Wait()
					w.take(false)
					if err := w.Reset(); err != nil {
						w.Fatal(err)
					}
				}
			}, pulltest.WithVersion(version), pulltest.WithHistory(test.before...), pulltest.WithClockShift(time.Hour))
		}
	}
}

// TestHistory_Life: what there is from before lives as long as it says, and the
// index of its channel 24 hours from then.
func TestHistory_Life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithChannelLife(48*time.Hour), pulltest.WithPingInterval(0),
			pulltest.WithHistory(pulltest.Message{Command: "short", Expiry: 2 * time.Minute}, pulltest.Message{Command: "long"}))
		defer p.Close()
		has := func(short, long bool) {
			t.Helper()
			if body := heldIn(t, p); strings.Contains(body, "short") != short || strings.Contains(body, "long") != long {
				t.Errorf("after %v: want short %t, long %t", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), short, long)
			}
		}
		time.Sleep(59 * time.Second)
		has(true, true)
		time.Sleep(2 * time.Second)
		has(false, true)
		time.Sleep(24*time.Hour - 3*time.Minute)
		has(false, true)
		time.Sleep(2 * time.Minute)
		has(false, false)
	})
}

// TestHistory_Refused: what cannot be there from before is refused at the start.
func TestHistory_Refused(t *testing.T) {
	for _, test := range []struct {
		message pulltest.Message
		want    string
	}{
		{pulltest.Message{Expiry: -1}, "message 0 is kept for -1ns, and would be gone by now; give it an Expiry above 1m0s"},
		{pulltest.Message{Expiry: time.Minute}, "message 0 is kept for 1m0s"},
		{pulltest.Message{User: 3}, "message 0 is for user 3; WithUsers says who is there"},
		{pulltest.Message{Params: func() {}}, "message 0 is no JSON"},
		{pulltest.Message{Dictionary: make(chan int)}, "message 0 is no JSON"},
	} {
		p, err := pulltest.Start(pulltest.WithHistory(test.message))
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "pulltest: WithHistory: "+test.want) {
			t.Errorf("%+v: %v", test.message, err)
		}
	}
	if p, err := pulltest.Start(pulltest.WithHistory(make([]pulltest.Message, 10_001)...)); err == nil {
		p.Close()
		t.Error("any number is taken")
	}
}
