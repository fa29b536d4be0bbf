package pulltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// rpcDialect is a push server of version 5: that of version 4, and JSON-RPC for
// those who ask for it.
func rpcDialect() *dialect {
	d := protoDialect()
	d.version = 5
	d.tokens = true
	d.textPing = 15 * time.Second
	d.parseChannels = func(s signer, query url.Values, now time.Time) ([]channelID, error) {
		if query.Has("token") {
			return s.parseToken(query.Get("token"), now)
		}
		return s.parse(query.Get("CHANNEL_ID"), false)
	}
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

// takeRPC takes a frame of a client that speaks JSON-RPC.
func (c *socket) takeRPC(_ *pushServer, data []byte) {
	text := string(data)
	mid, acknowledges := strings.CutPrefix(text, "mack:")
	var answer []byte
	if text != "pong" && !acknowledges {
		answer = rpcAnswer(data)
	}
	c.hub.mu.Lock()
	defer c.hub.unlock()
	switch {
	case text == "pong":
		c.hub.stats.Pongs++
		c.textPinged = false
	case midPattern.MatchString(mid):
		c.hub.stats.Acknowledged++
	}
	c.answer(websocket.TextMessage, answer)
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
		c.push(outFrame{kind: websocket.TextMessage, data: []byte("ping")})
	}
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	rpcParseError     = &rpcError{-32700, "Parse error"}
	rpcInvalidRequest = &rpcError{-32600, "Invalid Request"}
	rpcNoMethod       = &rpcError{-32601, "Method not found"}
)

// rpcAnswer answers what a client sent; nil if there is nothing to say.
func rpcAnswer(data []byte) []byte {
	if !json.Valid(data) {
		return rpcResponse(nil, nil, rpcParseError)
	}
	var batch []json.RawMessage
	if json.Unmarshal(data, &batch) != nil || batch == nil {
		return rpcAnswerOne(data)
	}
	if len(batch) == 0 {
		return rpcResponse(nil, nil, rpcInvalidRequest)
	}
	var answers [][]byte
	for _, request := range batch {
		if a := rpcAnswerOne(request); a != nil {
			answers = append(answers, a)
		}
	}
	if answers == nil {
		return nil
	}
	return rpcBatch(answers)
}

// rpcAnswerOne answers no notification and no response.
func rpcAnswerOne(data []byte) []byte {
	var r struct {
		Version string          `json:"jsonrpc"`
		Method  *string         `json:"method"`
		ID      json.RawMessage `json:"id"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(data, &r)
	switch {
	case err == nil && r.Method == nil && (r.Result != nil || r.Error != nil):
		return nil
	case err != nil || r.Version != "2.0" || r.Method == nil:
		return rpcResponse(r.ID, nil, rpcInvalidRequest)
	case r.ID == nil:
		return nil
	case *r.Method == "ping":
		return rpcResponse(r.ID, "pong", nil)
	}
	return rpcResponse(r.ID, nil, rpcNoMethod)
}

func rpcResponse(id json.RawMessage, result any, failed *rpcError) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	data, err := json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result,omitempty"`
		Error   *rpcError       `json:"error,omitempty"`
	}{"2.0", id, result, failed})
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	return data
}
