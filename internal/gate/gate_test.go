package gate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A visit is a request that takes a while.
type visit struct {
	kind  Kind
	host  string
	takes time.Duration
}

// visitAll has so many visits made at once, and returns after how long each has
// had its place.
func visitAll(t *testing.T, g *Gate, all []visit) (began []time.Duration, most int) {
	t.Helper()
	var mu sync.Mutex
	start := time.Now()
	began = make([]time.Duration, len(all))
	done := make(chan struct{})
	for i, v := range all {
		go func() {
			defer func() { done <- struct{}{} }()
			p, err := g.Enter(t.Context(), v.kind, v.host, nil)
			if err != nil {
				t.Error(err)
				return
			}
			began[i] = time.Since(start)
			taken, _ := g.Counts()
			mu.Lock()
			most = max(most, taken)
			mu.Unlock()
			time.Sleep(v.takes)
			p.Leave()
		}()
		synctest.Wait() // so they come in this order
	}
	for range all {
		<-done
	}
	return began, most
}

// TestGate_Bound: no more than there are places for are under way, and all come
// in.
func TestGate_Bound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(3)
		var all []visit
		for i := range 30 {
			all = append(all, visit{Kind(i % int(kinds)), fmt.Sprint("host", i%4), time.Second})
		}
		began, most := visitAll(t, g, all)
		if most != 3 {
			t.Errorf("%d at once", most)
		}
		if last := slices.Max(began); last != 9*time.Second {
			t.Errorf("the last one began after %v: places stood empty, or were not bounded", last)
		}
		if taken, waiting := g.Counts(); taken+waiting != 0 {
			t.Errorf("%d are taken, %d wait", taken, waiting)
		}
	})
}

// TestGate_Turns: what comes after many of another kind, or to another host,
// does not wait for all of them.
func TestGate_Turns(t *testing.T) {
	for name, last := range map[string]visit{
		"of another kind": {Replay, "busy", time.Second},
		"to another host": {REST, "other", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var all []visit
				for range 100 {
					all = append(all, visit{REST, "busy", time.Second})
				}
				began, _ := visitAll(t, New(2), append(all, last))
				if got := began[len(began)-1]; got > 2*time.Second {
					t.Errorf("it began after %v", got)
				}
				if !slices.IsSorted(began[:100]) {
					t.Error("those of one kind to one host were not in order")
				}
			})
		})
	}
}

// TestGate_Hanging: requests that hang keep nobody out for ever, and hosts that
// have hung keep at most half of the places.
func TestGate_Hanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(4)
		var all []visit
		for i := range 40 {
			all = append(all, visit{Connect, fmt.Sprint("hangs", i), time.Hour})
		}
		healthy := visit{Connect, "healthy", time.Second}
		began, _ := visitAll(t, g, append(slices.Clone(all), healthy))
		if got, most := began[40], 40/4*Patience; got > most {
			t.Errorf("a host whose requests are answered had to wait for %v, want %v at the most", got, most)
		}
		// Now it is known who hangs.
		if began, _ = visitAll(t, g, append(slices.Clone(all), healthy)); began[40] > 0 {
			t.Errorf("it had to wait for %v although there are places for others", began[40])
		}
		// One that answers again is like any other.
		all[0].takes = time.Second
		visitAll(t, g, all[:1])
		if g.hangs("hangs0") {
			t.Error("a host that has answered is still taken for one that hangs")
		}
	})
}

// TestGate_SlowShare: hosts that hang have an eighth of the places while others
// wait, half of them while nobody else does, one at the least, and none for
// longer than patience lasts.
func TestGate_SlowShare(t *testing.T) {
	for _, c := range []struct{ places, half, eighth int }{{32, 16, 4}, {16, 8, 2}, {4, 2, 1}, {1, 1, 1}} {
		t.Run(fmt.Sprint(c.places, " places"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(c.places)
				var mu sync.Mutex
				began := make(map[string]int)
				enter := func(host string, n int) (all []chan struct{}) {
					for range n {
						leave := make(chan struct{})
						all = append(all, leave)
						go func() {
							p, err := g.Enter(t.Context(), REST, host, nil)
							if err != nil { // the test has failed
								return
							}
							defer p.Leave()
							mu.Lock()
							began[host]++
							mu.Unlock()
							select {
							case <-leave:
							case <-t.Context().Done():
							}
						}()
					}
					synctest.Wait()
					return all
				}
				leave := func(all []chan struct{}) {
					for _, c := range all {
						close(c)
						synctest.Wait() // and another one has the place
					}
				}
				want := func(when, host string, n int) {
					t.Helper()
					mu.Lock()
					defer mu.Unlock()
					if began[host] != n {
						t.Fatalf("%s: of %s %d have had a place, want %d", when, host, began[host], n)
					}
				}
				hung := enter("hangs", 1)
				time.Sleep(Patience + time.Second)
				leave(hung)
				want("at first", "hangs", 1)

				first := enter("answers", c.places)
				hanging := enter("hangs", 3*c.places)
				others := enter("answers", 2*c.places)
				want("while all places are taken", "hangs", 1)
				leave(first)
				want("while others wait", "hangs", 1+c.eighth)
				want("while others wait", "answers", 2*c.places-c.eighth)
				leave(others)
				want("while nobody else waits", "hangs", 1+c.half)
				time.Sleep(time.Second)
				for n := 2; n*c.half <= 3*c.places; n++ {
					time.Sleep(Patience)
					synctest.Wait()
					want(fmt.Sprint("after patience ", n-1), "hangs", 1+n*c.half)
				}
				leave(hanging)
				if taken, waiting := g.Counts(); taken+waiting != 0 {
					t.Errorf("%d are taken, %d wait", taken, waiting)
				}
			})
		})
	}
}

