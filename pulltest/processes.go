package pulltest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// WithProcesses makes the push server several processes on one Redis: so many
// that serve subscribers, among whom connections are dealt in turn, and so many
// that publish, among whom messages are; each 1 to 1000. The default is one of
// each. A channel holds its 100 connections in each process.
func WithProcesses(subscribers, publishers int) Option {
	return func(o *options) { o.subscribers, o.publishers = subscribers, publishers }
}

// WithDisorder makes a publisher take up to max, at random but the same in
// every run, from a kept message's id to its storing and sending. [Portal.Emit]
// then returns before. By default that takes half a millisecond, and none for
// what Emit publishes. Messages of expiry 0 are sent at once and so overtake
// kept ones. Kept ones of one publisher keep their order; with several
// publishers ([WithProcesses]) they overtake each other. The history is in mid
// order all the same. Versions 1 and 2 know no disorder: nginx gives out ids and
// stores under one lock.
func WithDisorder(max time.Duration) Option {
	return func(o *options) { o.disorder = max }
}

// Silence lets a subscriber process, counted from 0, hear nothing of Redis for
// the time d: it sends nothing live, answers pings and reads the history as
// ever. It panics if there is no such process.
func (p *Portal) Silence(process int, d time.Duration) {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers[process].deafUntil = time.Now().Add(d)
}

// Forget makes the Redis lose its data: the history is gone, and the mids begin
// anew from 1 with a later epoch; in versions 1 and 2 the ids of each channel
// do.
func (p *Portal) Forget() {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.kept)
	h.pastEpoch = max(h.pastEpoch, h.epoch)
	h.epoch, h.seq = 0, 0
	clear(h.tagger.numbers)
}

// WithTraffic makes others take so many message ids a second, as the other
// portals do that share a push server in the cloud.
func WithTraffic(perSecond int) Option {
	return func(o *options) { o.traffic = perSecond }
}

// countOthers counts the ids that others have taken since it was last called.
func (h *hub) countOthers() {
	now := time.Now() // nobody else lives by the portal's clock
	h.seq += uint64(now.Sub(h.counted).Seconds() * float64(h.opts.traffic))
	h.counted = now
}

// SetBack sets the counter of message ids back by n, but not below 0, as a
// Redis that is restored from a backup does. What was kept under later ids is
// lost.
func (p *Portal) SetBack(n uint64) {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.countOthers()
	h.seq -= min(n, h.seq)
	for _, i := range h.kept {
		i.messages = slices.DeleteFunc(i.messages, func(m *message) bool { return m.seq > h.seq })
	}
}

// processes are those of one push server.
type processes struct {
	subscribers []*subscribing
	publishers  []*publishing
	dealt       int // connections
	disorder    time.Duration
	random      *rand.Rand
	believed    map[channelKey]time.Time // online, in a cluster
}

// subscribing is a process that serves subscribers: who listens to what.
type subscribing struct {
	subs      map[string][]subscriber // by private id
	pairs     map[string]string       // the private ids of public ones
	deafUntil time.Time
}

// publishing is a process that publishes. It stores in the order of its ids.
type publishing struct {
	late []lateMessage
}

type lateMessage struct {
	copies []*message
	at     time.Time // not stored before
}

func newProcesses(o *options) processes {
	p := processes{disorder: o.disorder, random: rand.New(rand.NewPCG(1, 2)), believed: make(map[channelKey]time.Time)}
	for range o.subscribers {
		p.subscribers = append(p.subscribers, &subscribing{subs: make(map[string][]subscriber), pairs: make(map[string]string)})
	}
	for range o.publishers {
		p.publishers = append(p.publishers, &publishing{})
	}
	return p
}

// deal gives a new connection its process.
func (h *hub) deal() *subscribing {
	h.dealt++
	return h.subscribers[(h.dealt-1)%len(h.subscribers)]
}

// nextPublisher gives the message that has just got its id its process.
func (h *hub) nextPublisher() *publishing {
	return h.publishers[(h.stats.Published-1)%len(h.publishers)]
}

// storingTime is how long it takes to store a message; with several processes
// they vary, so that messages overtake each other.
func (h *hub) storingTime() time.Duration {
	if !h.clustered() {
		return storing
	}
	return storing/2 + time.Duration(h.random.Int64N(int64(storing)))
}

