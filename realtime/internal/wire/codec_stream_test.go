package wire

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// repeated reads as a piece again and again, and counts what has been read.
type repeated struct {
	piece string
	times int
	at    int
	read  int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.times == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.piece[r.at:])
	r.read += int64(n)
	if r.at += n; r.at == len(r.piece) {
		r.at = 0
		r.times--
	}
	return n, nil
}

// jsonCodecs are the codecs that read a jsonStream, and how they frame
// messages.
var jsonCodecs = map[string]struct {
	make                             func() (Codec, *jsonStream)
	head, before, behind, sep, close string
}{
	"text": {
		make:   func() (Codec, *jsonStream) { c := newTextCodec(textOptions{}).(*textCodec); return c, &c.in },
		before: `#!NGINXNMS!#{"mid":"` + wiretest.ID + `","text":`, behind: `}#!NGINXNME!#`,
	},
	"rpc": {
		make: func() (Codec, *jsonStream) { c := newRPCCodec(nil).(*rpcCodec); return c, &c.text.in },
		head: `[`, before: `{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"` + wiretest.ID + `","body":`, behind: `}}`, sep: `,`, close: `]`,
	},
}

// TestCodecStream_CodecsReadAhead: of a long frame, no more is held than one
// message and a window.
func TestCodecStream_CodecsReadAhead(t *testing.T) {
	const size = 16 << 10
	count := resttest.Rounds(1024) // 16 MB
	for name, tt := range jsonCodecs {
		t.Run(name, func(t *testing.T) {
			body := `{"module_id":"m","command":"c","params":"` + strings.Repeat("x", size) + `"}`
			piece := tt.before + body + tt.behind
			source := &repeated{piece: piece + tt.sep, times: count}
			c, in := tt.make()
			frame := io.MultiReader(strings.NewReader(tt.head), source, strings.NewReader(piece+tt.close))
			n := 0
			err := c.Decode(frame, func(m *Record, err error) bool {
				if err != nil || m.Size != len(body) {
					t.Fatalf("message %d: %d bytes, %v", n, m.Size, err)
				}
				n++
				if ahead := source.read - int64(n*len(source.piece)); ahead > keptWindow || cap(in.mem) > keptWindow {
					t.Fatalf("message %d: %d bytes read ahead, window of %d", n, ahead, cap(in.mem))
				}
				return true
			})
			if err != nil || n != count+1 {
				t.Errorf("%d messages, %v", n, err)
			}
		})
	}
}

// TestCodecStream_CodecsPassOver: a message without end is dropped as it comes,
// and its size is told.
func TestCodecStream_CodecsPassOver(t *testing.T) {
	const length = 24 << 20
	for name, tt := range jsonCodecs {
		t.Run(name, func(t *testing.T) {
			message := func(params io.Reader) io.Reader {
				return io.MultiReader(strings.NewReader(tt.before+`{"module_id":"m","command":"c","params":"`), params, strings.NewReader(`"}`+tt.behind))
			}
			c, in := tt.make()
			frame := io.MultiReader(strings.NewReader(tt.head), message(&repeated{piece: strings.Repeat("x", 1<<16), times: length >> 16}),
				strings.NewReader(tt.sep), message(strings.NewReader("small")), strings.NewReader(tt.close))
			messages, bad, err := decodeWith(c, frame)
			var tooLong *TooLongError
			if err != nil || len(bad) != 1 || !errors.As(bad[0], &tooLong) || tooLong.Size < length || tooLong.Size > length+200 {
				t.Errorf("error %v, undecodable %v", err, bad)
			}
			if len(messages) != 1 || string(messages[0].Params) != `"small"` {
				t.Errorf("%d messages", len(messages))
			}
			if cap(in.mem) > maxWindow {
				t.Errorf("the window has grown to %d bytes", cap(in.mem))
			}
			_, _, _ = decodeWith(c, strings.NewReader(""))
			if cap(in.mem) > keptWindow {
				t.Errorf("a window of %d bytes is kept", cap(in.mem))
			}
		})
	}
}

// TestCodecStream_CodecsTellTheUndecodable: one that comes again is known by
// its key.
func TestCodecStream_CodecsTellTheUndecodable(t *testing.T) {
	for name, tt := range jsonCodecs {
		t.Run(name, func(t *testing.T) {
			var pieces []string
			for _, body := range []string{`{"a":01}`, `[1]`, `{"a":02}`, `[2]`} {
				pieces = append(pieces, tt.before+body+tt.behind)
			}
			c, _ := tt.make()
			seen := map[Key]int{}
			for range 2 {
				err := c.Decode(strings.NewReader(tt.head+strings.Join(pieces, tt.sep)+tt.close), func(m *Record, err error) bool {
					if err == nil {
						t.Errorf("decoded %v", m)
					}
					seen[m.Key]++
					return true
				})
				if err != nil {
					t.Error(err)
				}
			}
			if len(seen) != len(pieces) || seen[Key{}] > 0 {
				t.Errorf("keys %v of %d messages", seen, len(pieces))
			}
		})
	}
}
