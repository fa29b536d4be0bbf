package pulltest

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxExpiry is the longest a push server keeps a message.
	maxExpiry = 24 * time.Hour
	// historyLife is how long the index of a channel lives from its first
	// message.
	historyLife = 24 * time.Hour
	// maxConnections a channel with a public id holds.
	maxConnections = 100
)

// subscriber is a websocket or a hanging poll. The hub calls it under its
// lock, so it must not block.
type subscriber interface {
	deliver(m *message)
	evict()
	textMode() bool
}

// hub is the state of a push server's processes and their storage: who listens
// to what, what is kept, which message id comes next.
type hub struct {
	opts     *options
	dialect  *dialect
	gather   time.Duration
	handover time.Duration
	hostile  bool
	clock    *clock
	faults   faults
	observer *observer           // nil: nobody looks on
	book     *configBook         // whose the channels are
	conceal  func(string) string // takes the secrets out of a body

	mu     sync.Mutex
	closed bool
	doomed []func() // run as soon as the lock is released: they cut connections
	era    int      // counts resets

	hubState
}

// hubState is what begins anew with a reset.
type hubState struct {
	began     time.Time
	down      int   // restarts under way: nobody is let in
	epoch     int64 // Unix second of the first publish
	pastEpoch int64 // of a Redis that lost its data
	seq       uint64
	counted   time.Time // when they were last counted
	tagger    tagger
	kept      map[channelKey]*history
	sockets   map[*socket]struct{}
	polls     map[*poll]struct{}
	stats     Stats
	presence  map[int]*presence // by user
	daily     daily
	numbered  int // connections
	awaited   map[*delivery]struct{}

	processes
}

func newHub(o *options) *hub {
	return &hub{
		opts:     o,
		dialect:  o.dialect,
		gather:   o.gather,
		handover: o.handover,
		hostile:  o.hostile,
		clock:    o.clock,
		hubState: newHubState(o),
	}
}

func newHubState(o *options) hubState {
	return hubState{
		began:     time.Now(),
		counted:   time.Now(),
		kept:      make(map[channelKey]*history),
		sockets:   make(map[*socket]struct{}),
		polls:     make(map[*poll]struct{}),
		presence:  make(map[int]*presence),
		awaited:   make(map[*delivery]struct{}),
		daily:     daily{make(map[string]int), make(map[string]int)},
		processes: newProcesses(o),
	}
}

// refuseRequest counts a request of a client that was refused.
func (h *hub) refuseRequest() { h.count(func(s *Stats) { s.RefusedRequests++ }) }

