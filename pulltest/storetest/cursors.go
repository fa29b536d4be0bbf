package storetest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// Cursors tries out a store of a cursor. Each check is a test below t, with a
// name of its own. open is called for a store of the same cursor each time, as
// a program opens it that starts again; a store in memory is the same one. The
// checks begin by saving the zero Cursor.
func Cursors(t *testing.T, open func(t *testing.T) realtime.CursorStore) {
	t.Helper()
	for _, c := range cursorChecks {
		t.Run(c.name, func(t *testing.T) {
			c.run(&cursorBench{TB: t, open: func() realtime.CursorStore { return open(t) }})
		})
	}
}

type cursorCheck struct {
	name string
	run  func(*cursorBench)
}

var cursorChecks = []cursorCheck{
	{"no cursor", checkNoCursor},
	{"replace", checkCursorReplaced},
	{"restart", checkRestart},
	{"a big cursor", checkBigCursor},
	{"context", checkCursorContext},
	{"another's save", checkAnothersSave},
}

// A cursorBench is where a store of a cursor is tried out.
type cursorBench struct {
	testing.TB
	open func() realtime.CursorStore
}

// ctx ends when a store has been waited for for long enough.
func (b *cursorBench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// begin opens the store as a run does, and empties it.
func (b *cursorBench) begin() realtime.CursorStore {
	b.Helper()
	store := b.open()
	if _, err := store.Load(b.ctx()); err != nil {
		b.Fatalf("Load: %v", err)
	}
	b.save(store, realtime.Cursor{})
	return store
}

func (b *cursorBench) save(store realtime.CursorStore, c realtime.Cursor) {
	b.Helper()
	if err := store.Save(b.ctx(), c); err != nil {
		b.Fatalf("Save of %.40s: %v", c, err)
	}
}

func (b *cursorBench) want(what string, store realtime.CursorStore, want realtime.Cursor) {
	b.Helper()
	got, err := store.Load(b.ctx())
	if err != nil || got.String() != want.String() || got.IsZero() != want.IsZero() {
		b.Errorf("%s: Load returned %.40q of %d bytes, %v; want %.40q of %d", what, got, len(got.String()), err, want, len(want.String()))
	}
}

// cursor is the position n, with so many messages that have been handled.
func cursor(n uint64, handled int) realtime.Cursor {
	b := make([]byte, 12) // what it is bound to
	b = binary.AppendUvarint(b, 1_700_000_000)
	b = binary.AppendUvarint(b, n)
	b = append(b, 0, 0, 0) // neither a probe nor a time of the last replay
	for i := range handled {
		b = binary.AppendUvarint(b, 1<<1|1) // a second later
		b = binary.AppendUvarint(b, uint64(i))
		b = binary.LittleEndian.AppendUint16(b, uint16(i))
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	b = binary.LittleEndian.AppendUint32(b, crc32.Update(crc32.Checksum([]byte("1"), table), table, b))
	var c realtime.Cursor
	if err := c.UnmarshalText([]byte("1." + base64.RawURLEncoding.EncodeToString(b))); err != nil {
		panic(err)
	}
	return c
}

// checkNoCursor: the zero Cursor is none, when it is saved as well.
func checkNoCursor(b *cursorBench) {
	store := b.begin()
	b.want("the zero Cursor was saved", store, realtime.Cursor{})
	b.save(store, realtime.Cursor{})
	b.want("it was saved again", store, realtime.Cursor{})
	b.want("it was saved, and the store opened again", b.open(), realtime.Cursor{})
}

// checkCursorReplaced: the last cursor counts, whether it is longer, shorter,
// the same again or none.
func checkCursorReplaced(b *cursorBench) {
	store := b.begin()
	for _, c := range []realtime.Cursor{cursor(1, 0), cursor(2, 100), cursor(2, 100), cursor(1, 3), {}, cursor(3, 1)} {
		b.save(store, c)
		b.want("after it was saved", store, c)
	}
}

// checkRestart: a new run of the program goes on where the one before stopped.
func checkRestart(b *cursorBench) {
	store := b.begin()
	for n := range 3 {
		c := cursor(uint64(n), n)
		b.save(store, c)
		store = b.open()
		b.want("opened again", store, c)
	}
}

// checkBigCursor: many messages that were handled out of order make a cursor of
// a megabyte, or of an eighth of that in a short run.
func checkBigCursor(b *cursorBench) {
	keys, least := 150_000, 1<<20
	if testing.Short() {
		keys, least = 20_000, 1<<17
	}
	store, big := b.begin(), cursor(1, keys)
	if size := len(big.String()); size < least {
		b.Fatalf("a cursor of %d bytes", size)
	}
	b.save(store, cursor(1, 1))
	b.save(store, big)
	b.want("a big cursor", store, big)
	b.want("a big cursor, opened again", b.open(), big)
	b.save(store, cursor(2, 0))
	b.want("a small one after it", store, cursor(2, 0))
}

// checkCursorContext: a call whose context has ended returns, and a Save that
// returns nil has saved.
func checkCursorContext(b *cursorBench) {
	store := b.begin()
	before, after := cursor(1, 1), cursor(2, 2)
	b.save(store, before)
	ended, cancel := context.WithCancel(b.Context())
	cancel()
	saved := make(chan error, 1)
	go func() { saved <- store.Save(ended, after) }()
	select {
	case err := <-saved:
		if err == nil {
			before = after
		}
	case <-time.After(patience):
		b.Fatalf("Save does not return, although its context has ended")
	}
	got, err := b.open().Load(b.ctx())
	if err != nil || got.String() != before.String() && got.String() != after.String() {
		b.Errorf("Load returned %.40q, %v; want what a Save has kept that returned nil", got, err)
	}
}

// checkAnothersSave: where another has saved meanwhile, a Save fails or takes
// its place; it does not return nil and leave the other's.
func checkAnothersSave(b *cursorBench) {
	one, other := b.begin(), b.open()
	if _, err := other.Load(b.ctx()); err != nil {
		b.Fatalf("Load: %v", err)
	}
	for n := range uint64(4) {
		for i, store := range []realtime.CursorStore{one, other} {
			c := cursor(10*(n+1)+uint64(i), 1)
			err := store.Save(b.ctx(), c)
			if err == nil {
				b.want("after another's save", b.open(), c)
			}
		}
	}
}
