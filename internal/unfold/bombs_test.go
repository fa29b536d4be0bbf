package unfold

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
	"testing"
)

// codings are those that are understood, by the name that a server gives them.
var codings = map[string]struct {
	name     string
	compress func(io.Writer) compressor
}{
	"gzip":         {"gzip", func(w io.Writer) compressor { return gzip.NewWriter(w) }},
	"x-gzip":       {" X-GZIP ", func(w io.Writer) compressor { return gzip.NewWriter(w) }},
	"zlib":         {"deflate", func(w io.Writer) compressor { return zlib.NewWriter(w) }},
	"deflate":      {"deflate", func(w io.Writer) compressor { f, _ := flate.NewWriter(w, 6); return f }},
	"gzip members": {"gzip", func(w io.Writer) compressor { return members{w} }},
}

type compressor interface {
	io.WriteCloser
	Flush() error
}

// members writes each piece as a gzip file of its own.
type members struct{ w io.Writer }

func (m members) Write(p []byte) (int, error) {
	z := gzip.NewWriter(m.w)
	z.Write(p)
	return len(p), z.Close()
}

func (m members) Flush() error { return nil }

func (m members) Close() error { return nil }

// endless is the same piece again and again, compressed. What it refers to lies
// as far back each time, so that from the second time on its bytes are the same.
func endless(t *testing.T, compress func(io.Writer) compressor, piece []byte) io.Reader {
	t.Helper()
	var out bytes.Buffer
	z := compress(&out)
	var ends [2]int
	for i := range ends {
		if _, err := z.Write(piece); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
		ends[i] = out.Len()
	}
	return io.MultiReader(bytes.NewReader(out.Bytes()[:ends[0]]), &repeated{piece: out.Bytes()[ends[0]:]})
}

// A repeated has a piece read over and over.
type repeated struct {
	piece []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.piece[r.at:])
	r.at = (r.at + n) % len(r.piece)
	return n, nil
}

// TestBombs: what unfolds to too much is given up, after a bounded number of
// bytes.
func TestBombs(t *testing.T) {
	for name, coding := range codings {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "gzip" {
				t.Skip("hundreds of megabytes")
			}
			t.Parallel()
			in := &counted{in: endless(t, coding.compress, bytes.Repeat([]byte(`{"a":1},`), 1<<17))}
			r, err := Reader(coding.name, in)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<30))
			if err == nil || !strings.Contains(err.Error(), "unfolds to more than 200 times") {
				t.Errorf("after %d bytes: %v", n, err)
			}
			if n > unfoldFree+1<<20 || in.n > 2<<20 {
				t.Errorf("%d bytes have become %d", in.n, n)
			}
		})
	}
}

// TestBombs_Backlog: what shrinks as messages do may be as long as it is.
func TestBombs_Backlog(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of megabytes")
	}
	var piece []byte
	for i := range 2000 {
		piece = fmt.Appendf(piece, `{"mid":"%019d","extra":{"server_time_unix":%d.%d},"text":{"command":"order.changed","params":{"id":%d}}}`, i*7919, 1700000000+i*13, i*i, i*i*31)
	}
	const long = unfoldFree + 4<<20
	r, err := Reader("gzip", endless(t, codings["gzip"].compress, piece))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, long)); err != nil || n != long {
		t.Errorf("%d bytes, %v", n, err)
	}
}
