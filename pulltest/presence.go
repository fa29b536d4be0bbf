package pulltest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// pollLinger is how long a user stays online after a poll of his: he polls
// again, as a rule.
const pollLinger = 10 * time.Second

// presence is whether a user is online, by the connections of any of his
// channels.
type presence struct {
	connections int
	last        time.Time // when the last connection ended, or what REST has told of that
}

// arrive counts a connection of a user; 0 is nobody. The caller holds h.mu.
func (h *hub) arrive(user int) {
	if user == 0 {
		return
	}
	p := h.presence[user]
	if p == nil {
		p = new(presence)
		h.presence[user] = p
	}
	if p.connections++; p.connections == 1 {
		h.tellStatus(user, true)
	}
}

// depart ends what arrive has counted. The caller holds h.mu.
func (h *hub) depart(user int, at time.Time) {
	p := h.presence[user]
	if p == nil {
		return
	}
	if p.connections--; p.connections == 0 {
		p.last = at
		h.tellStatus(user, false)
	}
}

// departLater is depart for a poll. The caller holds hub.mu.
func (p *poll) departLater() {
	h, user := p.hub, p.client.user
	if user == 0 || p.era != h.era {
		return
	}
	at := h.clock.now()
	h.later(pollLinger, func() { h.depart(user, at) })
}

// tellStatus tells those connections of a change that have asked for it. Its
// message is not kept. The caller holds h.mu.
func (h *hub) tellStatus(user int, online bool) {
	var m *message
	for c := range h.sockets {
		if h.closed || c.closing || !c.watched[user] {
			continue
		}
		if m == nil {
			body := fmt.Sprintf(`{"module_id":"online","command":"userStatusChange","params":{"user_id":%d,"online":%t}}`, user, online)
			m = h.newMessage(body, 0, h.clock.now(), backend.sender())
			h.tellPublished(m, nil)
		}
		h.stats.StatusChanges++
		c.send([]*message{m}, false)
	}
}

// lastSeen is how many seconds ago a user was online, 0 if he is; it reports
// false for one who never was. The caller holds h.mu.
func (h *hub) lastSeen(user int) (ago int, ok bool) {
	switch p := h.presence[user]; {
	case p == nil:
		return 0, false
	case p.connections > 0:
		return 0, true
	default:
		return secondsAgo(h.clock.now(), p.last), true
	}
}

// secondsAgo is at least 1: 0 says online.
func secondsAgo(now, at time.Time) int { return max(1, int(now.Sub(at)/time.Second)) }

// note has a user be seen who was not seen before.
func (h *hub) note(user int, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.presence[user] == nil {
		h.presence[user] = &presence{last: at}
	}
}

var errUserIDs = &restError{http.StatusBadRequest, "INVALID_FORMAT", "A wrong format for the userIds field is passed"}

// lastSeen is pull.api.user.getLastSeen: what the push server knows, and what
// the portal does, who has seen the user call. With sendToQueueSever, as it is
// spelled, the push server is told, too. Those never seen are left out.
func (p *Portal) lastSeen(call restCall) (any, *restError) {
	ids, ok := listOf(call.params["USERIDS"])
	if !ok {
		return nil, errUserIDs
	}
	tell := isTrue(call.params["SENDTOQUEUESEVER"])
	list := make(map[string]any)
	for _, id := range ids {
		user, ok := integer(id)
		if !ok {
			return nil, errUserIDs
		}
		h := p.push.hub
		h.mu.Lock()
		ago, seen := h.lastSeen(user)
		h.mu.Unlock()
		if called := p.users.lastCall(user); !called.IsZero() {
			if n := secondsAgo(p.opts.clock.now(), called); !seen || n < ago {
				ago = n
			}
			if tell {
				h.note(user, called)
			}
			seen = true
		}
		if seen {
			list[strconv.Itoa(user)] = ago
		}
	}
	return phpArray(list), nil
}

// isTrue takes what stands for true in a form or in JSON.
func isTrue(value any) bool {
	switch value {
	case true, "true", "1", "Y":
		return true
	}
	n, ok := integer(value)
	return ok && n == 1
}
