package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// naiveBegin cuts off what may stand before a frame.
func naiveBegin(frame string) string {
	for {
		frame = strings.TrimLeft(frame, " \t\r\n")
		rest, marked := strings.CutPrefix(frame, "\ufeff")
		if !marked {
			return frame
		}
		frame = rest
	}
}

// naiveText reads a text frame with encoding/json, as far as it is in order; ok
// is false if that is not to its end.
func naiveText(frame []byte, o textOptions, sender SenderType) (messages []naiveMessage, undecodable int, ok bool) {
	rest := naiveBegin(string(frame))
	for {
		if rest = strings.TrimLeft(rest, " \t\r\n"); rest == "" {
			return messages, undecodable, true
		}
		if rest, ok = strings.CutPrefix(rest, string(startMark)); !ok {
			return messages, undecodable, false
		}
		decoder := json.NewDecoder(strings.NewReader(rest))
		var raw json.RawMessage
		if decoder.Decode(&raw) != nil {
			return messages, undecodable, false
		}
		rest = strings.TrimLeft(rest[decoder.InputOffset():], " \t\r\n")
		if rest, ok = strings.CutPrefix(rest, string(endMark)); !ok {
			return messages, undecodable, false
		}
		if m, ok := naiveEnvelope(raw, o); ok {
			m.Sender.Type = sender
			messages = append(messages, m)
		} else {
			undecodable++
		}
	}
}

func naiveEnvelope(raw json.RawMessage, o textOptions) (m naiveMessage, ok bool) {
	e := naiveObject(raw)
	if len(e["text"]) == 0 || !naiveBody(&m, string(e["text"])) {
		return m, false
	}
	m.Body = string(e["text"])
	if at, err := time.Parse(http.TimeFormat, naivePlain(e["time"])); err == nil {
		m.Time = at
	}
	if extra := string(e["extra"]); m.Extra == "" && extra != "null" {
		m.Extra = extra
	}
	channel, beside := naivePlain(e["channel"]), naivePlain(naiveObject(e["extra"])["channel"])
	m.Key.Sum = naiveSum(channel, beside, string(e["id"]), string(e["text"]))
	if channel == "" {
		channel = naivePlain(naiveObject(json.RawMessage(m.Extra))["channel"])
	}
	m.Channel = o.channels.Of([]byte(channel))
	if !o.tags {
		m.ID = naivePlain(e["mid"])
		instead := m.ID
		if instead == "" {
			instead = string(e["id"])
		}
		m.Key = naiveKey(m.ID, string(e["text"]), instead)
		return m, len(m.ID) <= maxIDSize
	}
	tag := naivePlain(e["tag"])
	counter, err := strconv.ParseUint(tag, 10, 64)
	if second := m.Time.Unix(); err == nil && len(tag) <= 16 && second >= 0 && second < 1e10 {
		m.Key.Mid = Mid{uint64(second), counter}
	}
	return m, true
}

// naiveSum is the checksum in the key of a message without mid.
func naiveSum(channel, beside, id, text string) uint32 {
	return crc32.Checksum([]byte(strings.Join([]string{channel, beside, id, text, ""}, "\x00")), Castagnoli) | FullSum
}

func naiveObject(raw json.RawMessage) (fields map[string]json.RawMessage) {
	_ = json.Unmarshal(raw, &fields)
	return fields
}

