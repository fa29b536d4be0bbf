package jstest

import (
	"encoding/json"
	"slices"
)

// A Connection is a websocket or a poll of a watched client: where it asked to
// go on from, and what came before the client looked at it.
type Connection struct {
	Transport string // websocket or poll
	Position  Position
	Frames    [][]Arrived // the messages of each frame, or of the answer, that can be read
}

// A Position is where a client asks to go on from, as it stands in the query.
type Position struct{ Mid, Tag, Time string }

// Arrived is a message in a frame.
type Arrived struct {
	Position // Mid is missing in versions 1 and 2, the others from version 4 on
	Command  string
	Params   json.RawMessage
}

// Connections are those of a watched client so far, the oldest first.
func (c *Client) Connections() []Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.asked)
	for i := range all {
		all[i].Frames = slices.Clone(all[i].Frames)
	}
	return all
}
