package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// A fakeCursors is a store of a cursor whose methods can be others.
type fakeCursors struct {
	realtime.CursorStore
	load func(ctx context.Context) (realtime.Cursor, error)
	save func(ctx context.Context, c realtime.Cursor) error
}

func (f *fakeCursors) Load(ctx context.Context) (realtime.Cursor, error) {
	if f.load != nil {
		return f.load(ctx)
	}
	return f.CursorStore.Load(ctx)
}

func (f *fakeCursors) Save(ctx context.Context, c realtime.Cursor) error {
	if f.save != nil {
		return f.save(ctx, c)
	}
	return f.CursorStore.Save(ctx, c)
}

// savingIf is a store that saves only some cursors, and says that it has.
func savingIf(do func(ctx context.Context, now, next realtime.Cursor) bool) func(realtime.CursorStore) realtime.CursorStore {
	return func(good realtime.CursorStore) realtime.CursorStore {
		return &fakeCursors{CursorStore: good, save: func(ctx context.Context, c realtime.Cursor) error {
			if now, err := good.Load(ctx); err == nil && !do(ctx, now, c) {
				return nil
			}
			return good.Save(ctx, c)
		}}
	}
}

var brokenCursors = []struct {
	check, what string
	store       func(good realtime.CursorStore) realtime.CursorStore
}{
	{"no cursor", "the zero Cursor is refused", func(good realtime.CursorStore) realtime.CursorStore {
		return &fakeCursors{CursorStore: good, save: func(ctx context.Context, c realtime.Cursor) error {
			if c.IsZero() {
				return errRefused
			}
			return good.Save(ctx, c)
		}}
	}},
	{"no cursor", "no cursor is an error", func(good realtime.CursorStore) realtime.CursorStore {
		return &fakeCursors{CursorStore: good, load: func(ctx context.Context) (realtime.Cursor, error) {
			c, err := good.Load(ctx)
			if c.IsZero() {
				err = errRefused
			}
			return c, err
		}}
	}},
	{"replace", "the zero Cursor is not saved", savingIf(func(_ context.Context, _, next realtime.Cursor) bool { return !next.IsZero() })},
	{"replace", "a shorter one is not saved", savingIf(func(_ context.Context, now, next realtime.Cursor) bool {
		return next.IsZero() || len(next.String()) >= len(now.String())
	})},
	{"a big cursor", "no more than 64 kB", savingIf(func(_ context.Context, _, next realtime.Cursor) bool { return len(next.String()) < 1<<16 })},
	{"context", "not saved and no error", savingIf(func(ctx context.Context, _, _ realtime.Cursor) bool { return ctx.Err() == nil })},
	{"context", "does not return", func(good realtime.CursorStore) realtime.CursorStore {
		return &fakeCursors{CursorStore: good, save: func(ctx context.Context, c realtime.Cursor) error {
			if ctx.Err() != nil {
				time.Sleep(3 * patience)
			}
			return good.Save(ctx, c)
		}}
	}},
}

// TestBroken_Cursors: each check finds the stores that are not what it asks for.
func TestBroken_Cursors(t *testing.T) {
	t.Parallel()
	// run runs a check of what opener opens.
	run := func(name string, opener func(data *realtime.MemoryStore) (open func() realtime.CursorStore)) []string {
		i := slices.IndexFunc(cursorChecks, func(c cursorCheck) bool { return c.name == name })
		if i < 0 {
			t.Fatalf("there is no check %q", name)
		}
		return failsInBubble(t, func(tb testing.TB) {
			cursorChecks[i].run(&cursorBench{TB: tb, open: opener(new(realtime.MemoryStore))})
		})
	}
	for _, tt := range brokenCursors {
		if said := run(tt.check, func(data *realtime.MemoryStore) func() realtime.CursorStore {
			store := tt.store(data)
			return func() realtime.CursorStore { return store }
		}); len(said) == 0 {
			t.Errorf("%s: a store goes through: %s", tt.check, tt.what)
		} else {
			t.Logf("%s: %s: %.160s", tt.check, tt.what, said[0])
		}
	}
	if said := run("restart", func(*realtime.MemoryStore) func() realtime.CursorStore {
		return func() realtime.CursorStore { return new(realtime.MemoryStore) }
	}); len(said) == 0 {
		t.Error("restart: a store that forgets goes through")
	}
	// The other one's cursor stays where it is, and Save says that it has saved.
	if said := run("another's save", func(good *realtime.MemoryStore) func() realtime.CursorStore {
		opened := 0
		return func() realtime.CursorStore {
			opened++
			if opened == 2 {
				return &fakeCursors{CursorStore: good, save: func(context.Context, realtime.Cursor) error { return nil }}
			}
			return good
		}
	}); len(said) == 0 {
		t.Error("another's save: a store that saves nothing goes through")
	}
}
