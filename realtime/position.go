package realtime

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"time"
)

// A mid is 26 decimal digits: 10 of the Unix second in which the server's
// sequence began and a 16-digit counter. The zero mid stands before every
// message.
type mid struct {
	epoch   uint64 // 10 digits
	counter uint64 // 16 digits
}

const (
	midDigits     = 26
	epochDigits   = 10
	maxEpoch      = 9_999_999_999
	maxCounter    = 9_999_999_999_999_999
	midBytes      = midDigits / 2
	bytesPerEpoch = epochDigits / 2
)

func (m mid) isZero() bool { return m == mid{} }

func (m mid) compare(o mid) int {
	return cmp.Or(cmp.Compare(m.epoch, o.epoch), cmp.Compare(m.counter, o.counter))
}

func (m mid) less(o mid) bool { return m.compare(o) < 0 }

// prev is the decimal predecessor: asking for what follows it brings m itself
// again. Zero has none and stays.
func (m mid) prev() mid {
	switch {
	case m.counter > 0:
		return mid{m.epoch, m.counter - 1}
	case m.epoch > 0:
		return mid{m.epoch - 1, maxCounter}
	default:
		return m
	}
}

func (m mid) String() string { return fmt.Sprintf("%010d%016d", m.epoch, m.counter) }

// midFromBCD reads the 13 bytes whose hex digits are the mid. ok is false for
// anything else.
func midFromBCD(id []byte) (m mid, ok bool) {
	if len(id) != midBytes {
		return mid{}, false
	}
	for i, b := range id {
		tens, ones := uint64(b>>4), uint64(b&0x0f)
		if tens > 9 || ones > 9 {
			return mid{}, false
		}
		if i < bytesPerEpoch {
			m.epoch = m.epoch*100 + tens*10 + ones
		} else {
			m.counter = m.counter*100 + tens*10 + ones
		}
	}
	return m, true
}

// midFromDigits reads the 26 digits of a mid. ok is false for anything else.
func midFromDigits(s []byte) (m mid, ok bool) {
	if len(s) != midDigits {
		return mid{}, false
	}
	epoch, ok := decimal(s[:epochDigits])
	if !ok {
		return mid{}, false
	}
	counter, ok := decimal(s[epochDigits:])
	if !ok {
		return mid{}, false
	}
	return mid{epoch, counter}, true
}

// midFromTag makes the position of a message of versions 1 and 2: the second
// the server took it in, and its tag, which counts the messages of that second.
// ok is false if either is missing or impossible.
func midFromTag(t time.Time, tag []byte) (m mid, ok bool) {
	counter, ok := decimal(tag)
	if !ok || t.Unix() < 0 || t.Unix() > maxEpoch {
		return mid{}, false
	}
	return mid{uint64(t.Unix()), counter}, true
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

// A key tells a message from every other: its mid and, since a server that lost
// its data can give a mid twice, a checksum of the body as it came.
type key struct {
	mid mid
	sum uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (k key) compare(o key) int { return cmp.Or(k.mid.compare(o.mid), cmp.Compare(k.sum, o.sum)) }

// keyOf makes the key of a message. An id that is no mid takes part in the
// checksum instead.
func keyOf(id, body []byte) key {
	m, ok := midFromBCD(id)
	return newKey(m, ok, id, body)
}

// keyOfDigits is keyOf for an id in digits.
func keyOfDigits(id, body []byte) key {
	m, ok := midFromDigits(id)
	return newKey(m, ok, id, body)
}

func newKey(m mid, ok bool, id, body []byte) key {
	sum := crc32.Checksum(body, castagnoli)
	if !ok {
		sum = crc32.Update(sum, castagnoli, id)
	}
	return key{m, sum | fullSum}
}

// fullSum marks a checksum that is not shortened.
const fullSum = 1 << 31

// shorten gives the key as cursors hold it: with sixteen bits of the checksum,
// since a cursor is to be small, and two messages of one mid are as rare as
// servers that lose their data.
func (k key) shorten() key { return key{k.mid, k.sum & 0xffff} }

func (k key) short() bool { return k.sum&fullSum == 0 }

// keyOfTag makes the key of a message of versions 1 and 2, whose place is
// shared by what other channels and processes send: parts are all that tells it
// from those.
func keyOfTag(t time.Time, tag []byte, parts ...[]byte) key {
	var k key
	k.mid, _ = midFromTag(t, tag)
	for _, p := range parts {
		k.sum = crc32.Update(k.sum, castagnoli, p)
		k.sum = crc32.Update(k.sum, castagnoli, []byte{0})
	}
	k.sum |= fullSum
	return k
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
