package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// largest sends messages one by one and returns the size of the largest cursor
// that was saved.
func (l *life) largest(n, perSecond int, m pulltest.Message) (size int) {
	store := new(MemoryStore)
	l.subscribe(nil, WithCursorStore(store))
	l.run(nil)
	<-l.sub.Ready()
	for i := range n {
		l.portal.Emit(m)
		time.Sleep(time.Second / time.Duration(perSecond))
		if i%100 == 0 {
			c, err := store.Load(l.t.Context())
			if err != nil {
				l.t.Fatal(err)
			}
			size = max(size, len(c.String()))
		}
	}
	return size
}

// TestSize_CursorSize: four characters a message that was handled since the
// history was last known.
func TestSize_CursorSize(t *testing.T) {
	t.Parallel()
	for rate, most := range map[int]int{10: 4500, 300: 13_000} {
		if testing.Short() && rate > 10 {
			continue
		}
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open()
			if size := l.largest(20*rate+3000, rate, pulltest.Message{}); size > most {
				t.Errorf("at %d messages a second a cursor has %d bytes", rate, size)
			}
		})
	}
}

// TestSize_CursorSizeOfTheUnkept: what the server does not keep stands in no
// cursor for long, also where it does not say so.
func TestSize_CursorSizeOfTheUnkept(t *testing.T) {
	t.Parallel()
	skipLong(t)
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.open(pulltest.WithVersion(version))
		if size := l.largest(8000, 20, pulltest.Message{Expiry: -1}); size > 25_000 {
			t.Errorf("a cursor has %d bytes", size)
		}
	})
}
