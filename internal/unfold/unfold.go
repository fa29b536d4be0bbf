// Package unfold reads answers that came compressed.
package unfold

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
)

const (
	// An answer may unfold to unfoldFree bytes whatever it came in, and beyond
	// to so many times of that: messages shrink to a twentieth or so, and what
	// shrinks to less is made to waste our time.
	unfoldFree = 64 << 20
	unfoldMost = 200
)

// Reader reads a body in the coding that its Content-Encoding names. Whoever
// compresses an answer may do so unasked.
func Reader(coding string, body io.Reader) (io.Reader, error) {
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		in := &counted{in: body}
		return &unfolding{in: in, open: func() (io.Reader, error) { return gzip.NewReader(in) }}, nil
	case "deflate":
		in := &counted{in: body}
		return &unfolding{in: in, open: func() (io.Reader, error) { return inflate(in) }}, nil
	default:
		return nil, fmt.Errorf("it is compressed in a way that was not asked for, Content-Encoding %.40q; have what compresses it leave the answers as they are", coding)
	}
}

// inflate reads deflate with the header of zlib, as it should be, or without,
// as some send it.
func inflate(in io.Reader) (io.Reader, error) {
	b := bufio.NewReader(in)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

type counted struct {
	in io.Reader
	n  int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// unfolding decompresses. It looks at the body only when it is read.
type unfolding struct {
	in   *counted
	open func() (io.Reader, error)
	out  io.Reader
	n    int64
}

func (u *unfolding) Read(p []byte) (int, error) {
	if u.out == nil {
		out, err := u.open()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		u.out = out
	}
	n, err := u.out.Read(p)
	u.n += int64(n)
	if u.n > unfoldFree && u.n/unfoldMost > u.in.n {
		return 0, fmt.Errorf("it unfolds to more than %d times its size", unfoldMost)
	}
	return n, err
}
