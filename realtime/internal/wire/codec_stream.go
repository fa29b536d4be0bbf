package wire

import (
	"bytes"
	"fmt"
	"io"

	"github.com/b24pull/b24pull/internal/phpjson"
)

const (
	minWindow  = 8 << 10
	keptWindow = 64 << 10 // a window that has grown larger is let go with its frame
	maxWindow  = MaxMessageSize + minWindow
)

// byteOrderMark is that of UTF-8.
var byteOrderMark = []byte(phpjson.BOM)

// jsonStream reads a frame of JSON through a window, which grows to the size of
// one message and no further.
type jsonStream struct {
	src      io.Reader
	mem      []byte
	from, to int   // the window: mem[from:to] has been read and not been taken
	err      error // the stream's, behind the window
}

func (s *jsonStream) reset(src io.Reader) {
	if len(s.mem) > keptWindow {
		s.mem = nil
	}
	*s = jsonStream{src: src, mem: s.mem}
}

// window is what has been read and not been taken. It is valid up to the next
// fill.
func (s *jsonStream) window() []byte { return s.mem[s.from:s.to] }

func (s *jsonStream) take(n int) { s.from += n }

// fill reads more into the window. It returns false if there is no more.
func (s *jsonStream) fill() bool {
	if s.err != nil {
		return false
	}
	s.makeRoom()
	for range 100 {
		var n int
		n, s.err = s.src.Read(s.mem[s.to:])
		s.to += n
		if n > 0 || s.err != nil {
			return n > 0
		}
	}
	s.err = io.ErrNoProgress
	return false
}

func (s *jsonStream) makeRoom() {
	if s.to < len(s.mem) {
		return
	}
	held, mem := s.window(), s.mem
	if len(held) >= len(mem)/2 && len(mem) < maxWindow {
		mem = make([]byte, min(max(2*len(mem), minWindow), maxWindow))
	}
	s.from, s.to, s.mem = 0, copy(mem, held), mem
}

// end is the error of a frame that ends here.
func (s *jsonStream) end() error {
	if s.err == io.EOF {
		return nil
	}
	return s.cut()
}

// cut is the error of a frame that must not end here. A stream that broke off
// has an error of its own, which stays.
func (s *jsonStream) cut() error {
	if s.err == io.EOF || s.err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it is cut short", ErrFrame)
	}
	return s.err
}

// space takes white space. It returns false at the end of the stream.
func (s *jsonStream) space() bool {
	for {
		s.take(skipSpace(s.window(), 0))
		if s.from < s.to {
			return true
		}
		if !s.fill() {
			return false
		}
	}
}

// begin takes white space and byte order marks: what relays frames may be PHP
// that writes one first. It returns false at the end of the stream.
func (s *jsonStream) begin() bool {
	for s.space() {
		if !s.has(0, byteOrderMark) {
			return true
		}
		s.take(len(byteOrderMark))
	}
	return false
}

// has reports whether mark stands n bytes behind the beginning of the window.
func (s *jsonStream) has(n int, mark []byte) bool {
	for s.to-s.from < n+len(mark) {
		if !s.fill() {
			return false
		}
	}
	return bytes.HasPrefix(s.window()[n:], mark)
}

// find takes everything before the next mark. It returns false, having taken
// all, if there is none.
func (s *jsonStream) find(mark []byte) bool {
	for {
		if i := bytes.Index(s.window(), mark); i >= 0 {
			s.take(i)
			return true
		}
		s.take(max(0, s.to-s.from-len(mark)+1))
		if !s.fill() {
			s.take(s.to - s.from)
			return false
		}
	}
}

// skim lets k go on to the end of its JSON, which then is the window up to
// k.at, unless it was too long and has been dropped. It returns false if the
// stream ends before.
func (s *jsonStream) skim(k *skimmer) bool {
	for {
		ended := k.scan(s.window())
		if k.size() > MaxMessageSize {
			s.take(k.at)
			k.drop()
		}
		if ended || !s.fill() {
			return ended
		}
	}
}

// A skimmer finds where JSON ends without checking it: it knows of strings and
// nesting only. JSON that is broken otherwise ends where it would if it were
// not.
//
// In the text framing that is before the first # outside a string. What shows
// that the quotes themselves are not in order ends it as well: a string with
// something behind it that cannot stand there, or a backslash outside.
// Elsewhere JSON ends before a comma or a closing bracket that is not its own.
type skimmer struct {
	text bool

	at       int   // bytes of the window gone over
	dropped  int64 // bytes before the window
	quote    int   // where the last string begins
	depth    int
	inString bool
	escaped  bool
	closed   bool // a string has ended, and only white space has come since
}

func (k *skimmer) size() int64 { return k.dropped + int64(k.at) }

func (k *skimmer) drop() {
	k.dropped += int64(k.at)
	k.at, k.quote = 0, 0
}

// open reports whether JSON that ends here is cut short.
func (k *skimmer) open() bool { return k.inString || k.depth > 0 }

// scan goes on over b from where it has stopped. It returns false if b does not
// hold the end.
func (k *skimmer) scan(b []byte) bool {
	for k.at < len(b) {
		if k.inString {
			k.scanString(b)
			continue
		}
		c := b[k.at]
		if k.ends(c) {
			return true
		}
		switch c {
		case '"':
			k.quote, k.inString = k.at, true
		case '{', '[':
			k.depth++
		case '}', ']':
			k.depth = max(k.depth-1, 0)
		}
		k.at++
	}
	return false
}

func (k *skimmer) scanString(b []byte) {
	if k.escaped {
		k.escaped = false
		k.at++
	}
	for k.at < len(b) {
		k.at = plainEnd(b, k.at)
		if k.at == len(b) {
			return
		}
		c := b[k.at]
		k.at++
		switch {
		case c == '"':
			k.inString, k.closed = false, true
			return
		case c != '\\':
		case k.at == len(b):
			k.escaped = true
		default:
			k.at++
		}
	}
}

// ends reports whether c, outside a string, ends the JSON before it.
func (k *skimmer) ends(c byte) bool {
	switch c {
	case ' ', '\n', '\t', '\r':
		return false
	case ',', ']':
		k.closed = false
		return !k.text && k.depth == 0
	case '}', ':':
		k.closed = false
		return false
	case '#', '\\':
		return k.text
	default:
		return k.text && k.closed
	}
}

// tooLong is the report of a message that was passed over.
func (k *skimmer) tooLong() error {
	if k.size() <= MaxMessageSize {
		return nil
	}
	return &RecordError{Err: &TooLongError{Size: k.size(), Limit: MaxMessageSize}}
}
