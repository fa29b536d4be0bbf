package unfold

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestUnfold_Reader: what is cut short, is no such thing, or unfolds without end is an
// error, and never an empty answer.
func TestUnfold_Reader(t *testing.T) {
	zip := func(text string, n int) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		for range n {
			_, _ = io.WriteString(w, text)
		}
		_ = w.Close()
		return b.Bytes()
	}
	megabytes := 256
	if testing.Short() {
		megabytes = 0
	}
	bomb := zip(strings.Repeat(" ", 1<<20), megabytes)
	tests := []struct {
		name, coding string
		body         []byte
		want         string
		n            int64
		err          error // nil: any, if there is no text wanted
	}{
		{"as it is", "", []byte("text"), "text", 4, nil},
		{"identity", "Identity", []byte("text"), "text", 4, nil},
		{"gzip", " GZIP", zip("text", 1), "text", 4, nil},
		{"cut short", "gzip", zip("text", 1)[:15], "", 0, io.ErrUnexpectedEOF},
		{"empty", "gzip", nil, "", 0, io.ErrUnexpectedEOF},
		{"empty deflate", "deflate", nil, "", 0, io.ErrUnexpectedEOF},
		{"half a header", "deflate", []byte{0x78}, "", 0, io.ErrUnexpectedEOF},
		{"no gzip", "gzip", []byte("a web server's page"), "", 0, gzip.ErrHeader},
		{"no deflate", "deflate", []byte("a web server's page"), "", 0, nil},
		{"a bomb", "gzip", bomb, "", 0, nil},
		{"brotli", "br", []byte("text"), "", 0, nil},
		{"zstd", "zstd", []byte("text"), "", 0, nil},
		{"twice", "gzip,gzip", zip("text", 1), "", 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "a bomb" && megabytes == 0 {
				t.Skip("hundreds of megabytes")
			}
			in, err := Reader(tt.coding, bytes.NewReader(tt.body))
			var text strings.Builder
			var n int64
			if err == nil {
				n, err = io.Copy(&limitedText{&text}, in)
			}
			if tt.want != "" {
				if err != nil || text.String() != tt.want || n != tt.n {
					t.Errorf("%q, %v", text.String(), err)
				}
				return
			}
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%d bytes, %v", n, err)
			}
			if most := int64(unfoldFree + unfoldMost*len(tt.body) + 1<<16); n > most {
				t.Errorf("%d bytes of %d were read", n, len(tt.body))
			}
		})
	}
}

// limitedText keeps the beginning of what is written.
type limitedText struct{ out *strings.Builder }

func (w *limitedText) Write(p []byte) (int, error) {
	if w.out.Len() < 100 {
		w.out.Write(p[:min(len(p), 100)])
	}
	return len(p), nil
}
