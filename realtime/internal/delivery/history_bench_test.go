package delivery

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// BenchmarkHistory takes messages through the history and the queue to a user
// who handles them, with a replay every 2,500 messages that shows the last
// 5,000 again: 300 a second for a long time. Beside it, the same messages
// through the queue alone.
func BenchmarkHistory(b *testing.B) {
	now := time.Unix(1795421100, 0)
	message := func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n), Sum: uint32(n)}, Time: now, Size: 400}}
	}
	pop := func(q *Queue) Message {
		m, _, ok := q.TryPop()
		if !ok {
			b.Fatal("nothing delivered")
		}
		return m
	}
	b.Run("history", func(b *testing.B) {
		b.ReportAllocs()
		q := NewQueue(4096, 16<<20)
		s := newHistory(Position{Progress: Progress{Watermark: midAt(1)}}, q, now, func(Event) {})
		n := uint64(1)
		for b.Loop() {
			n++
			now = now.Add(time.Second / 300)
			s.Live(message(n), now)
			m := pop(q)
			s.acks.Handled(m.Receipt())
			if n%2500 == 0 && n > 5000 {
				s.BeginReplay(now, "")
				for i := n - 5000; i <= n; i++ {
					s.Replayed(message(i), now)
				}
				s.EndReplay(ReplayEnded, false, now)
			}
		}
	})
	b.Run("queue alone", func(b *testing.B) {
		b.ReportAllocs()
		q := NewQueue(4096, 16<<20)
		n := uint64(1)
		for b.Loop() {
			n++
			m := message(n)
			q.admit(m.Size)
			q.push(m)
			pop(q)
		}
	})
}
