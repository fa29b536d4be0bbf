package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

const alicePrivate = "6384e2b2184bcbf58eccf10ca7a6563c" // a channel of the recordings

var aliceChannels = Channels{{alicePrivate, ChannelPrivate}}

func TestCodecText_RecordedText(t *testing.T) {
	const (
		third  = "17954348770000000000000003 2026-11-23T11:55:44Z backend private application tick {\"text\":\"a mark #!NGINXNME!# in a string\"}"
		second = `17954348770000000000000002 2026-11-23T11:55:44Z backend private application tick {"text":"one"}`
		four   = `1795424435/4 2026-11-23T09:00:35Z backend private application tick {"text":"four"}`
		five   = `1795424435/5 2026-11-23T09:00:35Z backend private application tick {"text":"five"}`
		live   = `1795424435/1 2026-11-23T09:00:35Z backend private application tick {"text":"live"}`
	)
	replay := []string{
		`1795424369/1 2026-11-23T08:59:29Z backend private application tick {"text":"four"}`,
		`1795424369/2 2026-11-23T08:59:29Z backend private application tick {"text":"five"}`,
		live,
		`1795424435/2 2026-11-23T09:00:35Z backend private application tick {"text":"two"}`,
		`1795424435/3 2026-11-23T09:00:35Z backend private application tick {"text":"three"}`,
	}
	history := []string{`17954348770000000000000001 2026-11-23T11:54:37Z backend private application tick {"seq":1}`, second, third}
	tests := []struct {
		server, name string
		tags         bool
		want         []string
	}{
		{"nginxpush", "poll_history", true, replay},
		{"nginxpush", "poll_live", true, []string{live}},
		{"nginxpush", "poll_timeout", true, nil},
		{"nginxpush", "ws_history", true, append(slices.Clone(replay), four, five)},
		{"nginxpush", "ws_live", true, []string{four, five}},
		{"pushserver3", "poll_history", false, history},
		{"pushserver3", "poll_live", false, []string{`17954348770000000000000004 2026-11-23T11:55:47Z backend private application tick {"text":"live"}`}},
		{"pushserver3", "ws_history", false, history},
		{"pushserver3", "ws_live", false, []string{second, third}},
		{"pushserver", "ws_text", false, []string{ // version 4 names no channel
			`17954211000000000000053286 2026-11-23T08:15:46Z backend unknown application one {"text":"первое ✓","empty":[]}`,
			`17954211000000000000053287 2026-11-23T08:15:46Z backend unknown application two {"text":"second","empty":[]}`,
		}},
		{"pushserver", "poll_history_text", false, []string{
			`17954211000000000000053284 2026-11-23T08:15:49Z backend unknown application one {"text":"первое ✓","empty":[]}`,
			`17954211000000000000053285 2026-11-23T08:15:49Z backend unknown application two {"text":"second","empty":[]}`,
			`17954211000000000000053286 2026-11-23T08:15:49Z backend unknown application one {"text":"первое ✓","empty":[]}`,
			`17954211000000000000053287 2026-11-23T08:15:49Z backend unknown application two {"text":"second","empty":[]}`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.server+"/"+tt.name, func(t *testing.T) {
			c := newTextCodec(textOptions{tags: tt.tags, channels: aliceChannels})
			var got []string
			for _, f := range wiretest.LoadOf(t, tt.server, tt.name).Frames {
				messages, bad, err := decodeWith(c, bytes.NewReader(f.Bytes(t)))
				if err != nil || len(bad) > 0 {
					t.Errorf("error %v, undecodable %v", err, bad)
				}
				for _, m := range messages {
					id := m.ID
					if tt.tags {
						id += fmt.Sprintf("%d/%d", m.Key.Mid.Epoch, m.Key.Mid.Counter)
					} else if m.Key.Mid.String() != id {
						t.Errorf("mid %v of message %s", m.Key.Mid, id)
					}
					got = append(got, fmt.Sprintf("%s %s %s %s %s %s %s", id, m.Time.Format(time.RFC3339), m.Sender.Type, m.Channel, m.Module, m.Command, m.Params))
					if len(m.Extra) == 0 || m.Transient || m.Size < len(m.Params)+len(m.Extra) {
						t.Errorf("extra %q, transient %v, size %d", m.Extra, m.Transient, m.Size)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCodecText_RecordedTextKeys: the same message has one key, live and in the
// history, and different ones have different keys.
func TestCodecText_RecordedTextKeys(t *testing.T) {
	for server, names := range map[string][]string{"nginxpush": {"ws_live", "ws_history"}, "pushserver3": {"ws_live", "poll_history"}} {
		keys := func(name string) map[Key]bool {
			found := make(map[Key]bool)
			for _, f := range wiretest.LoadOf(t, server, name).Frames {
				messages, _, _ := decodeWith(newTextCodec(textOptions{tags: server == "nginxpush"}), bytes.NewReader(f.Bytes(t)))
				for _, m := range messages {
					if found[m.Key] {
						t.Errorf("%s/%s: two messages with the key %v", server, name, m.Key)
					}
					found[m.Key] = true
				}
			}
			return found
		}
		live, history := keys(names[0]), keys(names[1])
		for k := range live {
			if !history[k] {
				t.Errorf("%s: live %v is not in the history", server, k)
			}
		}
		if len(live) != 2 {
			t.Errorf("%s: %d live messages", server, len(live))
		}
	}
}

func TestCodecText_TextEnvelope(t *testing.T) {
	const text = `"text":{"module_id":"Crm","command":"c","params":{"a":1}}`
	inner := `{"module_id":"Crm","command":"c","params":{"a":1}}`
	base := naiveMessage{Module: "crm", Command: "c", Params: `{"a":1}`, Sender: Sender{Type: SenderBackend}, Body: inner}
	with := func(change func(m *naiveMessage)) naiveMessage {
		m := base
		change(&m)
		return m
	}
	at := time.Date(2026, 11, 23, 9, 0, 35, 0, time.UTC)
	const when = `"time":"Mon, 23 Nov 2026 09:00:35 GMT"`
	channels := Channels{{"private", ChannelPrivate}, {"shared", ChannelShared}}
	tests := []struct {
		name, envelope string
		tags           bool
		want           naiveMessage
	}{
		{"mid and time", `{"id":1,"mid":"` + wiretest.ID + `",` + when + `,` + text + `}`, false, with(func(m *naiveMessage) {
			m.ID, m.Time, m.Key = wiretest.ID, at, naiveKey(wiretest.ID, inner, "")
		})},
		{"a mid in digits", `{"mid":` + wiretest.ID + `,` + text + `}`, false, with(func(m *naiveMessage) {
			m.ID, m.Key = wiretest.ID, naiveKey(wiretest.ID, inner, "")
		})},
		{"no mid", `{"id":17,` + text + `}`, false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "17") })},
		{"a mid that is none", `{"id":17,"mid":"17x",` + text + `}`, false, with(func(m *naiveMessage) {
			m.ID, m.Key = "17x", naiveKey("", inner, "17x")
		})},
		{"a mid below zero", `{"id":17,"mid":-5,` + text + `}`, false, with(func(m *naiveMessage) {
			m.ID, m.Key = "-5", naiveKey("", inner, "-5")
		})},
		{"a mid with a letter", `{"mid":"1795421100000000000000000x",` + text + `}`, false, with(func(m *naiveMessage) {
			m.ID, m.Key = "1795421100000000000000000x", naiveKey("", inner, "1795421100000000000000000x")
		})},
		{"a time that is none", `{"time":"yesterday",` + text + `}`, false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "") })},
		{"unknown members", `{"new":[{"mid":1}],` + text + `,"more":null}`, false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "") })},
		{"white space", " { \"text\" :\n" + inner + " }\r\n", false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "") })},
		{"tag and time", `{"id":1,"mid":"` + wiretest.ID + `","channel":"shared","tag":"060",` + when + `,` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Channel, m.Key = at, ChannelShared, Key{Mid{1795424435, 60}, naiveSum("shared", "", "1", inner)}
		})},
		{"a tag in digits", `{"id":"1","tag":7,` + when + `,` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Key = at, Key{Mid{1795424435, 7}, naiveSum("", "", `"1"`, inner)}
		})},
		{"no tag", `{` + when + `,` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Key = at, Key{Sum: naiveSum("", "", "", inner)}
		})},
		{"a tag that is none", `{"tag":"-1",` + when + `,` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Key = at, Key{Sum: naiveSum("", "", "", inner)}
		})},
		{"a tag over all bounds", `{"tag":"12345678901234567",` + when + `,` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Key = at, Key{Sum: naiveSum("", "", "", inner)}
		})},
		{"tag without time", `{"tag":"1",` + text + `}`, true, with(func(m *naiveMessage) { m.Key = Key{Sum: naiveSum("", "", "", inner)} })},
		{"a time over all bounds", `{"tag":"1","time":"Mon, 23 Nov 9026 09:00:35 GMT",` + text + `}`, true, with(func(m *naiveMessage) {
			m.Time, m.Key = time.Date(9026, 11, 23, 9, 0, 35, 0, time.UTC), Key{Sum: naiveSum("", "", "", inner)}
		})},
		{"channel", `{"channel":"private",` + text + `}`, false, with(func(m *naiveMessage) { m.Channel, m.Key = ChannelPrivate, naiveKey("", inner, "") })},
		{"a channel nobody knows", `{"channel":"-",` + text + `}`, false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "") })},
		{"extra beside text", `{"extra":{"channel":"shared"},` + text + `}`, true, with(func(m *naiveMessage) {
			m.Extra, m.Channel, m.Key = `{"channel":"shared"}`, ChannelShared, Key{Sum: naiveSum("", "shared", "", inner)}
		})},
		{"extra in text", `{"extra":{"b":2},"text":{"module_id":"crm","command":"c","params":{"a":1},"extra":{"channel":"private"}}}`, false, with(func(m *naiveMessage) {
			m.Extra, m.Channel = `{"channel":"private"}`, ChannelPrivate
			m.Body = `{"module_id":"crm","command":"c","params":{"a":1},"extra":{"channel":"private"}}`
			m.Key = naiveKey("", m.Body, "")
		})},
		{"the envelope's channel comes first", `{"channel":"private","extra":{"channel":"shared"},` + text + `}`, false, with(func(m *naiveMessage) {
			m.Extra, m.Channel, m.Key = `{"channel":"shared"}`, ChannelPrivate, naiveKey("", inner, "")
		})},
		{"no extra", `{"extra":null,` + text + `}`, false, with(func(m *naiveMessage) { m.Key = naiveKey("", inner, "") })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newTextCodec(textOptions{tags: tt.tags, channels: channels})
			messages, bad, err := decodeWith(c, strings.NewReader(wiretest.Marked(tt.envelope)))
			if err != nil || len(bad) > 0 || len(messages) != 1 {
				t.Fatalf("%d messages, error %v, undecodable %v", len(messages), err, bad)
			}
			if diff := cmp.Diff(tt.want, naiveOf(messages[0]), exportAll); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := fmt.Sprint(ChannelUnknown, ChannelPrivate, ChannelShared); got != "unknown private shared" {
		t.Errorf("the kinds of channels are %s", got)
	}
	t.Run("no channels known", func(t *testing.T) {
		messages, _, _ := decodeWith(newTextCodec(textOptions{}), strings.NewReader(wiretest.Marked(`{"channel":"private",`+text+`}`)))
		if len(messages) != 1 || messages[0].Channel != ChannelUnknown {
			t.Errorf("got %+v", messages)
		}
	})
}

