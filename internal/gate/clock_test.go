package gate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// full takes the one place of a gate for so long, however long that is.
func full(t *testing.T, g *Gate, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	p, err := g.Enter(t.Context(), REST, "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for time.Now().Before(end) {
			time.Sleep(min(time.Second, time.Until(end)))
			p.LeaveWithin(Patience)
		}
		p.Leave()
	}()
}

type usersKey struct{}

// TestWithTimeout: the clock runs but while there is no place.
func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		start := time.Now()
		var told []bool
		outer, cancel := WithTimeout(t.Context(), 20*time.Second, nil)
		defer cancel()
		ctx, cancel := WithTimeout(outer, 10*time.Second, func(waits bool) { told = append(told, waits) })
		defer cancel()
		ctx = context.WithValue(ctx, usersKey{}, "a user's")
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		time.Sleep(4 * time.Second)
		full(t, g, time.Hour)
		p, err := g.Enter(derived, REST, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.Leave()
		if at, ok := ctx.Deadline(); !ok || at.Sub(start) != time.Hour+10*time.Second {
			t.Errorf("the deadline is %v after the start", at.Sub(start))
		}
		<-derived.Done()
		if took := time.Since(start); took != time.Hour+10*time.Second || derived.Err() != context.DeadlineExceeded || context.Cause(derived) != context.DeadlineExceeded {
			t.Errorf("it ended after %v with %v, %v", took, derived.Err(), context.Cause(derived))
		}
		<-outer.Done()
		if took := time.Since(start); took != time.Hour+20*time.Second {
			t.Errorf("the outer one ended after %v", took)
		}
		if len(told) != 2 || !told[0] || told[1] {
			t.Errorf("told %v", told)
		}
		if _, err := g.Enter(ctx, REST, "a", nil); err != nil {
			t.Errorf("there is a place: %v", err)
		}
	})
}

// TestWithTimeout_Ends: what else ends a context does so while its clock stands
// still, and at once.
func TestWithTimeout_Ends(t *testing.T) {
	for name, how := range map[string]func(context.Context) (context.Context, context.CancelFunc, error){
		"the parent": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(ctx)
			ctx, _ = WithTimeout(ctx, time.Second, nil)
			return ctx, cancel, context.Canceled
		},
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := WithTimeout(ctx, time.Second, nil)
			return ctx, cancel, context.Canceled
		},
		"a deadline": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			ctx, _ = WithTimeout(ctx, time.Second, nil)
			return ctx, func() { time.AfterFunc(time.Second, cancel) }, context.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(1)
				full(t, g, 2*time.Minute)
				ctx, end, want := how(t.Context())
				start := time.Now()
				time.AfterFunc(time.Minute, end)
				if _, err := g.Enter(ctx, REST, "a", nil); err != want || ctx.Err() != want || time.Since(start) != time.Minute {
					t.Errorf("%v, %v, after %v", err, ctx.Err(), time.Since(start))
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// TestClocks: the clocks of all who wait for one piece of work stand still while
// it waits for its turn, and only then, whenever they come and go.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		full(t, g, time.Hour)
		var shared Clocks
		work := shared.Context(t.Context())
		entered := make(chan struct{})
		go func() {
			p, err := g.Enter(work, REST, "a", nil)
			if err != nil {
				t.Error(err)
			}
			close(entered)
			p.Leave()
		}()
		start := time.Now()
		after := func(d time.Duration, join, leave bool) <-chan time.Duration {
			ended := make(chan time.Duration, 1)
			go func() {
				time.Sleep(d)
				ctx, cancel := WithTimeout(t.Context(), 10*time.Second, nil)
				defer cancel()
				if join {
					out := shared.Join(ctx)
					if leave {
						time.Sleep(time.Minute)
						out()
					}
					defer out()
				}
				<-ctx.Done()
				ended <- time.Since(start)
			}()
			return ended
		}
		for name, one := range map[string]struct {
			ended <-chan time.Duration
			want  time.Duration
		}{
			"from the start": {after(0, true, false), time.Hour + 10*time.Second},
			"later":          {after(time.Minute, true, false), time.Hour + 10*time.Second},
			"just before":    {after(time.Hour-time.Second, true, false), time.Hour + 10*time.Second},
			"afterwards":     {after(time.Hour+time.Second, true, false), time.Hour + 11*time.Second},
			"one that left":  {after(0, true, true), time.Minute + 10*time.Second},
			"another":        {after(0, false, false), 10 * time.Second},
		} {
			if got := <-one.ended; got != one.want {
				t.Errorf("%s: it ended after %v, want %v", name, got, one.want)
			}
		}
		<-entered
		shared.Join(context.Background())() // without a clock
	})
}

// TestReserve: a reserved place is that of the first request to the host, is
// given up when there is none for long, and says nothing of the host then.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		want := func(what string, taken int) {
			t.Helper()
			if got, waiting := g.Counts(); got != taken || waiting != 0 {
				t.Errorf("%s: %d taken, %d wait", what, got, waiting)
			}
		}
		reserve := func() (context.Context, *Place) {
			p, err := Reserve(With(t.Context(), g, nil), REST, "a")
			if err != nil {
				t.Fatal(err)
			}
			return p.For(t.Context()), p
		}
		ctx, p := reserve()
		time.Sleep(Patience - time.Second)
		request, err := Enter(ctx, REST, "a", nil)
		if err != nil || request != p {
			t.Fatalf("%v, %v", request, err)
		}
		time.Sleep(Patience - time.Second)
		want("it has its time from when it begins", 1)
		request.Leave()
		want("one after the other", 0)
		if request, err = Enter(ctx, REST, "a", nil); err != nil || request == p {
			t.Errorf("the next: %v, %v", request, err)
		}
		request.Leave()

		ctx, p = reserve()
		time.Sleep(Patience + time.Second)
		want("given up", 0)
		if g.hangs("a") {
			t.Error("a host that was not asked hangs")
		}
		if request, err = Enter(ctx, REST, "a", nil); err != nil || request == p {
			t.Errorf("late: %v, %v", request, err)
		}
		time.Sleep(Patience + time.Second)
		if !g.hangs("a") {
			t.Error("it does not hang")
		}
		p.Leave() // of which nothing is known
		if !g.hangs("a") {
			t.Error("a host that was not asked answers")
		}

		ctx, p = reserve()
		if request, err = Enter(ctx, REST, "a", nil); err != nil || request != p {
			t.Fatalf("%v, %v", request, err)
		}
		request.Leave()
		if g.hangs("a") {
			t.Error("it hangs still")
		}
		ctx, p = reserve()
		if other, err := Enter(ctx, REST, "b", nil); err != nil || other != nil {
			t.Errorf("another host: %v, %v", other, err)
		}
		if again, err := Reserve(ctx, REST, "a"); err != nil || again != nil {
			t.Errorf("once more: %v, %v", again, err)
		}
		p.Leave()
		want("left", 0)
		if none, err := Reserve(t.Context(), REST, "a"); none != nil || err != nil || none.For(ctx) != ctx {
			t.Errorf("without a gate: %v, %v", none, err)
		}
	})
}
