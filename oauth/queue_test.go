package oauth

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

// TestQueue_InTurn: places are taken in the order in which they were asked for,
// and who has left does not hold anybody up.
func TestQueue_InTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queues{places: 1, most: 5}
		hold, err := q.enter(t.Context(), "key")
		if err != nil {
			t.Fatal(err)
		}
		if leave, err := q.enter(t.Context(), "other"); err != nil {
			t.Error(err)
		} else {
			leave()
		}
		var order []string
		gone, leave := context.WithCancel(t.Context())
		for i := range 5 {
			ctx := t.Context()
			if i == 1 {
				ctx = gone
			}
			go func() {
				leave, err := q.enter(ctx, "key")
				if err != nil {
					order = append(order, fmt.Sprint(i, " ", err))
					return
				}
				order = append(order, fmt.Sprint(i))
				time.Sleep(time.Second)
				leave()
				leave()
			}()
			synctest.Wait()
		}
		if _, err := q.enter(t.Context(), "key"); !errors.Is(err, ErrBusy) {
			t.Errorf("a sixth one: %v", err)
		}
		leave()
		synctest.Wait()
		hold()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"1 context canceled", "0", "2", "3", "4"}; !slices.Equal(order, want) {
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
		for range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(3000))*time.Millisecond)
				defer cancel()
				leave, err := q.enter(ctx, "key")
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

// TestQueue_TokenFolderTurns: a process that takes a lock again and again does not keep
// it from another.
func TestQueue_TokenFolderTurns(t *testing.T) {
	store := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		elsewhere, err := NewTokenFolder(store.folder)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		turns, others := 0, 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil && turns < 1000 {
				held, err := store.Lock(ctx, "member1")
				if err != nil {
					return
				}
				turns++
				time.Sleep(100 * time.Millisecond)
				held.Unlock()
			}
			cancel()
		})
		wg.Go(func() {
			for ctx.Err() == nil && others < 50 {
				held, err := elsewhere.Lock(ctx, "member1")
				if err != nil {
					return
				}
				others++
				held.Unlock()
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

// A crowdedStore tells how many wait for its locks at once.
type crowdedStore struct {
	*TokenFolder
	mu        sync.Mutex
	now, most int
}

func (s *crowdedStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	return s.TokenFolder.Lock(ctx, key)
}

// TestQueue_LockInTurn: whoever waits for a key in a process gets it in turn, and
// only the first one asks the store.
func TestQueue_LockInTurn(t *testing.T) {
	files := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		store := &crowdedStore{TokenFolder: files}
		ts := keep(t, &rotating{}, store)
		held, err := files.Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		var order, want []int
		var wg sync.WaitGroup
		for i := range 50 {
			want = append(want, i)
			wg.Go(func() {
				if err := ts.Update(t.Context(), "member1", func(*Token) error { order = append(order, i); return nil }); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		held.Unlock()
		wg.Wait()
		if !slices.Equal(order, want) || store.most != 1 {
			t.Errorf("in the order of %v; %d have asked the store at once", order, store.most)
		}
	})
}
