package pulltest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/b24pull/b24pull/pulltest"
)

// TestObserver_Channels: it is told which channels a connection listens to, by
// the names that the targets of messages have.
func TestObserver_Channels(t *testing.T) {
	seen := 0
	for _, version := range []int{1, 2, 3, 4, 5} {
		observed(t, func(w watched) {
			res, err := w.HTTPClient().Get(subURL(w.T, w.Portal, ""))
			if err != nil {
				w.Fatal(err)
			}
			res.Body.Close()
			synctest.Wait()
			for _, e := range w.take(false) {
				if got := strings.Join(e.Channels, "+"); e.Kind == pulltest.Subscribed && got != "private 1+shared" {
					w.Errorf("version %d: the application's user listens to %q", version, got)
				} else if e.Kind != pulltest.Subscribed && got != "" {
					w.Errorf("version %d: %s tells of the channels %q", version, e.Kind, got)
				}
				seen++
			}
		}, pulltest.WithVersion(version))
	}
	if seen < 10 {
		t.Errorf("only %d events were told", seen)
	}
}
