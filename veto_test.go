package b24pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// sentTo counts the requests that a host got.
func (m *movable) sentTo(host string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, request := range m.seen {
		if strings.Contains(request, " https://"+host+"/") {
			n++
		}
	}
	return n
}

func bothAuths() map[string]Auth {
	return map[string]Auth{"OAuth": OAuth("portal.example", resttest.Static(resttest.AccessToken)), "webhook": Webhook("https://portal.example/rest/1/" + resttest.HookCode + "/")}
}

// TestVeto: the other host gets nothing, the application is asked once a
// minute, and what it allows is followed.
func TestVeto(t *testing.T) {
	for name, auth := range bothAuths() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &movable{to: map[string]string{"portal.example": "https://new.example/rest/"}}
				no := errors.New("the administrator has to confirm it first")
				asked, allowed := 0, false
				c := mustNew(t, auth, WithHTTPClient(m.client()), WithLimiter(nil), WithRetry(Retry{}), WithMoved(func(_ context.Context, from, to string) error {
					if asked++; from != "https://portal.example" || to != "https://new.example" || m.sentTo("new.example") > 0 {
						t.Errorf("asked about %s and %s after %d requests there", from, to, m.sentTo("new.example"))
					}
					if allowed {
						return nil
					}
					return no
				}))
				for minute := range 3 {
					for range 10 {
						err := event(t.Context(), c)
						var vetoed *MoveError
						if !errors.Is(err, no) || !errors.As(err, &vetoed) || ClassOf(err) != ClassFinal || vetoed.From != "https://portal.example" ||
							vetoed.To != "https://new.example" || vetoed.Method != "pull.application.event.add" {
							t.Fatalf("got %v of class %v", err, ClassOf(err))
						}
						resttest.CheckError(t, err)
						time.Sleep(vetoPause / 10)
					}
					if asked != minute+1 || m.sentTo("new.example") != 0 || m.sentTo("portal.example") != 10*asked || c.Portal() != "https://portal.example" {
						t.Errorf("asked %d times, %d and %d requests, the portal is %s", asked, m.sentTo("portal.example"), m.sentTo("new.example"), c.Portal())
					}
				}
				allowed = true
				for range 3 {
					if err := event(t.Context(), c); err != nil {
						t.Error(err)
					}
				}
				if asked != 4 || m.sentTo("new.example") != 3 || c.Portal() != "https://new.example" {
					t.Errorf("asked %d times, %d requests, the portal is %s", asked, m.sentTo("new.example"), c.Portal())
				}
			})
		})
	}
}

// TestVeto_KeepsSecrets: the function's error may hold anything, and its class
// does not count.
func TestVeto_KeepsSecrets(t *testing.T) {
	secrets := map[string]string{"OAuth": resttest.AccessToken, "webhook": resttest.HookCode}
	for name, auth := range bothAuths() {
		for _, refusal := range []error{errors.New("no: " + secrets[name]), &net.OpError{Op: "dial", Err: errors.New("refused")}, ErrQueryLimit,
			&APIError{Code: "QUERY_LIMIT_EXCEEDED", Status: 503}, context.Canceled} {
			m := &movable{to: map[string]string{"portal.example": "https://new.example/rest/?" + resttest.Mark}}
			c := mustNew(t, auth, WithHTTPClient(m.client()), WithRetry(Retry{}), WithMoved(func(context.Context, string, string) error { return refusal }))
			err := event(t.Context(), c)
			resttest.CheckError(t, err)
			if ClassOf(err) != ClassFinal || !errors.Is(err, refusal) || len(m.seen) != 1 {
				t.Errorf("%s: %v of class %v after %d requests", name, err, ClassOf(err), len(m.seen))
			}
		}
	}
}

// TestVeto_SpendsNoToken: where the function hands on what a portal has answered
// it, that is no answer to the call.
func TestVeto_SpendsNoToken(t *testing.T) {
	for _, answered := range []error{ErrExpiredToken, ErrNoAuth, &APIError{Code: "expired_token", Status: 401}} {
		m := &movable{to: map[string]string{"portal.example": "https://new.example/"}}
		source := &refresher{tokens: []string{"a", "b"}}
		c := mustNew(t, OAuth("portal.example", source), WithHTTPClient(m.client()), WithMoved(func(context.Context, string, string) error {
			return fmt.Errorf("the new address: %w", answered)
		}))
		var vetoed *MoveError
		if err := event(t.Context(), c); !errors.As(err, &vetoed) || source.refreshed != 0 || len(m.seen) != 1 {
			t.Errorf("%v: %v, %d refreshes and %d requests", answered, err, source.refreshed, len(m.seen))
		}
	}
}

