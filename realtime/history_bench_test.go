package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// BenchmarkSession takes messages through the history and the queue to a user
// who handles them, with a replay every 2,500 messages that shows the last
// 5,000 again: 300 a second for a long time. Beside it, the same messages
// through the queue alone.
func BenchmarkSession(b *testing.B) {
	now := time.Unix(1795421100, 0)
	message := func(n uint64) Message {
		return Message{key: wire.Key{Mid: midAt(n), Sum: uint32(n)}, Time: now, size: 400}
	}
	pop := func(q *queue) Message {
		m, _, ok := q.tryPop()
		if !ok {
			b.Fatal("nothing delivered")
		}
		return m
	}
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		q := newQueue(defaultMaxMessages, defaultMaxBytes)
		s := newHistory(Cursor{pos: midAt(1)}, q, now, func(Event) {})
		n := uint64(1)
		for b.Loop() {
			n++
			now = now.Add(time.Second / 300)
			s.live(message(n), now)
			m := pop(q)
			m.acks.handled(m)
			if n%2500 == 0 && n > 5000 {
				s.beginReplay(now, "")
				for i := n - 5000; i <= n; i++ {
					s.replayed(message(i), now)
				}
				s.endReplay(replayEnded, false, now)
			}
		}
	})
	b.Run("queue alone", func(b *testing.B) {
		b.ReportAllocs()
		q := newQueue(defaultMaxMessages, defaultMaxBytes)
		n := uint64(1)
		for b.Loop() {
			n++
			m := message(n)
			q.admit(m.size)
			q.push(m)
			pop(q)
		}
	})
}
