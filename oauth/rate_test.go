package oauth

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// TestStrangers_Rate: however long forged installations go on, the
// authorization server is asked about 60 at once, and then one a second. What
// brings the application_token does not wait for that.
func TestStrangers_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		for i := range crowd {
			d.server.dead[fmt.Sprintf("garbage%d", i)] = true // at once
		}
		w, client := watch(d.tokens.app.HTTPClient)
		d.tokens.app.HTTPClient = client
		minutes := 5
		if testing.Short() {
			minutes = 2
		}
		began, n := time.Now(), 0
		for time.Since(began) < time.Duration(minutes)*time.Minute && w.all < crowd {
			d.flood(t.Context(), 20, func(int) url.Values {
				n++
				return forgery(n%crowd, fmt.Sprintf("m%d", n))
			})()
		}
		if most := 60 + 60*minutes + 20; w.all > most || w.all < most/2 {
			t.Errorf("%d requests in %v, want %d at most", w.all, time.Since(began), most)
		}
		before := time.Now()
		d.want("installed again", d.handle(installOf("second", "app")), nil, "second-1 app")
		if took := time.Since(before); took != 0 {
			t.Errorf("the portal has waited %v", took)
		}
	})
}

// TestStrangers_InTurn: of those who keep their distance each waits for those
// who were there before, however many come behind.
func TestStrangers_InTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		ctx, stop := context.WithCancel(t.Context())
		waited := make(chan time.Duration)
		for range maxAsking {
			go func() {
				for {
					began := time.Now()
					if d.tokens.keepDistance(ctx, strangers) != nil {
						return
					}
					waited <- time.Since(began)
				}
			}()
		}
		for n := range 1000 {
			if w := <-waited; w > maxAsking*askDistance {
				t.Fatalf("the %dth has waited %v", n, w)
			}
		}
		stop()
		go func() {
			for range waited {
			}
		}()
		synctest.Wait()
		close(waited)
	})
}
