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
	compress func(io.Writer) io.WriteCloser
}{
	"gzip":         {"gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	"x-gzip":       {" X-GZIP ", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	"zlib":         {"deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }},
	"deflate":      {"deflate", func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f }},
	"gzip members": {"gzip", func(w io.Writer) io.WriteCloser { return members{w} }},
}

// members writes each piece as a gzip file of its own.
type members struct{ w io.Writer }

func (m members) Write(p []byte) (int, error) {
	z := gzip.NewWriter(m.w)
	z.Write(p)
	return len(p), z.Close()
}

func (m members) Close() error { return nil }

// endless compresses the same piece for as long as somebody reads.
func endless(t *testing.T, compress func(io.Writer) io.WriteCloser, piece []byte) io.Reader {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for z := compress(w); ; {
			if _, err := z.Write(piece); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		r.Close()
		<-done
	})
	return r
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
