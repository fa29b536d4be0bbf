package wire

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"time"
	"unsafe"
)

// A Mid is 26 decimal digits: 10 of the Unix second in which the server's
// sequence began and a 16-digit counter. The zero mid stands before every
// message.
type Mid struct {
	Epoch   uint64 // 10 digits
	Counter uint64 // 16 digits
}

const (
	midDigits     = 26
	epochDigits   = 10
	MaxEpoch      = 9_999_999_999
	MaxCounter    = 9_999_999_999_999_999
	midBytes      = midDigits / 2
	bytesPerEpoch = epochDigits / 2
)

func (m Mid) IsZero() bool { return m == Mid{} }

func (m Mid) Compare(o Mid) int {
	return cmp.Or(cmp.Compare(m.Epoch, o.Epoch), cmp.Compare(m.Counter, o.Counter))
}

func (m Mid) Less(o Mid) bool { return m.Compare(o) < 0 }

// Prev is the decimal predecessor: asking for what follows it brings m itself
// again. Zero has none and stays.
func (m Mid) Prev() Mid {
	switch {
	case m.Counter > 0:
		return Mid{m.Epoch, m.Counter - 1}
	case m.Epoch > 0:
		return Mid{m.Epoch - 1, MaxCounter}
	default:
		return m
	}
}

func (m Mid) String() string { return fmt.Sprintf("%010d%016d", m.Epoch, m.Counter) }

// midFromBCD reads the 13 bytes whose hex digits are the mid. ok is false for
// anything else.
func midFromBCD(id []byte) (m Mid, ok bool) {
	if len(id) != midBytes {
		return Mid{}, false
	}
	for i, b := range id {
		tens, ones := uint64(b>>4), uint64(b&0x0f)
		if tens > 9 || ones > 9 {
			return Mid{}, false
		}
		if i < bytesPerEpoch {
			m.Epoch = m.Epoch*100 + tens*10 + ones
		} else {
			m.Counter = m.Counter*100 + tens*10 + ones
		}
	}
	return m, true
}

// MidFromDigits reads the 26 digits of a mid. ok is false for anything else.
func MidFromDigits(s []byte) (m Mid, ok bool) {
	if len(s) != midDigits {
		return Mid{}, false
	}
	epoch, ok := decimal(s[:epochDigits])
	if !ok {
		return Mid{}, false
	}
	counter, ok := decimal(s[epochDigits:])
	if !ok {
		return Mid{}, false
	}
	return Mid{epoch, counter}, true
}

// midFromTag makes the position of a message of versions 1 and 2: the second
// the server took it in, and its tag, which counts the messages of that second.
// ok is false if either is missing or impossible.
func midFromTag(t time.Time, tag []byte) (m Mid, ok bool) {
	counter, ok := decimal(tag)
	if !ok || t.Unix() < 0 || t.Unix() > MaxEpoch {
		return Mid{}, false
	}
	return Mid{uint64(t.Unix()), counter}, true
}

// decimal reads up to 16 digits, as many as a counter has.
func decimal(digits []byte) (n uint64, ok bool) {
	if len(digits) == 0 || len(digits) > midDigits-epochDigits {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + uint64(d-'0')
	}
	return n, true
}

// A Key tells a message from every other: its mid and, since a server that lost
// its data can give a mid twice, a checksum of the body as it came.
type Key struct {
	Mid Mid
	Sum uint32
}

var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (k Key) Compare(o Key) int { return cmp.Or(k.Mid.Compare(o.Mid), cmp.Compare(k.Sum, o.Sum)) }

// keyOfBCD makes the key of a message. An id that is no mid takes part in the
// checksum instead.
func keyOfBCD(id, body []byte) Key {
	m, ok := midFromBCD(id)
	return newKey(m, ok, id, body)
}

// keyOfDigits is keyOfBCD for an id in digits.
func keyOfDigits(id, body []byte) Key {
	m, ok := MidFromDigits(id)
	return newKey(m, ok, id, body)
}

func newKey(m Mid, ok bool, id, body []byte) Key {
	sum := crc32.Checksum(body, Castagnoli)
	if !ok {
		sum = crc32.Update(sum, Castagnoli, id)
	}
	return Key{m, sum | FullSum}
}

// FullSum marks a checksum that is not shortened.
const FullSum = 1 << 31

// Shorten gives the key as cursors hold it: with sixteen bits of the checksum,
// since a cursor is to be small, and two messages of one mid are as rare as
// servers that lose their data.
func (k Key) Shorten() Key { return Key{k.Mid, k.Sum & 0xffff} }

func (k Key) Short() bool { return k.Sum&FullSum == 0 }

// keyOfTag makes the key of a message of versions 1 and 2, whose place is
// shared by what other channels and processes send: parts are all that tells it
// from those.
func keyOfTag(t time.Time, tag []byte, parts ...[]byte) Key {
	var k Key
	k.Mid, _ = midFromTag(t, tag)
	for _, p := range parts {
		k.Sum = crc32.Update(k.Sum, Castagnoli, p)
		k.Sum = crc32.Update(k.Sum, Castagnoli, []byte{0})
	}
	k.Sum |= FullSum
	return k
}

// idStringIn is idString in the room behind a buffer that nobody else uses, if
// there is enough of it: a message is one allocation.
func idStringIn(buf, id []byte) string {
	n := len(buf)
	if len(id) != midBytes || cap(buf)-n < midDigits {
		return idString(id)
	}
	digits := buf[n : n+midDigits]
	hex.Encode(digits, id)
	return unsafe.String(&digits[0], midDigits)
}

// idString is the public form of a message id: the hex of its bytes.
func idString(id []byte) string {
	if len(id) == midBytes { // without a second allocation
		var digits [midDigits]byte
		hex.Encode(digits[:], id)
		return string(digits[:])
	}
	return hex.EncodeToString(id)
}
