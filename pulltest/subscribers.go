package pulltest

import (
	"slices"
	"strconv"
	"time"
)

// Transports, as events and [Subscriber] name them.
const (
	overWebSocket = "websocket"
	overPoll      = "poll"
)

// Subscriber is an open connection of a subscriber: a websocket or a long poll.
// Times are by the clock of this program.
type Subscriber struct {
	Number    int       `json:"number"`             // from 1, in the order of connecting
	Transport string    `json:"transport"`          // "websocket" or "poll"
	User      int       `json:"user,omitempty"`     // whose channels; 0 if that is not known
	Since     time.Time `json:"since"`              // when it was let in
	Position  string    `json:"position,omitempty"` // what it asked to go on after, as in [Event]
	Mid       string    `json:"mid,omitempty"`      // of the last message sent
	LastPing  time.Time `json:"last_ping,omitzero"` // of the push server, sent
	LastPong  time.Time `json:"last_pong,omitzero"` // received
	Live      int       `json:"live,omitempty"`     // messages sent as they were published
	Replayed  int       `json:"replayed,omitempty"` // messages sent from the history
}

// Subscribers returns the open connections in the order of their numbers.
func (p *Portal) Subscribers() []Subscriber {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Subscriber, 0, len(h.sockets)+len(h.polls))
	for c := range h.sockets {
		list = c.appendTo(list)
	}
	for c := range h.polls {
		list = c.appendTo(list)
	}
	slices.SortFunc(list, func(a, b Subscriber) int { return a.Number - b.Number })
	return list
}

// connection is what websockets and polls have in common, and what is told of
// them to those who look on.
type connection struct {
	subscription
	hub       *hub
	process   *subscribing
	raw       *serverConn
	transport string

	// guarded by hub.mu
	era            int // of the hub when it began
	number         int
	since          time.Time
	last           string // mid
	pinged, ponged time.Time
	live, replayed int
	left           bool // it has ended for those who look on
}

func (c *connection) appendTo(list []Subscriber) []Subscriber {
	if c.left {
		return list
	}
	return append(list, Subscriber{
		Number:    c.number,
		Transport: c.transport,
		User:      c.client.user,
		Since:     c.since,
		Position:  c.from.String(),
		Mid:       c.last,
		LastPing:  c.pinged,
		LastPong:  c.ponged,
		Live:      c.live,
		Replayed:  c.replayed,
	})
}

func (p position) String() string {
	switch {
	case p.mid != "":
		return p.mid
	case p.time.IsZero():
		return ""
	}
	return p.time.UTC().Format(time.RFC3339) + " " + strconv.Itoa(p.tag)
}

// told is an event of the connection.
func (c *connection) told(e Event) {
	if c.hub.observer == nil {
		return
	}
	e.Subscriber, e.Transport, e.User = c.number, c.transport, c.client.user
	c.hub.observer.add(e)
}

// enters numbers a connection that is let in. The caller holds hub.mu.
func (c *connection) enters() {
	c.era = c.hub.era
	c.hub.numbered++
	c.number, c.since = c.hub.numbered, time.Now()
	c.told(Event{Kind: Subscribed, Position: c.from.String(), Channels: c.channelNames()})
}

// channelNames are what events call the channels of a connection, each once,
// without those who are its public ids.
func (c *connection) channelNames() []string {
	if c.hub.observer == nil {
		return nil
	}
	var names []string
	for _, channel := range c.channels {
		names = append(names, c.hub.book.nameOfKey(channel.keys()[0]))
	}
	return distinct(names)
}

// leaves says why a connection ends; only the first reason counts. The caller
// holds hub.mu.
func (c *connection) leaves(reason string, code int) {
	if c.left || c.number == 0 {
		return
	}
	c.left = true
	for w := range c.hub.awaited {
		w.leaves(c)
	}
	c.told(Event{Kind: Unsubscribed, Reason: reason, Code: code})
}

// sends notes messages that are handed to the connection. The caller holds
// hub.mu.
func (c *connection) sends(messages []*message, history bool) {
	for _, m := range messages {
		if m.answer {
			continue
		}
		c.last = m.mid
		if history {
			c.replayed++
		} else {
			c.live++
		}
		m.extras.awaited.arrives(c)
		c.told(Event{Kind: Delivered, Mid: m.mid, History: history})
	}
}

// pings notes a ping of the push server. The caller holds hub.mu.
func (c *connection) pings(reason string) {
	c.pinged = time.Now()
	c.told(Event{Kind: Pinged, Reason: reason})
}

// pongs notes a pong of the client. The caller holds hub.mu.
func (c *connection) pongs(reason string) {
	c.ponged = time.Now()
	c.told(Event{Kind: Ponged, Reason: reason})
}
