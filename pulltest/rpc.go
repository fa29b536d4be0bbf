package pulltest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	rpcParseError     = &rpcError{-32700, "Parse error"}
	rpcInvalidRequest = &rpcError{-32600, "Invalid Request"}
	rpcNoMethod       = &rpcError{-32601, "Method not found"}
	rpcInvalidParams  = &rpcError{-32602, "Invalid params"}
)

// rpcCaller is a client of version 5 that calls: over its websocket, or by POST
// without one.
type rpcCaller struct {
	*pushServer
	from publisher
	c    *socket      // nil by POST
	note *requestNote // of a POST
}

// rpcMethods are what clients may call. Those that are about a connection need
// one.
var rpcMethods = map[string]struct {
	call            func(rpcCaller, json.RawMessage) (any, *rpcError)
	needsConnection bool
}{
	"ping":                    {rpcCaller.ping, false},
	"publish":                 {rpcCaller.publish, false},
	"getUsersLastSeen":        {rpcCaller.usersLastSeen, false},
	"listChannels":            {rpcCaller.listChannels, true},
	"subscribeStatusChange":   {rpcCaller.subscribeStatus, true},
	"unsubscribeStatusChange": {rpcCaller.unsubscribeStatus, true},
}

// takeRPC takes a frame of a client that speaks JSON-RPC.
func (c *socket) takeRPC(s *pushServer, _ int, data []byte) {
	if string(data) == "pong" {
		c.hub.mu.Lock()
		defer c.hub.mu.Unlock()
		c.hub.stats.Pongs++
		c.textPinged = false
		c.pongs("text")
		return
	}
	answer := rpcCaller{s, c.client, c, nil}.take(data)
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.answer(websocket.TextMessage, answer)
}

// isRPC reports whether the body of a POST is JSON-RPC, or acknowledges
// messages; no RequestBatch begins so.
func isRPC(body []byte) bool {
	text := string(body)
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, acknowledgement)
}

// serveRPC takes the POST of a client that speaks JSON-RPC.
func (s *pushServer) serveRPC(w http.ResponseWriter, r *http.Request, body []byte, from publisher) {
	answer := rpcCaller{s, from, nil, noteOf(r)}.take(body)
	if answer == nil {
		accept(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(answer)
}

// acknowledgement stands in front of a mid; of several on lines of their own.
const acknowledgement = "mack:"

// take executes what a client sends, and returns the answer; nil if there is
// nothing to say.
func (r rpcCaller) take(data []byte) []byte {
	if text := string(data); strings.HasPrefix(text, acknowledgement) {
		for line := range strings.Lines(text) {
			mid, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), acknowledgement)
			if ok && midPattern.MatchString(mid) {
				r.hub.count(func(s *Stats) { s.Acknowledged++ })
			}
		}
		return nil
	}
	if !json.Valid(data) {
		return r.respond(nil, nil, rpcParseError)
	}
	var batch []json.RawMessage
	if json.Unmarshal(data, &batch) != nil || batch == nil {
		return r.takeOne(data)
	}
	if len(batch) == 0 {
		return r.respond(nil, nil, rpcInvalidRequest)
	}
	var answers [][]byte
	for _, request := range batch {
		if a := r.takeOne(request); a != nil {
			answers = append(answers, a)
		}
	}
	if answers == nil {
		return nil
	}
	return rpcBatch(answers)
}

// takeOne executes one call. No notification and no response is answered.
func (r rpcCaller) takeOne(data []byte) []byte {
	var call struct {
		Version string          `json:"jsonrpc"`
		Method  *string         `json:"method"`
		Params  json.RawMessage `json:"params"`
		ID      json.RawMessage `json:"id"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(data, &call)
	switch {
	case err == nil && call.Method == nil && (call.Result != nil || call.Error != nil):
		return nil
	case err != nil || call.Version != "2.0" || call.Method == nil:
		return r.respond(call.ID, nil, rpcInvalidRequest)
	}
	result, failed, answers := r.execute(*call.Method, call.Params)
	if call.ID != nil && answers {
		return r.respond(call.ID, result, failed)
	}
	if failed != nil {
		r.hub.refuseRequest()
	}
	return nil
}

// execute makes a call, unless a fault is in the way; it reports whether an
// answer is to be sent.
func (r rpcCaller) execute(method string, params json.RawMessage) (result any, failed *rpcError, answers bool) {
	m, known := rpcMethods[method]
	if !known || m.needsConnection && r.c == nil {
		return nil, rpcNoMethod, true
	}
	f := r.hub.faults.of(Publishing)
	if f == nil || r.c == nil && f.kind != rpcFailure {
		result, failed = m.call(r, params)
		return result, failed, true
	}
	switch f.kind {
	case rpcFailure:
		if !f.past() {
			if r.note != nil {
				r.note.event.Fault = f.name
			}
			return nil, &rpcError{f.status, f.text}, true
		}
	case stalled:
		if !f.past() {
			return nil, nil, false
		}
	case unanswered:
		if !f.past() {
			_, failed = m.call(r, params)
			r.c.end("lost answer")
			r.c.abort()
			return nil, failed, false
		}
	}
	result, failed = m.call(r, params)
	return result, failed, true
}

func (r rpcCaller) respond(id json.RawMessage, result any, failed *rpcError) []byte {
	if failed != nil {
		r.hub.refuseRequest()
	}
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
