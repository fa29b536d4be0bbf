package wire

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// reading is all that comes out of a frame.
type reading struct {
	messages []naiveMessage
	sizes    []int
	failed   []string // what could not be decoded, and the error of the frame
}

func readingOf(messages []Record, bad []error, err error) reading {
	r := reading{make([]naiveMessage, 0, len(messages)), make([]int, 0, len(messages)), make([]string, 0, len(bad)+1)}
	for _, m := range messages {
		r.messages, r.sizes = append(r.messages, naiveOf(m)), append(r.sizes, m.Size)
	}
	for _, err := range append(slices.Clip(bad), err) {
		r.failed = append(r.failed, fmt.Sprint(err))
	}
	return r
}

func (r reading) equal(o reading) bool {
	return slices.Equal(r.messages, o.messages) && slices.Equal(r.sizes, o.sizes) && slices.Equal(r.failed, o.failed)
}

// pieces reads each of several pieces at once.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	return n, nil
}

// sourceOf reads a frame at once or byte by byte, as its length has it.
func sourceOf(frame []byte) io.Reader {
	if len(frame)%2 == 1 && len(frame) <= maxByteByByte {
		return iotest.OneByteReader(bytes.NewReader(frame))
	}
	return bytes.NewReader(frame)
}

// maxByteByByte is how long a frame may be that is read so: a fuzzer is to get
// on.
const maxByteByByte = 1 << 10

// readAlike decodes a frame that comes at once, and wants the same of one that
// comes in two pieces, and byte by byte: what has come as a whole is read in
// another way than what has not.
func readAlike(t *testing.T, codec func() Codec, frame []byte, cut uint16) (got []Record, bad []error, err error) {
	t.Helper()
	c := codec()
	got, bad, err = decodeWith(c, bytes.NewReader(frame))
	whole := readingOf(got, bad, err)
	compare := func(how string, in io.Reader) {
		t.Helper()
		if r := readingOf(decodeWith(c, in)); !whole.equal(r) {
			t.Errorf("read %s it is something else (-at once +so):\n%s", how, cmp.Diff(whole, r, exportAll))
		}
	}
	at := int(cut) % (len(frame) + 1)
	compare(fmt.Sprintf("with a pause behind byte %d", at), &pieces{frame[:at], frame[at:]})
	if len(frame) <= maxByteByByte {
		compare("byte by byte", iotest.OneByteReader(bytes.NewReader(frame)))
	}
	_, _, _ = decodeWith(c, bytes.NewReader(bytes.Repeat([]byte("x"), len(frame))))
	if r := readingOf(got, bad, err); !whole.equal(r) {
		t.Errorf("what is read later changes it (-before +after):\n%s", cmp.Diff(whole, r, exportAll))
	}
	return got, bad, err
}

// compareRecords compares messages with those that a naive decoder has found in
// the same frame.
func compareRecords(t *testing.T, frame []byte, got []Record, want []naiveMessage) {
	t.Helper()
	all := make([]naiveMessage, 0, len(got))
	for _, m := range got {
		n := naiveOf(m)
		all = append(all, n)
		if most := len(frame) + n.copies() + len(m.ID) + len(m.Params); m.Size < len(m.Body) || m.Size > most {
			t.Errorf("message %s of a body of %d bytes is said to take %d, want %d at the most", m.ID, len(m.Body), m.Size, most)
		}
		_, _ = append(m.Params, "a value"...), append(m.Extra, "a value"...)
		if naiveOf(m) != n {
			t.Errorf("message %s: who appends to its params or its extra changes it: %+v", m.ID, m)
		}
	}
	if !slices.Equal(want, all) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, all, exportAll))
	}
}

// TestReadings_CutEverywhere cuts the frames that fuzzing begins with at every
// byte.
func TestReadings_CutEverywhere(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	everywhere := func(codec func() Codec, frame []byte) {
		whole := readingOf(decodeWith(codec(), bytes.NewReader(frame)))
		for at := 0; at <= len(frame); at += step {
			if r := readingOf(decodeWith(codec(), &pieces{frame[:at], frame[at:]})); !whole.equal(r) {
				t.Fatalf("cut at byte %d, %q is read as (-at once +so):\n%s", at, frame, cmp.Diff(whole, r, exportAll))
			}
		}
	}
	for _, frame := range protoSeeds(t) {
		everywhere(newProto, frame)
	}
	for _, seed := range textSeeds(t) {
		everywhere(seed.codec, []byte(seed.frame))
	}
	for _, frame := range rpcSeeds(t) {
		everywhere(newRPC, []byte(frame))
	}
}
