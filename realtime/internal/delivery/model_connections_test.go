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

// TestModel_OfConnections is TestModel for channels that are replaced: two
// histories or more over one dedup, each with the shared channel and a private
// one of its own. By seeds, messages come by polls, each answered by the
// history or by one live message, or positions are seconds and tags, and an
// answer comes channel by channel.
func TestModel_OfConnections(t *testing.T) {
	t.Parallel()
	usual := resttest.Rounds(100)
	if testing.Short() {
		usual = 5
	}
	for seed := range wiretest.Seeds(t, usual) {
		m := newConnectionsModel(t, uint64(seed))
		for m.now.Before(m.start.Add(24 * time.Minute)) {
			m.step()
		}
		m.check()
		if t.Failed() {
			return
		}
	}
}

// shared is the channel that all connections have.
const shared = -1

type connectionMessage struct {
	n, channel     int
	mid            wire.Mid
	born           time.Time
	stored, live   time.Time // zero: never
	beforeBegin    bool
	handled, again int
}

type modelConnection struct {
	*History
	channel    int
	hanging    bool // a poll
	hungFrom   wire.Mid
	short      bool // is due
	answer     []*connectionMessage
	hangs      bool // the replay: nothing is kept, so a live message may answer it
	nextReplay time.Time
	leave      time.Time // zero: it has not been replaced
	last       bool      // the replay is the last one
}

type connectionsModel struct {
	t             *testing.T
	seed          uint64
	random        *rand.Rand
	start, now    time.Time
	tags, polling bool
	messages      []*connectionMessage
	changes       []time.Time // when the private channel is replaced
	learns        []time.Time // when the subscription hears of it

	memory      *Dedup
	connections []*modelConnection // the last one is the main one
	reader      *modelConnection   // whose replay is under way
	began       time.Time          // what was born before nobody is to get
	unheard     []*connectionMessage
	paused      bool
	cursor      Position
}

