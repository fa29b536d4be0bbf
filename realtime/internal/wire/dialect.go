package wire

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A Dialect is what push servers of different versions differ in.
type Dialect uint8

const (
	DialectTags     Dialect = iota // versions 1 and 2: text frames, positions by time and tag
	DialectText                    // version 3: text frames, positions by mid
	DialectProtobuf                // version 4
	DialectRPC                     // version 5 and later: JSON-RPC
)

// DialectOf returns the dialect of a server's version. ok is false for one that
// there is not.
func DialectOf(version int) (d Dialect, ok bool) {
	switch {
	case version < 1:
		return 0, false
	case version <= 2:
		return DialectTags, true
	case version == 3:
		return DialectText, true
	case version == 4:
		return DialectProtobuf, true
	default:
		return DialectRPC, true
	}
}

// Query is what a request must say for the frames to come in this dialect. The
// text frames of a version 4 server would name no sender: a client could forge
// control commands.
func (d Dialect) Query() []string {
	switch d {
	case DialectProtobuf:
		return []string{"binaryMode=true"}
	case DialectRPC:
		return []string{"jsonRpc=true"}
	default:
		return nil
	}
}

// After is the query that asks for what follows a position.
func (d Dialect) After(m Mid) string {
	if d != DialectTags {
		return "mid=" + m.String()
	}
	const maxTag = 999_999_999 // fits a server's integer
	at := time.Unix(max(int64(m.Epoch), 1), 0).UTC()
	// a plus would be taken literally
	return fmt.Sprintf("tag=%d&time=%s", min(m.Counter, maxTag), strings.ReplaceAll(at.Format(http.TimeFormat), " ", "%20"))
}

// Codec makes what reads the frames of one attempt. answered is told of the
// answers to calls, before Decode goes on; what it is given is valid until it
// returns. It may be nil.
func (d Dialect) Codec(channels Channels, answered func(Answer)) Codec {
	switch d {
	case DialectProtobuf:
		return newProtoCodec()
	case DialectRPC:
		return newRPCCodec(answered)
	default:
		return newTextCodec(textOptions{tags: d == DialectTags, channels: channels})
	}
}
