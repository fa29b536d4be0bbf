package realtime

import (
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// Stats counts what a subscription has done since it was run. All but Lag only
// grow, so that a metrics library can take them for counters.
type Stats struct {
	Messages      uint64 // put into the queue for the user
	Bytes         uint64 // that these messages took
	Repeats       uint64 // that came live a second time and were dropped
	Replays       uint64 // of the history that were answered, or had nothing to read
	BrokenReplays uint64 // that broke off, and were gone on with
	Found         uint64 // messages that only a replay has brought
	Undecodable   uint64 // messages, or rests of frames, that could not be decoded
	Gaps          uint64 // reported as Gap
	Renewals      uint64 // configs fetched in place of another
	Reconnects    map[Cause]uint64
	Lag           time.Duration // from the portal's clock in a recent live message (server_time_unix) to its arrival; clocks that differ count
}

// Cause is why a connection was lost or could not be made.
type Cause string

// The causes of a reconnect.
const (
	CauseNetwork Cause = "network" // it broke off, or could not be made
	CauseClosed  Cause = "closed"  // the server closed it with a code
	CauseRefused Cause = "refused" // the server, or a proxy before it, answered with an HTTP status
	CauseStuck   Cause = "stuck"   // a ping or a poll was not answered
	CauseCrowded Cause = "crowded" // too many connections
	CauseConfig  Cause = "config"  // the config could not be fetched, or its channels were refused
	CausePaused  Cause = "paused"  // the queue was full
)

func causeOf(c StateChange) Cause {
	var status *StatusError
	var closed *CloseError
	switch why := classify(c.Cause); {
	case c.To == StatePaused:
		return CausePaused
	case c.From == StateConfiguring, why == failConfig:
		return CauseConfig
	case why == failCrowded:
		return CauseCrowded
	case errors.Is(c.Cause, errStuck):
		return CauseStuck
	case errors.As(c.Cause, &closed):
		return CauseClosed
	case errors.As(c.Cause, &status):
		return CauseRefused
	default:
		return CauseNetwork
	}
}

// counters are the Stats of a running subscription.
type counters struct {
	mu      sync.Mutex
	stats   Stats
	sampled time.Time
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Reconnects = maps.Clone(stats.Reconnects)
	return stats
}

// event counts an event that the observer is told of.
func (c *counters) event(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
	switch e := e.(type) {
	case StateChange:
		if e.To == StateWaiting || e.To == StatePaused {
			if s.Reconnects == nil {
				s.Reconnects = make(map[Cause]uint64)
			}
			s.Reconnects[causeOf(e)]++
		}
	case ReplayEnded:
		if e.Err != nil {
			s.BrokenReplays++
		} else {
			s.Replays++
		}
		s.Found += uint64(e.Found)
	case Repeat:
		s.Repeats++
	case Undecodable:
		s.Undecodable++
	case Gap:
		s.Gaps++
	case Renewal:
		if e.Err == nil {
			s.Renewals++
		}
	}
}

// Delivered counts a message that goes to the user.
func (c *counters) Delivered(m delivery.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Messages++
	c.stats.Bytes += uint64(m.Size)
}

// Arrived takes the lag of a live message, once a second at the most.
func (c *counters) Arrived(m delivery.Message, now time.Time) {
	if len(m.Extra) == 0 || now.Sub(c.sampled) < time.Second { // sampled is the loop's alone
		return
	}
	c.sampled = now
	var extra struct {
		Unix json.Number `json:"server_time_unix"`
	}
	if json.Unmarshal(m.Extra, &extra) != nil {
		return
	}
	seconds, err := extra.Unix.Float64()
	if err != nil || seconds <= 0 || seconds > 1e11 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Lag = now.Sub(time.UnixMicro(int64(seconds * 1e6)))
}
