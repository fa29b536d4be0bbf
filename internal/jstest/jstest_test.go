package jstest_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestClient: the client hears what is sent to its user, its own messages too.
func TestClient(t *testing.T) {
	for _, tt := range []struct {
		version int
		polling bool
	}{{4, false}, {4, true}, {5, false}} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			t.Parallel()
			portal := pulltest.NewPortal(pulltest.WithVersion(tt.version))
			t.Cleanup(portal.Close)
			c := jstest.Start(t, jstest.Login{
				Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
				AccessToken: portal.Token(2).AccessToken, User: 2, Polling: tt.polling,
			}, 1, 2)
			if c.Version != tt.version {
				t.Errorf("version %d", c.Version)
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
			if s := portal.Stats(); (s.WebSockets > 0) == tt.polling {
				t.Errorf("%d websockets", s.WebSockets)
			}
			if troubles := c.Troubles(); len(troubles) > 0 {
				t.Errorf("troubles: %q", troubles)
			}
		})
	}
}