// TestPlace_End: a host that has not answered in time hangs, however little time
// that was, and goes on doing so for a request that was given up.
func TestPlace_End(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		visit := func(ctx context.Context) bool {
			p, err := g.Enter(t.Context(), REST, "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			p.End(ctx)
			return g.hangs("a")
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		<-late.Done()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if visit(over) {
			t.Error("a request that was given up says that a host hangs")
		}
		if !visit(late) {
			t.Error("a host that has not answered in time does not hang")
		}
		if !visit(over) {
			t.Error("a request that was given up says that a host answers")
		}
		if visit(t.Context()) {
			t.Error("a host that answers hangs")
		}
	})
}

// hangs reports whether a host is known to.
func (g *Gate) hangs(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, hangs := g.hanging.Get(host)
	return hangs
}

// TestPlace_LeaveWithin: of a host that is asked what hangs by its nature nothing
// is known until it answers, however late that is.
func TestPlace_LeaveWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		enter := func() *Place {
			p, err := g.Enter(t.Context(), REST, "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		poll := func() *Place {
			p := enter()
			p.LeaveWithin(100 * time.Millisecond)
			time.Sleep(time.Second)
			if taken, _ := g.Counts(); taken != 0 {
				t.Error("its place is still taken")
			}
			return p
		}
		poll()
		if g.hangs("a") {
			t.Error("what hangs by its nature says that a host hangs")
		}
		late := enter()
		time.Sleep(Patience + time.Second)
		late.Leave()
		if !g.hangs("a") {
			t.Error("a host that has not answered in time does not hang")
		}
		p := poll()
		if !g.hangs("a") {
			t.Error("what hangs says that a host answers")
		}
		p.Leave()
		if g.hangs("a") {
			t.Error("a host hangs that has answered what hangs by its nature")
		}
		p = enter()
		p.Answers()
		time.Sleep(time.Second)
		if taken, _ := g.Counts(); taken != 1 {
			t.Error("what is answered has lost its place at once")
		}
		time.Sleep(Patience)
		if taken, _ := g.Counts(); taken != 0 || g.hangs("a") {
			t.Errorf("%d places are taken for long of what is answered; it hangs: %t", taken, g.hangs("a"))
		}
	})
}

// TestGate_Cancelled: one who waits no longer takes no place.
func TestGate_Cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		first, err := g.Enter(t.Context(), REST, "a", func() { t.Error("it has to wait") })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waited := false
		if _, err := g.Enter(ctx, REST, "a", func() { waited = true }); err != context.DeadlineExceeded || !waited {
			t.Errorf("%v, waited %v", err, waited)
		}
		first.Leave()
		first.Leave() // once more does no harm
		if taken, waiting := g.Counts(); taken+waiting != 0 {
			t.Errorf("%d are taken, %d wait", taken, waiting)
		}
		second, err := g.Enter(t.Context(), REST, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		second.LeaveWithin(time.Millisecond)
		third, err := g.Enter(t.Context(), REST, "a", nil) // when the second hangs by its nature
		if err != nil {
			t.Fatal(err)
		}
		third.Leave()
	})
}

// TestGate_Context: requests of a context with a place that stands for them take
// none of their own, until it is given up.
func TestGate_Context(t *testing.T) {
	g := New(1)
	outer, err := g.Enter(t.Context(), REST, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := With(t.Context(), g, outer)
	inner, err := Enter(ctx, REST, "a", nil)
	if err != nil || inner != nil {
		t.Errorf("%v, %v", inner, err)
	}
	inner.Leave()
	Pause(ctx)
	if inner, err = Enter(ctx, REST, "a", nil); err != nil || inner == nil {
		t.Fatalf("%v, %v", inner, err)
	}
	inner.Leave()
	if taken, _ := g.Counts(); taken != 0 {
		t.Errorf("%d are taken", taken)
	}
	if p, err := Enter(With(t.Context(), nil, nil), REST, "a", nil); p != nil || err != nil {
		t.Errorf("without a gate: %v, %v", p, err)
	}
}