// count changes the counters.
func (h *hub) count(f func(*Stats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}

// unlock releases the lock and then cuts what was doomed under it.
func (h *hub) unlock() {
	doomed := h.doomed
	h.doomed = nil
	h.mu.Unlock()
	for _, cut := range doomed {
		cut()
	}
}

// publish gives the message its id, stores it if it is to be kept, and only
// then sends it to everyone registered for one of the receivers. A message to be
// kept has only its id when publish returns. A receiver named twice hears it
// twice, and keeps it once.
func (h *hub) publish(receivers []channelKey, body string, expiry time.Duration, from sender) string {
	return h.publishWith(extras{}, receivers, body, expiry, from, false)
}

// publishWith is publish for a message with extras. One that is published at
// once is stored when publishWith returns, without disorder.
func (h *hub) publishWith(x extras, receivers []channelKey, body string, expiry time.Duration, from sender, atOnce bool) string {
	h.mu.Lock()
	defer h.unlock()
	now := h.clock.now()
	m := h.newMessage(body, min(max(expiry, 0), maxExpiry), now, from)
	m.extras = x
	copies := h.address(m, receivers, now)
	h.stats.Published++
	if from.kind == senderClient {
		h.stats.ClientMessages++
	}
	h.tellPublished(m, receivers)
	h.expects(x.awaited, receivers)
	by := h.nextPublisher()
	switch {
	case m.expiry == 0:
		h.send(copies)
	case h.disorder > 0:
		h.keepLater(by, copies, time.Duration(h.random.Int64N(int64(h.disorder)+1)))
	case !atOnce && !h.dialect.ordered:
		h.keepLater(by, copies, h.storingTime())
	default:
		h.keep(copies)
	}
	return m.mid
}

// newMessage makes a message with the next id. The caller holds h.mu.
func (h *hub) newMessage(body string, expiry time.Duration, now time.Time, from sender) *message {
	if h.epoch == 0 {
		h.epoch = max(now.Unix(), h.pastEpoch+1)
	}
	h.countOthers()
	h.seq++
	return newMessage(h.epoch, h.seq, body, expiry, now, from)
}

// address makes a copy of the message for each of its receivers.
func (h *hub) address(m *message, receivers []channelKey, now time.Time) []*message {
	copies := make([]*message, len(receivers))
	for i, key := range receivers {
		c := *m
		c.to, c.first = key, receivers[0].id
		if own, ok := m.extras.own[key]; ok {
			c.extras.userParams = own
		}
		c.tag, c.number = h.tagger.next(key, now)
		copies[i] = &c
	}
	return copies
}

// keep stores the copies of a message and then sends them.
func (h *hub) keep(copies []*message) {
	h.stats.Stored++
	now := h.clock.now()
	for i, m := range copies {
		if !slices.ContainsFunc(copies[:i], func(c *message) bool { return c.to == m.to }) {
			h.store(m, now)
		}
	}
	h.send(copies)
}

func distinct[K comparable](keys []K) []K {
	var once []K
	for _, k := range keys {
		if !slices.Contains(once, k) {
			once = append(once, k)
		}
	}
	return once
}

// history is the index of one channel, in mid order.
type history struct {
	born     time.Time
	messages []*message
	purgeAt  int
}

func (h *hub) index(key channelKey, now time.Time) *history {
	i := h.kept[key]
	if i != nil && now.Sub(i.born) >= historyLife {
		delete(h.kept, key)
		return nil
	}
	return i
}

func (h *hub) store(m *message, now time.Time) {
	i := h.index(m.to, now)
	if i == nil {
		i = &history{born: now, purgeAt: 1024}
		h.kept[m.to] = i
	}
	at, _ := slices.BinarySearchFunc(i.messages, m.mid, func(m *message, mid string) int { return strings.Compare(m.mid, mid) })
	i.messages = slices.Insert(i.messages, at, m)
	if len(i.messages) >= i.purgeAt {
		i.messages = slices.DeleteFunc(i.messages, func(m *message) bool { return m.expired(now) })
		i.purgeAt = max(1024, 2*len(i.messages))
	}
}

// after returns what the channels keep with a greater mid, in mid order. A
// message kept for two of the channels is returned twice.
func (h *hub) after(mid string, channels []channelID) []*message {
	now := h.clock.now()
	var found []*message
	for _, c := range channels {
		for _, key := range c.keys() {
			i := h.index(key, now)
			if i == nil {
				continue
			}
			from, _ := slices.BinarySearchFunc(i.messages, mid, func(m *message, mid string) int {
				if m.mid <= mid {
					return -1
				}
				return 1
			})
			for _, m := range i.messages[from:] {
				if !m.expired(now) {
					found = append(found, m)
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *message) int { return strings.Compare(a.mid, b.mid) })
	return found
}

// newest returns the mid of the newest message of the channels, or "" if there
// is none or it has expired.
func (h *hub) newest(channels []channelID) string {
	now := h.clock.now()
	var last *message
	for _, c := range channels {
		for _, key := range c.keys() {
			if i := h.index(key, now); i != nil && len(i.messages) > 0 {
				if m := i.messages[len(i.messages)-1]; last == nil || m.mid > last.mid {
					last = m
				}
			}
		}
	}
	if last == nil || last.expired(now) {
		return ""
	}
	return last.mid
}

// isDown reports whether the server restarts.
func (h *hub) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down > 0
}

// close cuts everything and lets nobody in any more.
func (h *hub) close() {
	h.mu.Lock()
	defer h.unlock()
	h.closed = true
	h.cutSockets("portal closed")
	h.cutPolls("portal closed")
}
