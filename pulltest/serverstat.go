package pulltest

import (
	"encoding/json"
	"fmt"
	"os"
)

// processStats is what a process of version 4 tells of itself.
type processStats struct {
	PID         int        `json:"pid"`
	Date        int64      `json:"date"` // Unix milliseconds
	ID          string     `json:"processUniqueId"`
	Channels    int        `json:"channels"`
	Limits      pushLimits `json:"limits"`
	ClusterMode bool       `json:"clusterMode"`
	WebSockets  int        `json:"websockets"`
	Polls       int        `json:"pollings"`
	Daily       *daily     `json:"daily"`
}

// textProcessStats is the same of version 3.
type textProcessStats struct {
	PID        int    `json:"pid"`
	Date       int64  `json:"date"`
	ID         string `json:"processUniqueId"`
	Channels   int    `json:"channels"`
	Polls      int    `json:"pollings"`
	WebSockets int    `json:"websockets"`
}

type pushLimits struct {
	Payload     int `json:"maxPayload"`
	Connections int `json:"maxConnPerChannel"`
	Messages    int `json:"maxMessagesPerRequest"`
	Channels    int `json:"maxChannelsPerRequest"`
}

// daily counts requests by command and messages by type.
type daily struct {
	Requests map[string]int `json:"requests"`
	Messages map[string]int `json:"messages"`
}

// maxTypes is how many types of messages are told apart.
const maxTypes = 100

func (h *hub) countRequest(r request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.kind {
	case incomingMessages:
		h.daily.Requests["incomingMessages"]++
	case channelStats:
		h.daily.Requests["channelStats"]++
	case serverStats:
		h.daily.Requests["serverStats"]++
	}
	for _, m := range r.messages {
		kind := m.kind
		if _, known := h.daily.Messages[kind]; kind == "" || !known && len(h.daily.Messages) >= maxTypes {
			kind = "unknown"
		}
		h.daily.Messages[kind]++
	}
}

// serverStats is one JSON object a process that serves subscribers, or only
// publishes.
func (s *pushServer) serverStats() []byte {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]any, max(len(h.subscribers), len(h.publishers)))
	for i := range list {
		p := processStats{
			PID: os.Getpid() + i, Date: h.clock.now().UnixMilli(), ClusterMode: h.clustered(), Daily: &h.daily,
			Limits: pushLimits{maxRequest, maxConnections, maxMessages, maxReceivers},
		}
		p.ID = fmt.Sprintf("pulltest-%d", p.PID)
		if i < len(h.subscribers) {
			p.Channels, p.WebSockets, p.Polls = h.serves(h.subscribers[i])
		}
		list[i] = p
		if !s.dialect.publicIDs {
			list[i] = textProcessStats{p.PID, p.Date, p.ID, p.Channels, p.Polls, p.WebSockets}
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	return data
}

// serves counts a process's channels and connections.
func (h *hub) serves(p *subscribing) (channels, websockets, polls int) {
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
	return len(p.subs), websockets, polls
}
