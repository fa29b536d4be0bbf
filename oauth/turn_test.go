package oauth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/resttest"
)

// occupy takes a place as soon as there is one.
func occupy(t *testing.T, g *gate.Gate, d time.Duration) {
	go func() {
		p, err := g.Enter(t.Context(), gate.Connect, "other.example", nil)
		if err != nil {
			t.Error(err)
			return
		}
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(time.Second, time.Until(end))) {
			p.LeaveWithin(gate.Patience)
		}
		p.Leave()
	}()
}

// TestTurn_TimeStandsStill: neither a call nor a refresh has failed that waits
// for its turn for longer than it may take, whoever else waits for the same
// refresh; and the token is not locked meanwhile.
func TestTurn_TimeStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 10 * time.Minute
		server, store := &rotating{took: 20 * time.Second}, new(MemoryStore)
		ts := keep(t, server, store)
		if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
			t.Fatal(err)
		}
		g := gate.New(1)
		fill := sync.OnceFunc(func() {
			occupy(t, g, wait)
			for waiting := 0; waiting == 0; _, waiting = g.Counts() {
				time.Sleep(time.Millisecond)
			}
		})
		portal := b24pull.WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if _, generation := server.counts(); generation == 0 {
				fill() // before the refresh
				return resttest.JSONResponse(r, 401, map[string]any{"error": "expired_token"}), nil
			}
			return resttest.JSONResponse(r, 200, `{"result":`+resttest.MinimalConfig+`}`), nil
		})})
		client := mustNew(t, b24pull.OAuth("portal.example", ts.Source("member1")), portal, b24pull.WithLimiter(nil))
		results := make(chan error, 3)
		call := func(ctx context.Context) {
			_, err := client.GetApplicationConfig(ctx, true)
			results <- err
		}
		gated := gate.With(t.Context(), g, nil)
		start := time.Now()
		go call(gated)
		time.Sleep(time.Second)
		go call(gated)       // which waits to be sent
		go call(t.Context()) // like that of a handler, which passes no gate
		time.Sleep(time.Minute)
		within, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ts.Update(within, "member1", func(t *Token) error { t.Scope = []string{"crm"}; return nil }); err != nil {
			t.Errorf("another change of the token: %v", err)
		}
		brief, cancel := context.WithTimeout(gated, time.Second)
		defer cancel()
		if _, err := client.GetApplicationConfig(brief, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits no longer: %v", err)
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		if took := time.Since(start); took < wait || took > wait+time.Minute {
			t.Errorf("it took %v", took)
		}
		if asked, _ := server.counts(); asked != 1 {
			t.Errorf("%d refreshes", asked)
		}
		if taken, waiting := g.Counts(); taken+waiting != 0 {
			t.Errorf("%d are taken, %d wait", taken, waiting)
		}
	})
}

// TestTurn_Refresh: that of an Application has its minute from its turn on.
func TestTurn_Refresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 50 * time.Second}
		app := testApp(server.transport(nil))
		g := gate.New(1)
		occupy(t, g, 10*time.Minute)
		synctest.Wait()
		if _, err := app.Refresh(gate.With(t.Context(), g, nil), server.present()); err != nil {
			t.Error(err)
		}
		server.took = 70 * time.Second
		if _, err := app.Refresh(gate.With(t.Context(), g, nil), server.present()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer after 70 seconds: %v", err)
		}
	})
}

// TestTurn_Abandoned: a refresh that nobody waits for any more gives up its
// turn, and one that has begun goes on.
func TestTurn_Abandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 20 * time.Second}
		ts := keep(t, server, new(MemoryStore))
		source, old := ts.Source("member1"), bare(server.present())
		g := gate.New(1)
		occupy(t, g, time.Hour)
		synctest.Wait()
		refresh := func(within time.Duration) error {
			ctx, cancel := context.WithTimeout(gate.With(t.Context(), g, nil), within)
			defer cancel()
			_, err := source.Refresh(ctx, old)
			return err
		}
		for range 2 {
			go refresh(time.Minute)
			if err := refresh(10 * time.Minute); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			start := time.Now()
			if err := ts.Wait(t.Context()); err != nil || time.Since(start) > 0 {
				t.Errorf("waited for %v: %v", time.Since(start), err)
			}
		}
		if asked, _ := server.counts(); asked != 0 {
			t.Errorf("%d refreshes", asked)
		}
		if _, waiting := g.Counts(); waiting != 0 {
			t.Errorf("%d wait", waiting)
		}
		time.Sleep(time.Hour)
		if err := refresh(time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := ts.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if asked, generation := server.counts(); asked != 1 || generation != 1 {
			t.Errorf("%d refreshes, generation %d", asked, generation)
		}
	})
}

// TestTurn_LateLock: who gets the lock when his turn has passed, since another
// process had it for long, waits for the next, and neither has he failed nor
// those who wait for him.
func TestTurn_LateLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{took: 20 * time.Second}, new(MemoryStore)
		ts := keep(t, server, store)
		old := bare(server.present())
		held, err := store.Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(gate.Patience+time.Second, held.Unlock)
		g := gate.New(1)
		results := make(chan error, 2)
		refresh := func(ctx context.Context) {
			ctx, cancel := gate.WithTimeout(ctx, 30*time.Second, nil)
			defer cancel()
			_, err := ts.Source("member1").Refresh(ctx, old)
			results <- err
		}
		go refresh(gate.With(t.Context(), g, nil))
		synctest.Wait()
		if taken, _ := g.Counts(); taken != 1 {
			t.Errorf("%d are taken: it was to have its turn before the lock", taken)
		}
		go refresh(t.Context())
		occupy(t, g, 10*time.Minute)
		start := time.Now()
		for range cap(results) {
			if err := <-results; err != nil || time.Since(start) < 10*time.Minute {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
	})
}