// TestCodecText_TextKeepsNothingOfTheFrame: a message stays what it is when the
// codec reads on.
func TestCodecText_TextKeepsNothingOfTheFrame(t *testing.T) {
	c := newTextCodec(textOptions{})
	body := func(n int) string {
		return fmt.Sprintf(`{"mid":"%026d","text":{"module_id":"m","command":"c","params":{"n":%d}},"extra":{"x":%d}}`, n, n, n)
	}
	first, _, _ := decodeWith(c, strings.NewReader(wiretest.Marked(body(1))))
	if _, bad, err := decodeWith(c, strings.NewReader(wiretest.Marked(body(2), body(3)))); err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	if m := first[0]; string(m.Params) != `{"n":1}` || string(m.Extra) != `{"x":1}` || m.ID != fmt.Sprintf("%026d", 1) {
		t.Errorf("the first message became %s %s %s", m.ID, m.Params, m.Extra)
	}
	if m := first[0]; cap(m.Params) != len(m.Params) || m.Size != len(`{"module_id":"m","command":"c","params":{"n":1}}{"x":1}`) {
		t.Errorf("params reach over their end, or the size is wrong: %d, %d", cap(m.Params)-len(m.Params), m.Size)
	}
}

// goodText is an envelope with a command.
func goodText(command string) string {
	return `{"id":1,"mid":"` + wiretest.ID + `","text":{"module_id":"Application","command":"` + command + `"}}`
}