func newConnectionsModel(t *testing.T, seed uint64) *connectionsModel {
	m := &connectionsModel{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 2)), start: time.Unix(1795421100, 0)}
	m.now = m.start
	m.polling, m.tags = m.chance(2), m.chance(3)
	for at := m.start.Add(m.upTo(4 * time.Minute)); at.Before(m.start.Add(12 * time.Minute)); at = at.Add(4*time.Minute + m.upTo(4*time.Minute)) {
		m.changes = append(m.changes, at)
		m.learns = append(m.learns, at.Add(m.upTo(4*time.Minute)))
	}
	for range 600 {
		m.messages = append(m.messages, &connectionMessage{born: m.start.Add(m.upTo(15 * time.Minute))})
	}
	slices.SortFunc(m.messages, func(a, b *connectionMessage) int { return a.born.Compare(b.born) })
	for i, x := range m.messages {
		x.n, x.mid = i, midAt(uint64(i+1))
		if m.tags {
			x.mid = wire.Mid{Epoch: uint64(x.born.Unix()), Counter: uint64(i + 1)}
		}
		m.place(x)
		stored := x.born
		if m.chance(3) && !m.tags {
			stored = stored.Add(m.upTo(SettleTime - 100*time.Millisecond))
		}
		if m.chance(4) {
			stored = x.born
		} else {
			x.stored = stored
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
	slices.SortFunc(m.unheard, func(a, b *connectionMessage) int { return cmp.Or(a.live.Compare(b.live), cmp.Compare(a.n, b.n)) })
	m.begin(0)
	return m
}

// place chooses the channel of a message: the present one, one that was just
// replaced, or the shared one.
func (m *connectionsModel) place(x *connectionMessage) {
	for x.channel < len(m.changes) && !x.born.Before(m.changes[x.channel]) {
		x.channel++
	}
	switch {
	case m.chance(3):
		x.channel = shared
	case x.channel > 0 && x.born.Before(m.changes[x.channel-1].Add(5*time.Second)) && m.chance(2):
		x.channel--
	}
}

func (m *connectionsModel) upTo(d time.Duration) time.Duration {
	return time.Duration(m.random.Int64N(int64(d)))
}
func (m *connectionsModel) chance(of int) bool { return m.random.IntN(of) == 0 }

// begin starts a process on the present channels.
func (m *connectionsModel) begin(channel int) {
	m.memory = NewDedup(m.cursor, NewAcks(m.cursor), NewQueue(6+m.random.IntN(20), 1<<20), m.now, func(Event) {})
	m.memory.Reorder.Sorted = m.polling
	s := m.memory.AddHistory(m.cursor.Watermark, !m.cursor.IsZero())
	m.connections = []*modelConnection{m.connection(s, channel)}
	m.reader, m.paused = nil, false
	for _, x := range m.messages {
		x.again = 0
	}
}

func (m *connectionsModel) connection(s *History, channel int) *modelConnection {
	s.Tags, s.Stamped = m.tags, true
	s.acks.Bind(Binding{}, m.tags)
	return &modelConnection{History: s, channel: channel, nextReplay: m.now}
}

func (m *connectionsModel) message(x *connectionMessage) Message {
	r := wire.Record{Key: wire.Key{Mid: x.mid}, Time: x.born.Truncate(time.Second), Size: 10, Transient: x.stored.IsZero() && x.n%2 == 0}
	if !x.stored.IsZero() {
		r.Kept = keptFor
	}
	return Message{Record: r}
}

func (s *modelConnection) holds(x *connectionMessage) bool {
	return x.channel == shared || x.channel == s.channel
}

// kept is what the server has for a connection after a position.
func (m *connectionsModel) kept(s *modelConnection, from wire.Mid) (found []*connectionMessage) {
	for _, x := range m.messages {
		if s.holds(x) && !x.stored.IsZero() && !x.stored.After(m.now) && from.Less(x.mid) {
			found = append(found, x)
		}
	}
	if m.tags {
		slices.SortStableFunc(found, func(a, b *connectionMessage) int { return cmp.Compare(b.channel, a.channel) })
	}
	return found
}

// step lets 100 ms pass.
func (m *connectionsModel) step() {
	m.now = m.now.Add(100 * time.Millisecond)
	m.replace()
	m.hear()
	if m.chance(60) {
		m.memory.Reorder.Hold()
	}
	if m.paused && m.chance(10) {
		m.paused = false
	}
	for _, s := range slices.Clone(m.connections) {
		if m.polling && !m.paused && s.Anchored {
			m.poll(s)
		}
		m.read(s)
		s.Prove(m.now)
	}
	m.memory.Reorder.Expire(m.now)
	for range m.random.IntN(8) {
		m.handleOne()
	}
	if m.chance(300) && len(m.connections) == 1 && !m.replaced(m.connections[0]) && !m.cursor.IsZero() { // killed
		m.begin(m.connections[0].channel)
	}
}

// replaced reports whether a connection's channel has been replaced. Until the
// subscription has heard of that and has read the old channel to its end,
// nobody is killed: no cursor tells the channels it is for.
func (m *connectionsModel) replaced(s *modelConnection) bool {
	return s.channel < len(m.changes) && !m.now.Before(m.changes[s.channel])
}

// replace makes a connection of the new channels, once the subscription has
// heard of them.
func (m *connectionsModel) replace() {
	main := m.connections[len(m.connections)-1]
	if main.channel >= len(m.learns) || m.now.Before(m.learns[main.channel]) || !main.Anchored {
		return
	}
	next, covered := main.Successor(m.changes[main.channel].Add(-30*time.Second), m.now)
	if !covered {
		m.t.Errorf("seed %d: the new channel's beginning is not covered", m.seed)
	}
	main.leave = m.now.Add(15*time.Second + m.upTo(8*time.Minute))
	m.connections = append(m.connections, m.connection(next, main.channel+1))
}

// hear takes what has come live.
func (m *connectionsModel) hear() {
	for len(m.unheard) > 0 && !m.unheard[0].live.After(m.now) {
		x := m.unheard[0]
		m.unheard = m.unheard[1:]
		for _, s := range m.connections {
			if !s.holds(x) {
				continue
			}
			if s == m.reader && s.hangs {
				s.hangs, s.answer = false, []*connectionMessage{x}
			}
			switch {
			case m.paused, m.polling && !s.hanging:
				continue
			case m.polling:
				s.hanging = false
				s.Polled(s.hungFrom)
				s.short = true
			}
			m.take(s, x)
		}
	}
}

// take hands a live message to a connection, and pauses all if the queue
// refuses it.
func (m *connectionsModel) take(s *modelConnection, x *connectionMessage) bool {
	if s.History.Live(m.message(x), m.now) {
		return true
	}
	m.pause()
	return false
}

func (m *connectionsModel) pause() {
	m.paused = true
	if m.reader != nil {
		m.reader.EndReplay(ReplayBroken, true, m.now)
		m.reader = nil
	}
	for _, s := range m.connections {
		s.hanging, s.short, s.hangs, s.last = false, false, false, false
		s.ForgetShortReplay()
	}
	m.memory.GiveBack()
}

// poll begins the next poll of a connection: the history answers it, or it
// hangs.
func (m *connectionsModel) poll(s *modelConnection) {
	if s.hanging || !m.chance(3) {
		return
	}
	s.hungFrom = s.Highest
	answer := m.kept(s, s.hungFrom)
	s.hanging = len(answer) == 0
	if len(answer) == 1 {
		s.Polled(s.hungFrom)
		s.short = true
	}
	for _, x := range answer {
		if !m.take(s, x) {
			return
		}
	}
}

// replay begins a replay of a connection that is due, or goes on with it.
func (m *connectionsModel) read(s *modelConnection) {
	over := !s.leave.IsZero() && m.now.After(s.leave)
	if m.reader == nil && !m.paused && (s.short || over || !m.now.Before(s.nextReplay)) {
		var from wire.Mid
		if s.short && s.Anchored {
			from = s.BeginShortReplay(m.now, "")
		} else {
			s.last = over
			from = s.BeginReplay(m.now, "")
		}
		s.short = false
		s.answer = m.kept(s, from)
		s.hangs = len(s.answer) == 0
		s.nextReplay = m.now.Add(m.upTo(12 * time.Second))
		if !s.leave.IsZero() && m.chance(2) { // it is not pinged any more, say
			s.nextReplay = m.now.Add(m.upTo(10 * time.Minute))
		}
		m.reader = s
		return
	}
	if m.reader != s {
		return
	}
	if s.hangs {
		if m.chance(10) {
			m.readOver(s, ReplaySilent)
		}
		return
	}
	for range 1 + m.random.IntN(30) {
		if len(s.answer) == 0 {
			if !s.EndAnswer(m.now) {
				m.pause()
				return
			}
			m.readOver(s, ReplayEnded)
			return
		}
		x := s.answer[0]
		x.beforeBegin = x.beforeBegin || s.Replay.Anchor
		if !s.Replayed(m.message(x), m.now) {
			m.pause()
			return
		}
		s.answer = s.answer[1:]
	}
	if m.chance(20) {
		m.readOver(s, ReplayBroken)
	}
}

func (m *connectionsModel) readOver(s *modelConnection, how Outcome) {
	m.reader = nil
	s.hangs = false
	if !s.Anchored {
		m.began = m.now
	}
	_, again := s.EndReplay(how, m.chance(3), m.now)
	switch {
	case again:
		s.nextReplay = m.now
	case s.last && how != ReplayBroken:
		m.connections = slices.DeleteFunc(m.connections, func(o *modelConnection) bool { return o == s })
		m.memory.Drop(s.History, m.now)
	}
}

func (m *connectionsModel) handleOne() {
	got, _, ok := m.memory.queue.TryPop()
	if !ok {
		return
	}
	i := slices.IndexFunc(m.messages, func(x *connectionMessage) bool { return x.mid == got.Key.Mid })
	x := m.messages[i]
	x.handled++
	if x.again++; x.again > 1 {
		m.t.Errorf("seed %d: message %d was handled twice", m.seed, x.n)
	}
	m.cursor = m.memory.acks.PositionAfter(got.Receipt())
	m.memory.acks.Handled(got.Receipt())
}

func (m *connectionsModel) check() {
	for range m.messages {
		m.handleOne()
	}
	if len(m.connections) != 1 {
		m.t.Errorf("seed %d: %d connections at the end", m.seed, len(m.connections))
	}
	for _, x := range m.messages {
		if !x.stored.IsZero() && x.born.After(m.began) && !x.beforeBegin && x.handled == 0 {
			m.t.Errorf("seed %d: message %d of channel %d, born %v and stored %v, was lost", m.seed, x.n, x.channel, x.born.Sub(m.start), x.stored.Sub(m.start))
		}
	}
}