// TestVeto_AskedInTime: who has left does not ask any more.
func TestVeto_AskedInTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := approvals{asked: func(context.Context, string, string) error { t.Error("asked"); return nil }}
	if err := a.approve(ctx, move{"https://portal.example", "https://new.example"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestVeto_OnTheWay: each step of a way is asked for, before it is gone.
func TestVeto_OnTheWay(t *testing.T) {
	m := &movable{to: map[string]string{"portal.example": "https://new.example/", "new.example": "https://evil.example/"}}
	var asked []string
	c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(_ context.Context, from, to string) error {
		if asked = append(asked, from+" "+to); to == "https://evil.example" {
			return errors.New("no")
		}
		return nil
	}))
	var vetoed *MoveError
	for range 2 {
		if err := event(t.Context(), c); !errors.As(err, &vetoed) || vetoed.From != "https://new.example" {
			t.Errorf("got %v", err)
		}
	}
	if len(asked) != 2 || m.sentTo("evil.example") != 0 || c.Portal() != "https://portal.example" {
		t.Errorf("asked %q, %d requests, the portal is %s", asked, m.sentTo("evil.example"), c.Portal())
	}
}

// TestVeto_AllowedOnce: a move that was allowed is not asked for again while the new
// address does not answer, but one away from an address that the portal has
// come back to is.
func TestVeto_AllowedOnce(t *testing.T) {
	m := &movable{to: map[string]string{"portal.example": "https://new.example/"}}
	asked := 0
	c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithLimiter(nil), WithMoved(func(context.Context, string, string) error { asked++; return nil }))
	move := func(from, to string) {
		m.to = map[string]string{from: "https://" + to + "/"}
	}
	m.to["new.example"] = "https://new.example/login" // no portal
	for range 3 {
		if err := event(t.Context(), c); err == nil || asked != 1 {
			t.Errorf("%v, asked %d times", err, asked)
		}
	}
	for i, way := range [][2]string{{"portal.example", "new.example"}, {"new.example", "portal.example"}, {"portal.example", "new.example"}} {
		move(way[0], way[1])
		if err := event(t.Context(), c); err != nil || asked != i+1 || c.Portal() != "https://"+way[1] {
			t.Errorf("%v, asked %d times, the portal is %s", err, asked, c.Portal())
		}
	}
	for i := range 3 * maxVerdicts {
		move("new.example", "portal.example")
		m.to["portal.example"] = "https://host" + strconv.Itoa(i) + ".example/"
		m.to["host"+strconv.Itoa(i)+".example"] = "/login"
		if err := event(t.Context(), c); err == nil {
			t.Error("a login page was taken for a portal")
		}
	}
	if n := len(c.base.moves.verdicts); n > maxVerdicts {
		t.Errorf("%d moves are remembered", n)
	}
}

// TestVeto_AskedOnce: of many calls at once one asks. If its context ends while
// it does, another asks, and each caller waits for no longer than its own
// context lasts.
func TestVeto_AskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &movable{to: map[string]string{"portal.example": "https://new.example/"}}
		var asked atomic.Int32
		answer := make(chan error)
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithLimiter(nil), WithMoved(func(ctx context.Context, _, _ string) error {
			asked.Add(1)
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		start := time.Now()
		var wg sync.WaitGroup
		short := func(d time.Duration) func() {
			return func() {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				if err := event(ctx, c); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != d {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			}
		}
		wg.Go(short(5 * time.Second))
		synctest.Wait()
		no := errors.New("no")
		for range 20 {
			wg.Go(func() {
				if err := event(t.Context(), c); !errors.Is(err, no) {
					t.Error(err)
				}
			})
		}
		wg.Go(short(3 * time.Second))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times, want 2: the first one left", n)
		}
		answer <- no
		wg.Wait()
		if n := asked.Load(); n != 2 || m.sentTo("new.example") != 0 {
			t.Errorf("asked %d times, %d requests", n, m.sentTo("new.example"))
		}
	})
}

// TestVeto_AsksThePortal: a function that calls the portal it decides about does
// not wait for itself, and one that panics leaves nobody waiting.
func TestVeto_AsksThePortal(t *testing.T) {
	m := &movable{to: map[string]string{"portal.example": "https://new.example/"}}
	var c *Client
	c = mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(ctx context.Context, _, _ string) error { return event(ctx, c) }))
	if err := event(t.Context(), c); err == nil || !strings.Contains(err.Error(), "has called the portal itself") || m.sentTo("new.example") != 0 {
		t.Errorf("got %v", err)
	}
	angry := true
	c = mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(m.client()), WithMoved(func(context.Context, string, string) error {
		if angry {
			panic("no")
		}
		return nil
	}))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		event(t.Context(), c)
	}()
	angry = false
	if err := event(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestVeto_WithMovedNil(t *testing.T) {
	if _, err := New(OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithMoved(nil)); err == nil {
		t.Error("nil was taken")
	}
}