func commandsOf(messages []Record) (commands []string) {
	for _, m := range messages {
		commands = append(commands, m.Module+" "+m.Command)
	}
	return commands
}

func TestCodecText_TextSkipsTheUndecodable(t *testing.T) {
	const forged = `#!NGINXNME!##!NGINXNMS!#{\"text\":{}}#!NGINXNME!##!NGINXNMS!#{}` // as it stands in a string
	broken := map[string]string{
		"nothing":                   wiretest.Marked(``),
		"no object":                 wiretest.Marked(`5`),
		"a list":                    wiretest.Marked(`[]`),
		"no text":                   wiretest.Marked(`{"id":1}`),
		"text is a list":            wiretest.Marked(`{"id":1,"text":[]}`),
		"text is null":              wiretest.Marked(`{"text":null}`),
		"text is a string":          wiretest.Marked(`{"text":"{}"}`),
		"command is a number":       wiretest.Marked(`{"text":{"module_id":"m","command":5}}`),
		"an id without end":         wiretest.Marked(`{"mid":"` + strings.Repeat("1", 65) + `","text":{"module_id":"m"}}`),
		"a comma too much":          wiretest.Marked(`{"text":{"module_id":"m",},}`),
		"two objects":               wiretest.Marked(`{"text":{}}{"text":{}}`),
		"a bracket too few":         wiretest.Marked(`{"text":{"module_id":"m"}`),
		"the wrong bracket":         wiretest.Marked(`{"text":{"module_id":"m"]}`),
		"no JSON number, and marks": wiretest.Marked(`{"n":NaN,"text":{"module_id":"m","params":{"a":"` + forged + `"}}}`),
		"control character, marks":  wiretest.Marked("{\"n\":\"\x01" + forged + "\"}"),
		"a number with a hash":      wiretest.Marked(`{"n":1#2}`),
		"a string without end":      wiretest.Marked(`{"id":1,"text":{"module_id":"m`),
		"an escape without end":     wiretest.Marked(`{"id":1,"text":{"module_id":"m\`),
		"a string without begin":    wiretest.Marked(`{"id":1,"text":{"module_id":m"}}`),
		"a quote too much":          wiretest.Marked(`{"id":1,"text":{"module_id":"a"b"}}`),
		"a backslash outside":       wiretest.Marked(`{\"id\":1}`),
		"marks before broken":       wiretest.Marked(`{"a":"` + forged + `","text":{"module_id":"a"b"}}`),
		"over the limit":            wiretest.Marked(`{"a":"` + strings.Repeat("x", MaxMessageSize) + `","text":{}}`),
		"no brackets, marks":        wiretest.Marked(`5,"` + forged + `"`),
		"an end mark that is none":  wiretest.Marked(`{"a":"b"c ` + string(endMark) + ` d}`),
		"garbage":                   `garbage #! NGINX `,
		"an end mark more":          string(endMark),
		"deep nesting":              wiretest.Marked(strings.Repeat("[", 20000)),
	}
	if !testing.Short() { // they are megabytes
		broken["far over the limit, marks"] = wiretest.Marked(`{"a":"` + strings.Repeat("x", MaxMessageSize+maxWindow) + forged + `","text":{}}`)
		broken["just over the limit"] = wiretest.Marked(`"` + strings.Repeat("x", MaxMessageSize-1) + `"`)
		broken["over and broken"] = wiretest.Marked(`{"a":"` + strings.Repeat("x", MaxMessageSize) + `"b","text":{}}`)
		broken["over and broken late"] = wiretest.Marked(`{"a":"` + strings.Repeat("x", MaxMessageSize) + `","b":"` + strings.Repeat("x", MaxMessageSize) + `"c"}`)
	}
	for name, middle := range broken {
		t.Run(name, func(t *testing.T) {
			frame := wiretest.Marked(goodText("before")) + middle + wiretest.Marked(goodText("behind"), goodText("next"))
			var source io.Reader = strings.NewReader(frame)
			if len(frame) < 1<<20 {
				source = iotest.OneByteReader(source)
			}
			c := newTextCodec(textOptions{})
			messages, bad, err := decodeWith(c, source)
			if diff := cmp.Diff([]string{"application before", "application behind", "application next"}, commandsOf(messages)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var decodeErr *RecordError
			if err != nil || len(bad) != 1 || !errors.As(bad[0], &decodeErr) {
				t.Fatalf("error %v, undecodable %v", err, bad)
			}
			if tooLong := new(TooLongError); strings.HasSuffix(name, "over the limit") && !errors.As(bad[0], &tooLong) {
				t.Errorf("the reason is %v", bad[0])
			}
			if strings.HasPrefix(middle, string(startMark)) { // it can be the last one as well
				if messages, bad, err := decodeWith(c, strings.NewReader(middle)); err != nil || len(messages) != 0 || len(bad) != 1 {
					t.Errorf("alone: %d messages, error %v, undecodable %v", len(messages), err, bad)
				}
			}
		})
	}
	t.Run("the limit itself", func(t *testing.T) {
		head, tail := `{"text":{"module_id":"m","command":"c","params":"`, `"}}`
		envelope := head + strings.Repeat("x", MaxMessageSize-len(head)-len(tail)) + tail
		messages, bad, err := decodeWith(newTextCodec(textOptions{}), strings.NewReader(wiretest.Marked(envelope, goodText("behind"))))
		if err != nil || len(bad) != 0 || len(messages) != 2 {
			t.Errorf("%d messages, error %v, undecodable %v", len(messages), err, bad)
		}
	})
	t.Run("many that would hide the next", func(t *testing.T) {
		if testing.Short() {
			t.Skip("megabytes")
		}
		piece := wiretest.Marked(`{\"`) // without end, if the backslash were taken for an escape
		frame := strings.Repeat(piece, MaxMessageSize/len(piece)+1) + wiretest.Marked(goodText("behind"))
		if messages, _, err := decodeWith(newTextCodec(textOptions{}), strings.NewReader(frame)); err != nil || len(messages) != 1 {
			t.Errorf("%d messages, error %v", len(messages), err)
		}
	})
	t.Run("the id is told", func(t *testing.T) {
		_, bad, _ := decodeWith(newTextCodec(textOptions{}), strings.NewReader(wiretest.Marked(`{"mid":"`+wiretest.ID+`","text":[]}`)))
		var decodeErr *RecordError
		if len(bad) != 1 || !errors.As(bad[0], &decodeErr) || decodeErr.ID != wiretest.ID {
			t.Errorf("got %v", bad)
		}
	})
}

func TestCodecText_TextBrokenFrame(t *testing.T) {
	whole := wiretest.Marked(goodText("c"))
	lost := errors.New("connection reset")
	tests := []struct {
		name  string
		frame io.Reader
		want  error
		count int
	}{
		{"in the start mark", strings.NewReader(whole + "#!NGINXNMS"), ErrFrame, 1},
		{"behind the start mark", strings.NewReader(whole + "#!NGINXNMS!#"), ErrFrame, 1},
		{"in the JSON", strings.NewReader(whole + whole[:30]), ErrFrame, 1},
		{"before the end mark", strings.NewReader(whole + whole[:len(whole)-len(endMark)]), ErrFrame, 1},
		{"in the end mark", strings.NewReader(whole + whole[:len(whole)-1]), ErrFrame, 1},
		{"broken, no end mark", strings.NewReader(whole + `#!NGINXNMS!#{"a":"b"c`), ErrFrame, 1},
		{"unexpected EOF", io.MultiReader(strings.NewReader(whole[:30]), iotest.ErrReader(io.ErrUnexpectedEOF)), ErrFrame, 0},
		{"connection lost in a message", io.MultiReader(strings.NewReader(whole+whole[:30]), iotest.ErrReader(lost)), lost, 1},
		{"connection lost between messages", io.MultiReader(strings.NewReader(whole), iotest.ErrReader(lost)), lost, 1},
		{"connection lost in a start mark", io.MultiReader(strings.NewReader(whole+"#!N"), iotest.ErrReader(lost)), lost, 1},
		{"connection lost behind a broken one", io.MultiReader(strings.NewReader(whole+wiretest.Marked(`{"a":"b"c`)), iotest.ErrReader(lost)), lost, 1},
		{"a reader that gives nothing", emptyReader{}, io.ErrNoProgress, 0},
		{"a reader that gives nothing now and then", &hesitantReader{src: strings.NewReader(whole)}, nil, 1},
		{"nothing", strings.NewReader(""), nil, 0},
		{"white space", strings.NewReader(" \r\n" + whole + "\n\n" + whole + "\t"), nil, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages, bad, err := decodeWith(newTextCodec(textOptions{}), tt.frame)
			if !errors.Is(err, tt.want) || errors.Is(err, ErrFrame) != (tt.want == ErrFrame) || len(bad) > 0 {
				t.Errorf("got %v, want %v; undecodable %v", err, tt.want, bad)
			}
			if len(messages) != tt.count {
				t.Errorf("%d messages, want %d", len(messages), tt.count)
			}
		})
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

// hesitantReader gives a byte at every other read, and nothing between.
type hesitantReader struct {
	src     io.Reader
	nothing bool
}

func (r *hesitantReader) Read(p []byte) (int, error) {
	if r.nothing = !r.nothing; r.nothing {
		return 0, nil
	}
	return r.src.Read(p[:1])
}

// TestCodecText_TextStopsEarly: nothing is yielded after a false, and a message
// does not wait for what comes behind it.
func TestCodecText_TextStopsEarly(t *testing.T) {
	frame := io.MultiReader(strings.NewReader(wiretest.Marked(goodText("a"))), iotest.ErrReader(errors.New("read too far")))
	n := 0
	if err := newTextCodec(textOptions{}).Decode(frame, func(*Record, error) bool { n++; return false }); n != 1 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
}
