package jstest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestClient: the client hears what is sent to its user, and its own.
func TestClient(t *testing.T) {
	for _, version := range []int{4, 5} {
		portal := pulltest.NewPortal(pulltest.WithVersion(version))
		defer portal.Close()
		c := jstest.Start(t, jstest.Login{
			Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
			AccessToken: portal.Token(2).AccessToken, User: 2,
		}, 1, 2)
		if c.Version != version {
			t.Errorf("version %d, want %d", c.Version, version)
		}
		if err := c.Publish(t.Context(), "hello", map[string]any{"n": 7}, time.Minute, 2); err != nil {
			t.Fatal(err)
		}
		for len(c.Received()) == 0 && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		if got := c.Received()[0]; got.Command != "hello" || string(got.Params) != `{"n":7}` || got.Sender != 1 {
			t.Errorf("got %+v", got)
		}
		if err := c.Flood(t.Context(), 2, 300, 100, 2); err != nil {
			t.Error(err)
		}
		for portal.Stats().ClientMessages < 301 && t.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		if troubles := c.Troubles(); len(troubles) > 0 {
			t.Errorf("troubles: %q", troubles)
		}
	}
}
