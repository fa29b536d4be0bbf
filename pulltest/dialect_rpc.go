package pulltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// rpcDialect is a push server of version 5: that of version 4, and JSON-RPC for
// those who ask for it.
func rpcDialect() *dialect {
	d := protoDialect()
	d.version = 5
	d.tokens = true
	d.rpc = true
	d.textPing = 15 * time.Second
	d.parseChannels = (*pushServer).channelsOfToken
	d.framing = func(query url.Values, poll bool) *framing {
		if query.Get("jsonRpc") == "true" {
			return rpcFraming(poll)
		}
		return protoFraming(query, poll)
	}
	return d
}

// rpcFraming counts the requests of one connection. Several are a batch; a
// poll's answer always is one.
func rpcFraming(poll bool) *framing {
	sent := 0
	return &framing{
		kind:     websocket.TextMessage,
		media:    "application/json",
		textPing: true,
		encode: func(messages []*message, _ time.Time) []byte {
			requests := make([][]byte, len(messages))
			for i, m := range messages {
				sent++
				requests[i] = incomingRequest(sent, m)
			}
			if len(requests) == 1 && !poll {
				return requests[0]
			}
			return rpcBatch(requests)
		},
		take: (*socket).takeRPC,
	}
}

func rpcBatch(list [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(list, []byte(","))...), ']')
}

// extras are what a message of version 5 can have beside its body, as JSON.
type extras struct {
	userParams, dictionary json.RawMessage

	own map[channelKey]json.RawMessage // userParams of single receivers

	awaited *delivery // who waits for the message to be sent; nil: nobody
}

// incomingRequest calls incoming.message; the body goes in as it is.
func incomingRequest(id int, m *message) []byte {
	b := fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"incoming.message","id":%d,"params":{"mid":"%s","body":%s,"sender":{"type":%d,"id":"%x"}`,
		id, m.mid, m.body, m.from.kind, m.from.id)
	if m.extras.userParams != nil {
		b = fmt.Appendf(b, `,"user_params":%s`, m.extras.userParams)
	}
	if m.extras.dictionary != nil {
		b = fmt.Appendf(b, `,"dictionary":%s`, m.extras.dictionary)
	}
	return append(b, "}}"...)
}

// textPing sends a bare ping, or drops the connection that owes the pong since
// the last one. The caller holds hub.mu.
func (c *socket) textPing() {
	switch {
	case c.closing, !c.framing.textPing, c.hub.faults.is(WebSockets, stalled):
	case c.textPinged:
		c.drop()
	default:
		c.hub.stats.TextPings++
		c.textPinged = true
		c.pings("text")
		c.push(outFrame{kind: websocket.TextMessage, data: []byte("ping")})
	}
}