// naivePlain is the text of a JSON string or number.
func naivePlain(raw json.RawMessage) string {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	_ = decoder.Decode(&v)
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// compareNaive compares what was decoded with what the naive decoder gives; of
// a frame that is not in order, its beginning.
func compareNaive(t *testing.T, frame []byte, got []Record, bad []error, err error, want []naiveMessage, undecodable int, ok bool) {
	t.Helper()
	switch {
	case err != nil && !errors.Is(err, ErrFrame):
		t.Fatalf("error of a stream that has none: %v", err)
	case ok && err != nil:
		t.Fatalf("valid frame refused: %v", err)
	case ok && len(bad) != undecodable:
		t.Errorf("%d undecodable messages, want %d: %v", len(bad), undecodable, bad)
	case !ok && err == nil && len(bad) <= undecodable:
		t.Error("a frame that is not in order was taken without a word")
	case !ok && len(got) > len(want):
		got = got[:len(want)] // what can be read of a broken frame is delivered
	}
	compareRecords(t, frame, got, want)
}

// textSeed is a frame to begin with.
type textSeed struct {
	frame string
	tags  bool
}

func textSeeds(tb testing.TB) []textSeed {
	seeds := []textSeed{
		{wiretest.Marked(`{"id":"a","channel":7,"tag":1,"text":{"module_id":"A","command":"\u00e4","params":[]},"extra":{"channel":"` + alicePrivate + `"}}`), true},
		{wiretest.Marked(`{"mid":"\u0031x","text":{"module_id":"`+"\xff"+`","params":null,"extra":{"a":[{}]}},"time":5}`, `{"text":[]}`), false},
		{"\ufeff\n\ufeff" + wiretest.Marked(`{"mid":"1","text":"\ufeff{}"}`) + "\ufeff", false},
		{" " + wiretest.Marked(`{"text":{"params":"`+wiretest.Marked("{}")+`"}} `) + "\n" + wiretest.Marked(`{"a":"b`, `{"text":{}}`) + "#!", false},
		{string(textHistory(3)), false},
	}
	for _, server := range []string{"nginxpush", "pushserver3", "pushserver"} {
		for _, frame := range wiretest.Frames(tb, server, "text") {
			seeds = append(seeds, textSeed{string(frame), server == "nginxpush"})
		}
	}
	return seeds
}

func (s textSeed) codec() Codec {
	return newTextCodec(textOptions{tags: s.tags, channels: aliceChannels})
}

// FuzzTextCodec compares the streaming decoder with the naive one, and with
// itself where a frame comes in pieces. And whatever a broken message holds,
// what comes behind it is delivered.
func FuzzTextCodec(f *testing.F) {
	for _, seed := range textSeeds(f) {
		f.Add([]byte(seed.frame), seed.tags, uint16(len(seed.frame)/2))
	}
	f.Fuzz(func(t *testing.T, frame []byte, tags bool, cut uint16) {
		seed := textSeed{tags: tags}
		got, bad, err := readAlike(t, seed.codec, frame, cut)
		want, undecodable, ok := naiveText(frame, textOptions{tags: tags, channels: aliceChannels}, SenderBackend)
		compareNaive(t, frame, got, bad, err, want, undecodable, ok)

		if bytes.Contains(frame, []byte("#")) {
			return // marks, or what may become one
		}
		got, _, err = decodeWith(seed.codec(), strings.NewReader(wiretest.Marked(string(frame), goodText("behind"))))
		if n := len(got); n == 0 || err != nil || got[n-1].Command != "behind" {
			t.Errorf("what comes behind it is lost: %d messages, %v", n, err)
		}
	})
}

// BenchmarkTextCodec reads a frame of a thousand messages, beside the naive
// decoder: the ratio is the figure to watch.
func BenchmarkTextCodec(b *testing.B) {
	const n = 1000
	frame := textHistory(n)
	benchmarkCodec(b, newTextCodec(textOptions{channels: aliceChannels}), frame, n, func() (int, bool) {
		got, _, ok := naiveText(frame, textOptions{channels: aliceChannels}, SenderBackend)
		return len(got), ok
	})
}

// busyBody is a message as a busy portal sends it.
const busyBody = `{"module_id":"crm","command":"onCrmDealUpdate","params":{"id":4711,"fields":{"TITLE":"A deal of some length","STAGE_ID":"NEW","OPPORTUNITY":"1000.00","tags":[]}},` +
	`"extra":{"server_time":"2026-11-23T08:00:00+00:00","server_time_unix":1795420800.123,"server_name":"lab","revision_web":19,"revision_mobile":3}}`

func textHistory(n int) []byte {
	envelopes := make([]string, n)
	for i := range envelopes {
		envelopes[i] = `{"id":` + strconv.Itoa(i+1) + `,"mid":"` + Mid{1795421100, uint64(i + 1)}.String() + `","channel":"` + alicePrivate +
			`","tag":"060","time":"Mon, 23 Nov 2026 11:54:37 GMT","text":` + busyBody + `}`
	}
	return []byte(wiretest.Marked(envelopes...))
}

// benchmarkCodec reads a frame of n messages with a codec and with naive.
func benchmarkCodec(b *testing.B, c Codec, frame []byte, n int, naive func() (int, bool)) {
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(int64(len(frame)))
		b.ReportAllocs()
		for b.Loop() {
			got := 0
			if err := c.Decode(bytes.NewReader(frame), func(*Record, error) bool { got++; return true }); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
	})
	b.Run("naive", func(b *testing.B) {
		b.SetBytes(int64(len(frame)))
		b.ReportAllocs()
		for b.Loop() {
			if got, ok := naive(); !ok || got != n {
				b.Fatal(got, ok)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
	})
}
