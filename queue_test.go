package b24pull

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestQueue_InTurn: places are taken in the order in which they were asked for, those who are
// first before the others, and who has left does not hold anybody up.
func TestQueue_InTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queues{places: 1, most: 3}
		hold, err := q.enter(t.Context(), "key", false)
		if err != nil {
			t.Fatal(err)
		}
		if leave, err := q.enter(t.Context(), "other", false); err != nil {
			t.Error(err)
		} else {
			leave()
		}
		var order []string
		gone, leave := context.WithCancel(t.Context())
		for i, rank := range []bool{false, false, true, false, true, true} {
			ctx := t.Context()
			if i == 1 || i == 4 {
				ctx = gone
			}
			go func() {
				leave, err := q.enter(ctx, "key", rank)
				if err != nil {
					order = append(order, fmt.Sprint(i, err))
					return
				}
				order = append(order, fmt.Sprint(i))
				time.Sleep(time.Second)
				leave()
				leave()
			}()
			synctest.Wait()
		}
		for _, rank := range []bool{true, false} {
			if _, err := q.enter(t.Context(), "key", rank); !errors.Is(err, ErrBusy) {
				t.Errorf("a fourth one: %v", err)
			}
		}
		leave()
		synctest.Wait()
		slices.Sort(order) // both at once
		hold()
		time.Sleep(time.Minute)
		if want := []string{"1 context canceled", "4 context canceled", "2", "5", "0", "3"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		if len(q.at) != 0 {
			t.Errorf("%d keys are left", len(q.at))
		}
	})
}

// TestQueue_Crowd: no place is lost or taken twice, whoever gives up when.
func TestQueue_Crowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queues{places: 3}
		var mu sync.Mutex
		now, most, served := 0, 0, 0
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(3000))*time.Millisecond)
				defer cancel()
				leave, err := q.enter(ctx, "key", i%5 == 0)
				if err != nil {
					return
				}
				mu.Lock()
				now, served = now+1, served+1
				most = max(most, now)
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				leave()
			})
		}
		wg.Wait()
		if most != 3 || served < 100 || len(q.at) != 0 {
			t.Errorf("%d at once of %d, %d keys are left", most, served, len(q.at))
		}
	})
}

// TestFileStoreTurns: a process that takes a lock again and again does not keep it from
// another.
func TestFileStoreTurns(t *testing.T) {
	store := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		elsewhere, err := NewFileStore(store.folder)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		turns, others := 0, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil && turns < 1000 {
				unlock, err := store.Lock(ctx, "member1")
				if err != nil {
					return
				}
				turns++
				time.Sleep(100 * time.Millisecond)
				unlock()
			}
			cancel()
		})
		wg.Go(func() {
			for ctx.Err() == nil && others < 50 {
				unlock, err := elsewhere.Lock(ctx, "member1")
				if err != nil {
					return
				}
				others++
				unlock()
				time.Sleep(time.Second)
			}
			cancel()
		})
		wg.Wait()
		if others < 50 || turns > 50*12 {
			t.Errorf("one has had %d turns, the other %d", turns, others)
		}
		if len(store.turns.released) > 1 {
			t.Errorf("%d locks are remembered", len(store.turns.released))
		}
	})
}