// keepLater keeps a message after a delay, but not before those that got their
// id from the same process before.
func (h *hub) keepLater(p *publishing, copies []*message, delay time.Duration) {
	at := time.Now().Add(delay)
	p.late = append(p.late, lateMessage{copies, at})
	time.AfterFunc(time.Until(at), func() { h.keepDue(p) })
}

func (h *hub) keepDue(p *publishing) {
	h.mu.Lock()
	defer h.unlock()
	now := time.Now()
	for !h.closed && len(p.late) > 0 && !now.Before(p.late[0].at) {
		m := p.late[0]
		p.late = p.late[1:]
		h.keep(m.copies)
	}
}

// send hands the copies of a message to everyone registered for their channels.
func (h *hub) send(copies []*message) {
	now := time.Now()
	for _, p := range h.subscribers {
		for _, m := range copies {
			if now.Before(p.deafUntil) {
				h.stats.Unheard += len(p.listeners(m.to))
				continue
			}
			subs := slices.Clone(p.listeners(m.to))
			if slices.ContainsFunc(subs, subscriber.textMode) {
				m = m.inMilliseconds()
			}
			for _, s := range subs {
				s.deliver(m)
			}
		}
	}
}

// listeners are those who hear what is sent to an id. Which channel a public id
// belongs to is known from when somebody names both until nobody listens to the
// channel any more; meanwhile all of its listeners hear it.
func (p *subscribing) listeners(key channelKey) []subscriber {
	if !key.private {
		return p.subs[p.pairs[key.id]]
	}
	return p.subs[key.id]
}

// register makes s hear the channels from now on. A channel with a public id
// that is full throws out its oldest connection.
func (p *subscribing) register(s subscriber, channels []channelID) {
	for _, c := range channels {
		if c.public == "" {
			continue
		}
		for len(p.subs[c.private]) >= maxConnections {
			oldest := p.subs[c.private][0]
			p.unregister(oldest)
			oldest.evict()
		}
	}
	for _, c := range channels {
		if c.public != "" {
			p.pairs[c.public] = c.private
		}
		if !slices.Contains(p.subs[c.private], s) {
			p.subs[c.private] = append(p.subs[c.private], s)
		}
	}
}

// register is that of a process, and what the others learn of it.
func (h *hub) register(p *subscribing, s subscriber, channels []channelID) {
	p.register(s, channels)
	h.noteOnline(channels)
}

func (p *subscribing) unregister(s subscriber) {
	for id, list := range p.subs {
		i := slices.Index(list, s)
		switch {
		case i < 0:
		case len(list) == 1:
			delete(p.subs, id)
			maps.DeleteFunc(p.pairs, func(_, private string) bool { return private == id })
		default:
			p.subs[id] = slices.Delete(list, i, i+1)
		}
	}
}

// online counts the connections registered for an id.
func (h *hub) online(key channelKey) int {
	n := 0
	for _, p := range h.subscribers {
		n += len(p.listeners(key))
	}
	return n
}

// clusterMemory is how long several processes believe that a channel is online.
const clusterMemory = 130 * time.Second

// maxBelieved is how many ids are believed online at most. Beyond it those are
// forgotten that are no more, and if that is not enough, those who came first.
const maxBelieved = 1 << 16

// clustered reports whether there are several processes that have to tell each
// other who is online.
func (h *hub) clustered() bool {
	return !h.dialect.ordered && max(h.opts.subscribers, h.opts.publishers) > 1
}

// noteOnline has the processes of a cluster believe that the first channel of a
// connection is online: the others are not heard of, nor is the end.
func (h *hub) noteOnline(channels []channelID) {
	if !h.clustered() || len(channels) == 0 {
		return
	}
	now := h.clock.now()
	keys := channels[0].keys()
	if len(h.believed)+len(keys) > maxBelieved {
		maps.DeleteFunc(h.believed, func(_ channelKey, at time.Time) bool { return now.Sub(at) >= clusterMemory })
		forgetHalf(h.believed, maxBelieved-len(keys)+1, time.Time.Compare)
	}
	for _, key := range keys {
		h.believed[key] = now
	}
}

// isOnline is what servers tell of an id.
func (h *hub) isOnline(key channelKey) bool {
	if !h.clustered() {
		return h.online(key) > 0
	}
	at, known := h.believed[key]
	return known && h.clock.now().Sub(at) < clusterMemory
}
