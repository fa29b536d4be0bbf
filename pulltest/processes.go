package pulltest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// WithProcesses makes the push server several processes on one Redis: so many
// that serve subscribers, among whom connections are dealt in turn, and so many
// that publish, among whom messages are. The default is one of each. A channel
// holds its 100 connections in each process.
func WithProcesses(subscribers, publishers int) Option {
	return func(o *options) {
		if subscribers < 1 || publishers < 1 {
			panic(fmt.Sprintf("pulltest: WithProcesses(%d, %d): a push server has at least one of each", subscribers, publishers))
		}
		o.subscribers, o.publishers = subscribers, publishers
	}
}

// WithDisorder makes a publisher take up to max, at random but the same in
// every run, from a kept message's id to its storing and sending. [Portal.Emit]
// then returns before. Messages of expiry 0 are sent at once and so overtake
// kept ones. Kept ones of one publisher keep their order; with several
// publishers ([WithProcesses]) they overtake each other. The history is in mid
// order all the same. Versions 1 and 2 know no disorder: nginx gives out ids
// and stores under one lock.
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
func (h *hub) countOthers(now time.Time) {
	h.seq += uint64(now.Sub(h.counted).Seconds() * float64(h.traffic))
	h.counted = now
}

// SetBack sets the counter of message ids back by n, but not below 0, as a
// Redis that is restored from a backup does. What was kept under later ids is
// lost.
func (p *Portal) SetBack(n uint64) {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.countOthers(h.clock.now())
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
}

// subscribing is a process that serves subscribers: who listens to what.
type subscribing struct {
	subs      map[channelKey][]subscriber
	deafUntil time.Time
}

// publishing is a process that publishes. It stores in the order of its ids.
type publishing struct {
	published int
	late      []lateMessage
}

type lateMessage struct {
	copies []*message
	at     time.Time // not stored before
}

func newProcesses(o *options) processes {
	p := processes{disorder: o.disorder, random: rand.New(rand.NewPCG(1, 2))}
	for range o.subscribers {
		p.subscribers = append(p.subscribers, &subscribing{subs: make(map[channelKey][]subscriber)})
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
	p := h.publishers[(h.stats.Published-1)%len(h.publishers)]
	p.published++
	return p
}

// keepLater keeps a message some time from now, but not before those that got
// their id from the same process before.
func (h *hub) keepLater(p *publishing, copies []*message) {
	at := time.Now().Add(time.Duration(h.random.Int64N(int64(h.disorder) + 1)))
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
				h.stats.Unheard += len(p.subs[m.to])
				continue
			}
			subs := slices.Clone(p.subs[m.to])
			if slices.ContainsFunc(subs, subscriber.textMode) {
				m = m.inMilliseconds()
			}
			for _, s := range subs {
				s.deliver(m)
			}
		}
	}
}

// register makes s hear the channels from now on. A channel with a public id
// that is full throws out its oldest connection.
func (p *subscribing) register(s subscriber, channels []channelID) {
	for _, c := range channels {
		if c.public == "" {
			continue
		}
		key := channelKey{c.private, true}
		for len(p.subs[key]) >= maxConnections {
			oldest := p.subs[key][0]
			p.unregister(oldest)
			oldest.evict()
		}
	}
	for _, c := range channels {
		for _, key := range c.keys() {
			if !slices.Contains(p.subs[key], s) {
				p.subs[key] = append(p.subs[key], s)
			}
		}
	}
}

func (p *subscribing) unregister(s subscriber) {
	for key, list := range p.subs {
		i := slices.Index(list, s)
		switch {
		case i < 0:
		case len(list) == 1:
			delete(p.subs, key)
		default:
			p.subs[key] = slices.Delete(list, i, i+1)
		}
	}
}

// online counts the connections registered for an id.
func (h *hub) online(key channelKey) int {
	n := 0
	for _, p := range h.subscribers {
		n += len(p.subs[key])
	}
	return n
}

// processStats describes each process; a process can be of both kinds.
func (h *hub) processStats(uptime time.Duration) []map[string]any {
	list := make([]map[string]any, max(len(h.subscribers), len(h.publishers)))
	for i := range list {
		list[i] = map[string]any{"id": fmt.Sprintf("pulltest-%d", i), "uptime": int(uptime.Seconds())}
	}
	for i, p := range h.subscribers {
		websockets, polls := 0, 0
		for c := range h.sockets {
			if c.process == p {
				websockets++
			}
		}
		for c := range h.polls {
			if c.process == p {
				polls++
			}
		}
		list[i]["websockets"], list[i]["pollings"] = websockets, polls
	}
	for i, p := range h.publishers {
		list[i]["published"] = p.published
	}
	return list
}
