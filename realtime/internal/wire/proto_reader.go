package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// TooLongError is one message over the limit. The reader has passed it over:
// the next call goes on behind it.
type TooLongError struct {
	Size  int64 // bytes the message declared
	Limit int   // bytes allowed
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("message of %d bytes is over the limit of %d", e.Size, e.Limit)
}

// messagePath is the chain of length-delimited fields that leads from a
// ResponseBatch to a message: ResponseBatch.responses,
// Response.outgoingMessages, OutgoingMessagesResponse.messages.
var messagePath = [...]protowire.Number{1, 1, 1}

// reader reads the outgoing messages of one ResponseBatch from a stream, one at
// a time, holding no more than one message in memory. Everything else in the
// batch is passed over.
type reader struct {
	src      io.Reader
	mem      *[readSize]byte // while there is a batch
	from, to int             // what of mem has been read and not been taken
	err      error           // the stream's, behind that

	limit int                     // of a message, in bytes
	pos   int64                   // bytes consumed
	depth int                     // how far down messagePath we are
	end   [len(messagePath)]int64 // where the enclosing field of each depth ends; end[0] is the stream's
}

// readSize is how much is read at once.
const readSize = 4096

// buffers are for the batches that are being read: most connections are idle.
var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// reset starts on a new batch.
func (r *reader) reset(src io.Reader) {
	if r.mem == nil {
		r.mem = buffers.Get().(*[readSize]byte)
	}
	r.src, r.from, r.to, r.err = src, 0, 0, nil
	r.pos, r.depth = 0, 0
	r.end[0] = math.MaxInt64
}

// rest lets go of a batch.
func (r *reader) rest() {
	if r.mem != nil {
		buffers.Put(r.mem)
		r.src, r.mem, r.err = nil, nil, nil
	}
}

// fill reads more where all has been taken. An error comes when there is no
// more before it.
func (r *reader) fill() error {
	for range maxEmpty {
		if r.err != nil {
			return r.err
		}
		r.from = 0
		if r.to, r.err = r.src.Read(r.mem[:]); r.to > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// maxEmpty is how many reads of nothing in a row are an error.
const maxEmpty = 100

// next returns the encoding of the next message in a buffer of its own. It
// returns io.EOF at the end of the batch, a *TooLongError for a message that
// was passed over, ErrMalformed, or the stream's own error. A stream that ends
// by accident must not return a bare io.EOF or io.ErrUnexpectedEOF.
func (r *reader) next() ([]byte, error) {
	for {
		for r.depth > 0 && r.pos == r.end[r.depth] {
			r.depth--
		}
		num, typ, err := r.tag()
		if err != nil {
			return nil, err
		}
		if typ != protowire.BytesType {
			if err := r.skipScalar(typ); err != nil {
				return nil, err
			}
			continue
		}
		size, err := r.length()
		if err != nil {
			return nil, err
		}
		switch {
		case num != messagePath[r.depth]:
			if err := r.skip(size); err != nil {
				return nil, err
			}
		case r.depth < len(messagePath)-1:
			r.depth++
			r.end[r.depth] = r.pos + size
		default:
			return r.message(size)
		}
	}
}

func (r *reader) message(size int64) ([]byte, error) {
	if size > int64(r.limit) {
		if err := r.skip(size); err != nil {
			return nil, err
		}
		return nil, &TooLongError{Size: size, Limit: r.limit}
	}
	buf := make([]byte, size, size+midDigits) // with room for the id in digits
	r.pos += size
	for had := 0; ; {
		n := copy(buf[had:], r.mem[r.from:r.to])
		r.from += n
		if had += n; had == len(buf) {
			return buf, nil
		}
		if rest := buf[had:]; len(rest) >= readSize && r.err == nil {
			n, err := io.ReadFull(r.src, rest[:len(rest)-len(rest)%readSize])
			if had += n; err != nil {
				return nil, cutShort(err)
			}
			continue
		}
		if err := r.fill(); err != nil {
			return nil, cutShort(err)
		}
	}
}

// tag returns io.EOF only between the fields of the batch itself.
func (r *reader) tag() (protowire.Number, protowire.Type, error) {
	start := r.pos
	v, err := r.varint()
	if err != nil {
		if r.depth == 0 && r.pos == start && errors.Is(err, io.EOF) {
			return 0, 0, io.EOF
		}
		return 0, 0, cutShort(err)
	}
	num, typ := protowire.DecodeTag(v)
	if num < protowire.MinValidNumber {
		return 0, 0, fmt.Errorf("%w: bad field tag", errMalformed)
	}
	return num, typ, nil
}

func (r *reader) length() (int64, error) {
	v, err := r.varint()
	if err != nil {
		return 0, cutShort(err)
	}
	if v > uint64(r.end[r.depth]-r.pos) {
		return 0, fmt.Errorf("%w: a field is longer than what encloses it", errMalformed)
	}
	return int64(v), nil
}

func (r *reader) skipScalar(typ protowire.Type) error {
	switch typ {
	case protowire.VarintType:
		_, err := r.varint()
		return cutShort(err)
	case protowire.Fixed32Type:
		return r.skip(4)
	case protowire.Fixed64Type:
		return r.skip(8)
	default:
		return fmt.Errorf("%w: unexpected wire type %d", errMalformed, typ)
	}
}

func (r *reader) skip(n int64) error {
	if n > r.end[r.depth]-r.pos {
		return fmt.Errorf("%w: a field is longer than what encloses it", errMalformed)
	}
	r.pos += n
	for {
		step := min(n, int64(r.to-r.from))
		r.from += int(step)
		if n -= step; n == 0 {
			return nil
		}
		if err := r.fill(); err != nil {
			return cutShort(err)
		}
	}
}

func (r *reader) varint() (uint64, error) {
	if r.from < r.to && r.mem[r.from] < 0x80 && r.pos < r.end[r.depth] {
		r.from++
		r.pos++
		return uint64(r.mem[r.from-1]), nil
	}
	return r.longVarint()
}

func (r *reader) longVarint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if r.from == r.to {
			if err := r.fill(); err != nil {
				return 0, err
			}
		}
		b := r.mem[r.from]
		r.from++
		r.pos++
		if r.pos > r.end[r.depth] {
			return 0, fmt.Errorf("%w: a field runs over what encloses it", errMalformed)
		}
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: varint is too long", errMalformed)
}

// cutShort names the end of the stream within a field for what it is. A stream
// that broke off has an error of its own, which stays.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: a field is cut short", errMalformed)
	}
	return err
}
