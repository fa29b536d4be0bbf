package realtime

import (
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/realtime/internal/wire"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// A floodForm is how a server of a version writes messages.
type floodForm struct {
	version int
	kind    int // of a websocket's frames
	message func(m wire.Mid, command string) []byte
	frame   func(w io.Writer, messages iter.Seq[[]byte]) error
}

// As many messages of JSON take more than maxResident if there is no bound to
// what is kept of them, live and of a history.
const (
	jsonFloodSize   = 1_200_000
	jsonHistorySize = 2_000_000
)

var (
	protoFlood = floodForm{4, websocket.BinaryMessage, protoMessage, protoFrame}
	textFlood  = floodForm{2, websocket.TextMessage, textMessage, textFrame}
	rpcFlood   = floodForm{5, websocket.TextMessage, rpcMessage, rpcFrame}
)

// jsonFloods are those of the versions whose frames are JSON.
var jsonFloods = map[string]*flood{
	"text": {form: textFlood, size: jsonFloodSize, message: func(n uint64) []byte { return textMessage(wire.Mid{Epoch: epochOfFlood, Counter: n}, "c") }},
	"text of an older second each": {form: textFlood, size: jsonFloodSize, message: func(n uint64) []byte {
		return textMessage(wire.Mid{Epoch: epochOfFlood - 10 - n, Counter: 1}, "c")
	}},
	"text without tags": {form: textFlood, size: jsonFloodSize, message: func(n uint64) []byte {
		return fmt.Appendf(nil, `#!NGINXNMS!#{"id":%d,"time":"Mon, 23 Nov 2026 08:05:00 GMT","text":{"command":"c"}}#!NGINXNME!#`, n)
	}},
	"text, history of one second": {form: textFlood, size: jsonHistorySize, history: true, message: func(n uint64) []byte {
		return textMessage(wire.Mid{Epoch: epochOfFlood, Counter: n}, "c")
	}},
	"JSON-RPC": {form: rpcFlood, size: jsonFloodSize, message: func(n uint64) []byte { return rpcMessage(wire.Mid{Epoch: epochOfFlood, Counter: n}, "c") }},
	"JSON-RPC, descending": {form: rpcFlood, size: jsonFloodSize, message: func(n uint64) []byte {
		return rpcMessage(wire.Mid{Epoch: epochOfFlood, Counter: 1<<40 - n}, "c")
	}},
	"JSON-RPC without mids": {form: rpcFlood, size: jsonFloodSize, message: func(n uint64) []byte {
		return []byte(wiretest.Call(fmt.Sprintf(`{"body":{"command":"c","params":{"n":%d}}}`, n)))
	}},
	"JSON-RPC, history of one second": {form: rpcFlood, size: jsonHistorySize, history: true, message: func(n uint64) []byte {
		return rpcMessage(wire.Mid{Epoch: epochOfFlood, Counter: n}, "c")
	}},
}

// last is the message behind a flood.
func (f floodForm) last() []byte {
	if f.version == 4 {
		return wiretest.Message(epochOfFlood, 1<<41, lastCommand, unkept)
	}
	return f.message(wire.Mid{Epoch: epochOfFlood + 1, Counter: 1}, lastCommand)
}

// after is the position that a request asks for what follows.
func (f floodForm) after(query url.Values) wire.Mid {
	if f.version == 2 {
		at, _ := time.Parse(http.TimeFormat, query.Get("time"))
		tag, _ := strconv.ParseUint(query.Get("tag"), 10, 64)
		return wire.Mid{Epoch: uint64(max(at.Unix(), 0)), Counter: tag}
	}
	after, _ := wire.MidFromDigits([]byte(query.Get("mid")))
	return after
}

func protoMessage(m wire.Mid, command string) []byte {
	return wiretest.Message(m.Epoch, m.Counter, command)
}

// protoFrame writes a ResponseBatch, in groups.
func protoFrame(w io.Writer, messages iter.Seq[[]byte]) error {
	var group [][]byte
	for m := range messages {
		if group = append(group, m); len(group) < 64 {
			continue
		}
		if _, err := w.Write(wiretest.Frame(group)); err != nil {
			return err
		}
		group = group[:0]
	}
	if len(group) == 0 {
		return nil
	}
	_, err := w.Write(wiretest.Frame(group))
	return err
}

// textMessage is one of version 2, which has a time and a tag.
func textMessage(m wire.Mid, command string) []byte {
	at := time.Unix(int64(m.Epoch), 0).UTC().Format(http.TimeFormat)
	return fmt.Appendf(nil, `#!NGINXNMS!#{"id":%d,"channel":"c","tag":"%d","time":"%s","text":{"command":"%s"}}#!NGINXNME!#`, m.Counter, m.Counter, at, command)
}

func textFrame(w io.Writer, messages iter.Seq[[]byte]) error {
	for m := range messages {
		if _, err := w.Write(m); err != nil {
			return err
		}
	}
	return nil
}

func rpcMessage(m wire.Mid, command string) []byte {
	return []byte(wiretest.Call(`{"mid":"` + m.String() + `","body":{"command":"` + command + `"}}`))
}

// rpcFrame writes an array.
func rpcFrame(w io.Writer, messages iter.Seq[[]byte]) error {
	before := "["
	for m := range messages {
		if _, err := io.WriteString(w, before+string(m)); err != nil {
			return err
		}
		before = ","
	}
	if before == "[" { // there are none
		before += "]"
	} else {
		before = "]"
	}
	_, err := io.WriteString(w, before)
	return err
}
