package jstest_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) {
	// Most of the time the clients wait: half a second after a cut, five until
	// they believe a poll. What the command line says comes later.
	flag.Set("test.parallel", "6")
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, portal *pulltest.Portal, user int, polling bool) *jstest.Client {
	t.Helper()
	return jstest.Start(t, jstest.Login{
		Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
		AccessToken: portal.Token(user).AccessToken, User: int64(user), Polling: polling,
	}, 1, 2)
}

func wait(t *testing.T, until func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("that takes too long")
		}
	}
}

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
			c := start(t, portal, 2, tt.polling)
			if c.Version != tt.version {
				t.Errorf("version %d", c.Version)
			}
			if err := c.Publish(t.Context(), "hello", map[string]any{"n": 7}, time.Minute, 2); err != nil {
				t.Fatal(err)
			}
			wait(t, func() bool { return len(c.Received()) > 0 })
			if got := c.Received()[0]; got.Command != "hello" || string(got.Params) != `{"n":7}` || got.Sender != 1 {
				t.Errorf("got %+v", got)
			}
			if err := c.Flood(t.Context(), 2, 300, 100, 2); err != nil {
				t.Error(err)
			}
			wait(t, func() bool { return portal.Stats().ClientMessages == 301 })
			if s := portal.Stats(); (s.WebSockets > 0) == tt.polling {
				t.Errorf("%d websockets", s.WebSockets)
			}
			if troubles := c.Troubles(); len(troubles) > 0 {
				t.Errorf("troubles: %q", troubles)
			}
		})
	}
}

// TestClient_Calls: what else the client calls on version 5.
func TestClient_Calls(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithVersion(5))
	t.Cleanup(portal.Close)
	two := start(t, portal, 2, false)
	if n, err := two.CountChannels(t.Context()); n != 2 || err != nil {
		t.Errorf("%d channels, %v", n, err)
	}
	if err := two.Watch(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// Whoever asks is online, and the portal is not asked.
	if seen, err := two.LastSeen(t.Context(), 2); len(seen) > 0 || err != nil {
		t.Errorf("last seen: %v, %v", seen, err)
	}
	start(t, portal, 1, false)
	wait(t, func() bool { return len(two.Statuses()) > 0 })
	if got := two.Statuses()[0]; got != (jstest.Status{User: 1, Online: true}) {
		t.Errorf("got %+v", got)
	}
	if seen, err := two.LastSeen(t.Context(), 1, 99); seen[1] != 0 || err != nil {
		t.Errorf("last seen: %v, %v", seen, err)
	}
}
