package delivery

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// modelMessage is a message of the model server: it gets its id at one time, is
// stored at another, up to L later, and comes live at a third, or never.
type modelMessage struct {
	n              uint64
	born           time.Time
	stored, live   time.Time // zero: never
	beforeBegin    bool      // the first replay has shown it
	handled, again int       // over all processes, within the present one
}

// TestModel drives histories against a model of the server with everything the
// protocol allows to go wrong: messages stored out of order, holes in live
// delivery, replays that break off, a small queue, and processes that are
// killed and go on from the cursor of the last message they handled. No kept
// message may be lost, and none be handled twice within one process.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := resttest.Rounds(400)
	if testing.Short() {
		seeds = 25
	}
	for seed := range wiretest.Seeds(t, seeds) {
		m := newModel(t, uint64(seed))
		for m.now.Before(m.start.Add(4 * time.Minute)) {
			m.step()
		}
		m.check()
		if t.Failed() {
			return
		}
	}
}

type model struct {
	t          *testing.T
	seed       uint64
	random     *rand.Rand
	start, now time.Time
	messages   []*modelMessage

	*History
	cursor     Position
	unheard    []*modelMessage // still to come live
	paused     bool
	replaying  bool
	answer     []*modelMessage // what the replay has still to show
	nextReplay time.Time
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), start: time.Unix(1795421100, 0)}
	m.now = m.start
	for range 400 {
		m.messages = append(m.messages, &modelMessage{born: m.start.Add(m.upTo(2 * time.Minute))})
	}
	slices.SortFunc(m.messages, func(a, b *modelMessage) int { return a.born.Compare(b.born) })
	for i, x := range m.messages {
		x.n = uint64(i + 1)
		stored := x.born
		if m.chance(3) {
			stored = stored.Add(m.upTo(SettleTime - 100*time.Millisecond))
		}
		if !m.chance(4) {
			x.stored = stored
		} else {
			stored = x.born // it is not kept, so nobody waits for the store
		}
		if !m.chance(5) {
			x.live = stored.Add(m.upTo(400 * time.Millisecond))
		}
	}
	for _, x := range m.messages {
		if !x.live.IsZero() {
			m.unheard = append(m.unheard, x)
		}
	}
	slices.SortFunc(m.unheard, func(a, b *modelMessage) int { return cmp.Or(a.live.Compare(b.live), cmp.Compare(a.n, b.n)) })
	m.begin()
	return m
}

func (m *model) upTo(d time.Duration) time.Duration { return time.Duration(m.random.Int64N(int64(d))) }
func (m *model) chance(of int) bool                 { return m.random.IntN(of) == 0 }

// begin starts a process.
func (m *model) begin() {
	m.History = newHistory(m.cursor, NewQueue(6+m.random.IntN(20), 1<<20), m.now, func(Event) {})
	m.paused, m.replaying = false, false
	m.Stamped = m.seed%2 == 0 // the server says what it keeps, or does not
	m.Undated = !m.Stamped
	for _, x := range m.messages {
		x.again = 0
	}
}

func (m *model) message(x *modelMessage) Message {
	r := wire.Record{Key: wire.Key{Mid: midAt(x.n)}, Time: x.born.Truncate(time.Second), Size: 10, Transient: x.stored.IsZero() && x.n%2 == 0}
	if m.Stamped && !x.stored.IsZero() {
		r.Kept = keptFor
	}
	return Message{Record: r}
}

// step lets 50 ms pass.
func (m *model) step() {
	m.now = m.now.Add(50 * time.Millisecond)
	m.hear()
	if m.chance(60) {
		m.Reorder.Hold()
	}
	if m.paused && m.chance(10+int(m.seed%4)*60) { // so that replays in pieces may last
		m.paused = false
	}
	if !m.replaying && !m.paused && !m.now.Before(m.nextReplay) {
		m.beginAnswer()
	}
	if m.replaying {
		m.readOn()
	}
	m.Prove(m.now)
	m.Reorder.Expire(m.now)
	for range m.random.IntN(8) {
		m.handleOne()
	}
	if m.chance(200) && !m.cursor.IsZero() { // killed
		m.cursor = stored(m.cursor)
		m.begin()
	}
}

// hear takes what has come live; while paused it is gone.
func (m *model) hear() {
	for len(m.unheard) > 0 && !m.unheard[0].live.After(m.now) {
		x := m.unheard[0]
		m.unheard = m.unheard[1:]
		if !m.paused && !m.History.Live(m.message(x), m.now) {
			m.pause()
		}
	}
}

func (m *model) pause() {
	m.paused = true
	if m.replaying {
		m.replaying = false
		m.EndReplay(ReplayBroken, true, m.now)
	}
	m.GiveBack()
}

func (m *model) beginAnswer() {
	from := m.BeginReplay(m.now, "")
	m.answer = nil
	for _, x := range m.messages {
		if !x.stored.IsZero() && !x.stored.After(m.now) && from.Less(midAt(x.n)) {
			m.answer = append(m.answer, x)
		}
	}
	m.replaying = len(m.answer) > 0
	if !m.replaying {
		m.EndReplay(ReplaySilent, m.chance(2), m.now)
		m.nextReplay = m.now.Add(time.Second)
	}
}

func (m *model) readOn() {
	for range 1 + m.random.IntN(30) {
		if len(m.answer) == 0 {
			if !m.EndAnswer(m.now) {
				m.pause()
				return
			}
			m.replaying = false
			m.EndReplay(ReplayEnded, m.chance(3), m.now)
			m.nextReplay = m.now.Add(m.upTo(12 * time.Second))
			return
		}
		x := m.answer[0]
		x.beforeBegin = x.beforeBegin || m.Replay.Anchor
		if !m.Replayed(m.message(x), m.now) {
			m.pause()
			return
		}
		m.answer = m.answer[1:]
	}
	if m.chance(20) {
		m.replaying = false
		m.EndReplay(ReplayBroken, true, m.now)
	}
}

func (m *model) handleOne() {
	got, _, ok := m.queue.TryPop()
	if !ok {
		return
	}
	x := m.messages[got.Key.Mid.Counter-1]
	x.handled++
	if x.again++; x.again > 1 {
		m.t.Errorf("seed %d: message %d was handled twice", m.seed, x.n)
	}
	m.cursor = m.History.acks.PositionAfter(got.Receipt())
	m.History.acks.Handled(got.Receipt())
}

func (m *model) check() {
	for m.queue.messages.Load() > 0 {
		before := m.queue.messages.Load()
		m.handleOne()
		if m.queue.messages.Load() == before {
			break // what waits for a replay
		}
	}
	for _, x := range m.messages {
		if !x.stored.IsZero() && !x.beforeBegin && x.handled == 0 {
			m.t.Errorf("seed %d: message %d, born %v and stored %v, was lost; the cursor is at %v", m.seed, x.n, x.born.Sub(m.start), x.stored.Sub(m.start), m.Watermark)
		}
	}
}
