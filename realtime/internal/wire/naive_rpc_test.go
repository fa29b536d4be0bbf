package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// naiveRPC reads a JSON-RPC frame with encoding/json, as far as it is in order;
// ok is false if that is not to its end. Params that had something merged into
// them are in the form of sorted.
func naiveRPC(frame []byte) (messages []naiveMessage, undecodable int, ok bool) {
	frame = bytes.Trim([]byte(naiveBegin(string(frame))), " \t\r\n")
	if bytes.HasPrefix(frame, startMark) {
		return naiveText(frame, textOptions{}, SenderUnknown)
	}
	if len(frame) == 0 || string(frame) == "ping" {
		return nil, 0, true
	}
	elements, ok := naiveElements(frame)
	for _, e := range elements {
		switch m, is, ok := naiveCall(e); {
		case !ok:
			undecodable++
		case is:
			messages = append(messages, m)
		}
	}
	return messages, undecodable, ok
}

// naiveElements are the elements of an array, or the one object. Of an array
// that is not in order they are those with a comma or a bracket behind them.
func naiveElements(frame []byte) (elements []json.RawMessage, ok bool) {
	if frame[0] == '{' && json.Valid(frame) {
		return []json.RawMessage{frame}, true
	}
	if json.Unmarshal(frame, &elements) == nil {
		return elements, frame[0] == '['
	}
	decoder := json.NewDecoder(bytes.NewReader(frame))
	if first, err := decoder.Token(); err != nil || first != json.Delim('[') {
		return nil, false
	}
	elements = nil
	for {
		var e json.RawMessage
		if decoder.Decode(&e) != nil {
			return elements, false
		}
		rest := bytes.TrimLeft(frame[decoder.InputOffset():], " \t\r\n")
		if len(rest) == 0 || rest[0] != ',' && rest[0] != ']' {
			return elements, false
		}
		elements = append(elements, e)
		if rest[0] == ']' {
			return elements, false
		}
	}
}

func naiveCall(raw json.RawMessage) (m naiveMessage, is, ok bool) {
	call := naiveObject(raw)
	if call == nil {
		return m, false, false
	}
	if naivePlain(call["method"]) != "incoming.message" {
		return m, false, true
	}
	params := naiveObject(call["params"])
	m.ID = naivePlain(params["mid"])
	if params == nil || len(m.ID) > maxIDSize {
		return m, true, false
	}
	body := string(params["body"])
	m.Key = naiveKey(m.ID, body, m.ID)
	if strings.HasPrefix(body, `"`) {
		body = naivePlain(params["body"])
	}
	if !naiveBody(&m, body) {
		return m, true, false
	}
	m.Body = body
	by := naiveObject(params["sender"])
	switch naivePlain(by["type"]) {
	case "1":
		m.Sender = Sender{SenderClient, naivePlain(by["id"])}
	case "2":
		m.Sender = Sender{Type: SenderBackend}
	}
	m.Params = naiveMerge(m.Params, naiveObject(params["user_params"]), naiveObject(params["dictionary"]))
	return m, true, true
}

func naiveMerge(params string, user, dictionary map[string]json.RawMessage) string {
	var list []any
	isList := json.Unmarshal([]byte(params), &list) == nil && list != nil
	if params == "" || isList && len(list) == 0 {
		if user == nil && dictionary == nil {
			return params
		}
		params = "{}"
	}
	all := naiveObject(json.RawMessage(params))
	if all == nil || user == nil && dictionary == nil {
		return params
	}
	maps.Copy(all, user)
	maps.Copy(all, dictionary)
	return marshaled(all)
}

// sorted is an object without white space, its members in order of their names.
func sorted(object json.RawMessage) json.RawMessage {
	return json.RawMessage(marshaled(naiveObject(object)))
}

func marshaled(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func rpcSeeds(tb testing.TB) []string {
	seeds := []string{
		wiretest.GoodCall("a"),
		"[" + wiretest.GoodCall("a") + " , " + wiretest.GoodCall("b") + `,{"id":1,"result":[]},5,{"method":"incoming.message"}]`,
		wiretest.Call(`{"mid":17,"body":"{\"params\":{\"a\":1,\"b\":{}}}","sender":{"type":"1","id":"aa"},"user_params":{"\u0061":2},"dictionary":{"c":[]}}`),
		wiretest.Call(`{"mid":"` + wiretest.ID + `","body":` + busyBody + `,"sender":{"type":2},"user_params":[],"dictionary":null}`),
		`[{"a":NaN},` + wiretest.GoodCall("a") + `,{"b":[1}` + wiretest.GoodCall("c"),
		"\ufeff " + wiretest.GoodCall("a"),
		wiretest.Call(`{"mid":17,"body":"\ufeff{\"params\":{}}"}`),
		`ping`, ``,
	}
	for _, server := range []string{"pushserver3", "pushserver"} {
		for _, frame := range wiretest.Frames(tb, server, "text") {
			seeds = append(seeds, string(frame))
		}
	}
	return seeds
}

func newRPC() Codec { return newRPCCodec(nil) }

// FuzzRPCCodec compares the streaming decoder with the naive one, and with
// itself where a frame comes in pieces.
func FuzzRPCCodec(f *testing.F) {
	for _, frame := range rpcSeeds(f) {
		f.Add([]byte(frame), uint16(len(frame)/2))
	}
	f.Fuzz(func(t *testing.T, frame []byte, cut uint16) {
		got, bad, err := readAlike(t, newRPC, frame, cut)
		want, undecodable, ok := naiveRPC(frame)
		for i := range min(len(got), len(want)) {
			if got[i].Params != nil && want[i].Params != string(got[i].Params) && want[i].Params == string(sorted(got[i].Params)) {
				got[i].Size -= len(got[i].Params) - len(want[i].Params)
				got[i].Params = slices.Clip(json.RawMessage(want[i].Params))
			}
		}
		compareNaive(t, frame, got, bad, err, want, undecodable, ok)
	})
}

// BenchmarkRPCCodec reads a batch of a thousand messages, beside the naive
// decoder: the ratio is the figure to watch.
func BenchmarkRPCCodec(b *testing.B) {
	const n = 1000
	calls := make([]string, n)
	for i := range calls {
		calls[i] = wiretest.Call(`{"mid":"` + Mid{1795421100, uint64(i + 1)}.String() + `","body":` + busyBody + `,"sender":{"type":2,"id":""}}`)
	}
	frame := []byte("[" + strings.Join(calls, ",") + "]")
	benchmarkCodec(b, newRPCCodec(nil), frame, n, func() (int, bool) {
		got, _, ok := naiveRPC(frame)
		return len(got), ok
	})
}
