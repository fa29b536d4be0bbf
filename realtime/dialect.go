package realtime

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A dialect is what push servers of different versions differ in.
type dialect uint8

const (
	dialectTags     dialect = iota // versions 1 and 2: text frames, positions by time and tag
	dialectText                    // version 3: text frames, positions by mid
	dialectProtobuf                // version 4
	dialectRPC                     // version 5 and later: JSON-RPC
)

// dialectOf returns the dialect of a server's version.
func dialectOf(version int) (dialect, error) {
	switch {
	case version < 1:
		return 0, fmt.Errorf("%w: its version is %d", ErrUnsupportedServer, version)
	case version <= 2:
		return dialectTags, nil
	case version == 3:
		return dialectText, nil
	case version == 4:
		return dialectProtobuf, nil
	default:
		return dialectRPC, nil
	}
}

// query is what a request must say for the frames to come in this dialect. The
// text frames of a version 4 server would name no sender: a client could forge
// control commands.
func (d dialect) query() []string {
	switch d {
	case dialectProtobuf:
		return []string{"binaryMode=true"}
	case dialectRPC:
		return []string{"jsonRpc=true"}
	default:
		return nil
	}
}

// after is the query that asks for what follows a position.
func (d dialect) after(m mid) string {
	if d != dialectTags {
		return "mid=" + m.String()
	}
	const maxTag = 999_999_999 // fits a server's integer
	at := time.Unix(max(int64(m.epoch), 1), 0).UTC()
	// a plus would be taken literally
	return fmt.Sprintf("tag=%d&time=%s", min(m.counter, maxTag), strings.ReplaceAll(at.Format(http.TimeFormat), " ", "%20"))
}

// codec makes what reads the frames of one link.
func (d dialect) codec(channels map[string]ChannelType) codec {
	switch d {
	case dialectProtobuf:
		return newProtoCodec()
	case dialectRPC:
		return newRPCCodec()
	default:
		return newTextCodec(textOptions{tags: d == dialectTags, channels: channels})
	}
}
