package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/b24pull/b24pull/internal/quote"
)

// Calls of JSON-RPC 2.0, which clients of servers from version 5 on make over
// their websocket, and the answers to them, which come between the messages.

// MaxAnswerSize is how long an answer may be, in bytes. No call of a client is
// answered by more than an entry for each of the users that it names.
const MaxAnswerSize = 1 << 20

// An Answer is what the server answers to a call.
type Answer struct {
	ID     uint64          // of the call
	Result json.RawMessage // JSON; nil if there is an Err
	Err    error           // *RPCError if the server refused; *TooLongError
}

// Clone returns a copy that shares no memory with the frame.
func (a Answer) Clone() Answer {
	a.Result = slices.Clone(a.Result)
	if refused, ok := a.Err.(*RPCError); ok {
		own := *refused
		own.Data = slices.Clone(own.Data)
		a.Err = &own
	}
	return a
}

// RPCError is the error that a server answers to a call.
type RPCError struct {
	Code    int             // -32700 and -32600 to -32603 are the standard's; 0 if there was none
	Message string          // the server's own words
	Data    json.RawMessage // what the server has added; nil if nothing
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("the push server answered with error %d: %s", e.Code, quote.Text(e.Message, quote.TextLimit))
}

// AppendCall appends a call to b. params is JSON, an object or an array; nil
// for none.
func AppendCall(b []byte, id uint64, method string, params json.RawMessage) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendUint(b, id, 10)
	b = append(b, `,"method":`...)
	name, err := json.Marshal(method)
	if err != nil {
		panic(err) // a string always has a form
	}
	b = append(b, name...)
	if params != nil {
		b = append(b, `,"params":`...)
		b = append(b, params...)
	}
	return append(b, '}')
}

// reply holds the JSON values of what may be an answer.
type reply struct{ id, result, err []byte }

// is reports whether it is one.
func (r *reply) is() bool { return r.id != nil && (r.result != nil || r.err != nil) }

// answer reads an answer of so many bytes. ok is false if it names no call of
// ours, whose ids are natural numbers. It shares the frame's memory.
func (r *reply) answer(size int) (a Answer, ok bool) {
	const maxDigits = 20
	id := plain(r.id)
	if len(id) > maxDigits {
		return a, false
	}
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return a, false
	}
	a.ID = n
	switch failed := present(r.err); {
	case size > MaxAnswerSize:
		a.Err = &TooLongError{Size: int64(size), Limit: MaxAnswerSize}
	case failed != nil:
		a.Err = rpcErrorOf(failed)
	default:
		a.Result = r.result
	}
	if a.Err == nil && a.Result == nil {
		a.Result = json.RawMessage("null")
	}
	return a, true
}

// rpcErrorOf reads {"code","message","data"}. Text in place of the object is
// taken for the message.
func rpcErrorOf(value []byte) *RPCError {
	e := &RPCError{Message: string(plain(value))}
	_ = eachMember(value, func(name, value []byte) error { // anything but an object has no code
		switch string(name) {
		case "code":
			code, err := strconv.ParseInt(string(plain(value)), 10, 32)
			if err == nil {
				e.Code = int(code)
			}
		case "message":
			e.Message = string(plain(value))
		case "data":
			e.Data = present(value)
		}
		return nil
	})
	return e
}
