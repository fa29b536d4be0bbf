package realtime

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Cursor is a position in a portal's stream of events: how far everything has
// been handled, and what was handled beyond. It is opaque and can be stored as
// text; [Message.Cursor] gives one and [WithCursor] takes it. The zero Cursor
// is no position.
type Cursor struct {
	bound binding    // what the position is of
	tags  bool       // positions are times and tags, not mids
	pos   wire.Mid   // everything up to here has been handled
	acked []wire.Key // the message at pos, if there is one, and what was handled beyond, in order

	retentionProbe wire.Mid  // a message at pos or beyond that the channels keep; zero: none is known
	replayedAt     time.Time // when the history was last known
}

// IsZero reports whether c is no position.
func (c Cursor) IsZero() bool { return c.pos.IsZero() && len(c.acked) == 0 && c.bound == binding{} }

// binding says what a position is of, in checksums. Zero: unknown.
type binding struct {
	portal   uint32
	server   uint32
	channels uint32
}

// bindingOf is what positions are of that are got with a config.
func bindingOf(cfg *b24pull.Config, ep *endpoint) binding {
	sum := func(text string) uint32 { return crc32.Checksum([]byte(text), wire.Castagnoli) }
	ids := slices.Sorted(maps.Keys(ep.channels))
	host, _, _ := strings.Cut(ep.server, " ") // whatever the portal is called
	return binding{
		portal:   sum(portalOf(cfg)),
		server:   sum(host + " " + cfg.ClientID),
		channels: sum(strings.Join(ids, " ")),
	}
}

// full reports whether a key's checksum is stored as it is, not shortened:
// places by time and tag are shared by messages of many channels, and so is no
// place at all.
func (c Cursor) full(k wire.Key) bool { return c.tags || k.Mid.IsZero() }

// check reports whether the cursor can be used with a server: it must be of the
// same portal, and positions of the same kind. A portal that has been renamed
// is known by its channels.
func (c Cursor) check(b binding, d wire.Dialect) error {
	if !c.IsZero() && (c.tags != (d == wire.DialectTags) || differ(c.bound.portal, b.portal) && !c.bound.sameChannels(b)) {
		return ErrCursorMismatch
	}
	return nil
}

// sameChannels reports whether two positions are of the same channels.
func (b binding) sameChannels(o binding) bool { return b.channels != 0 && b.channels == o.channels }

func differ(a, b uint32) bool { return a != 0 && b != 0 && a != b }

// String is the text that MarshalText gives.
func (c Cursor) String() string {
	text, _ := c.MarshalText()
	return string(text)
}

// The text of a cursor is a version, a dot and the encoded position. Version 1
// is a position by mid, version 2 one by time and tag.
const (
	cursorByMid = "1"
	cursorByTag = "2"
)

// MarshalText encodes c in a form that UnmarshalText of this and later versions
// reads. The zero Cursor is the empty text.
func (c Cursor) MarshalText() ([]byte, error) {
	if c.IsZero() {
		return nil, nil
	}
	var b []byte
	for _, sum := range []uint32{c.bound.portal, c.bound.server, c.bound.channels} {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	for _, m := range []wire.Mid{c.pos, c.retentionProbe} {
		b = binary.AppendUvarint(b, m.Epoch)
		b = binary.AppendUvarint(b, m.Counter)
	}
	b = binary.AppendUvarint(b, uint64(max(c.replayedAt.Unix(), 0)))
	last := c.pos
	for _, k := range c.acked {
		// mostly the same epoch: then the difference of the counters is all
		// there is to say
		if k.Mid.Epoch == last.Epoch {
			b = binary.AppendUvarint(b, (k.Mid.Counter-last.Counter)<<1)
		} else {
			b = binary.AppendUvarint(b, (k.Mid.Epoch-last.Epoch)<<1|1)
			b = binary.AppendUvarint(b, k.Mid.Counter)
		}
		if c.full(k) {
			b = binary.LittleEndian.AppendUint32(b, k.Sum)
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(k.Sum))
		}
		last = k.Mid
	}
	version := cursorByMid
	if c.tags {
		version = cursorByTag
	}
	b = binary.LittleEndian.AppendUint32(b, checksum(version, b))
	return []byte(version + "." + base64.RawURLEncoding.EncodeToString(b)), nil
}

// UnmarshalText decodes what MarshalText wrote. Text that is no cursor, or one
// of a later version, is an error and leaves c as it was.
func (c *Cursor) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = Cursor{}
		return nil
	}
	version, encoded, _ := strings.Cut(string(text), ".")
	if version != cursorByMid && version != cursorByTag {
		return fmt.Errorf("realtime: cursor of unknown version %.8q: it was written by a newer release, or is no cursor", version)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return errors.New("realtime: cursor is damaged: not base64")
	}
	decoded, err := decodeCursor(version, raw)
	if err != nil {
		return err
	}
	*c = decoded
	return nil
}

// checksum is that of a cursor's text.
func checksum(version string, raw []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(version), wire.Castagnoli), wire.Castagnoli, raw)
}

func decodeCursor(version string, raw []byte) (Cursor, error) {
	damaged := errors.New("realtime: cursor is damaged: its checksum does not match")
	if len(raw) < 4 {
		return Cursor{}, damaged
	}
	raw, sum := raw[:len(raw)-4], binary.LittleEndian.Uint32(raw[len(raw)-4:])
	if checksum(version, raw) != sum {
		return Cursor{}, damaged
	}
	damaged = errors.New("realtime: cursor is damaged: it holds an impossible position")
	number := func() uint64 {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			raw = nil
			return 1 << 63
		}
		raw = raw[n:]
		return v
	}
	valid := func(m wire.Mid) bool { return m.Epoch < 1e10 && m.Counter <= wire.MaxCounter }

	if len(raw) < 12 {
		return Cursor{}, damaged
	}
	var c Cursor
	for _, sum := range []*uint32{&c.bound.portal, &c.bound.server, &c.bound.channels} {
		*sum, raw = binary.LittleEndian.Uint32(raw), raw[4:]
	}
	c.tags = version == cursorByTag
	c.pos = wire.Mid{Epoch: number(), Counter: number()}
	c.retentionProbe = wire.Mid{Epoch: number(), Counter: number()}
	if !valid(c.pos) || !valid(c.retentionProbe) {
		return Cursor{}, damaged
	}
	switch at := number(); {
	case at > wire.MaxEpoch:
		return Cursor{}, damaged
	case at > 0:
		c.replayedAt = time.Unix(int64(at), 0)
	}
	last := c.pos
	for len(raw) > 0 {
		k := wire.Key{Mid: last}
		if step := number(); step&1 == 0 {
			k.Mid.Counter += step >> 1
		} else {
			k.Mid.Epoch += step >> 1
			k.Mid.Counter = number()
		}
		width := 2
		if c.full(k) {
			width = 4
		}
		if !valid(k.Mid) || len(raw) < width {
			return Cursor{}, damaged
		}
		if width == 2 {
			k.Sum = uint32(binary.LittleEndian.Uint16(raw))
		} else {
			k.Sum = binary.LittleEndian.Uint32(raw)
		}
		c.acked = append(c.acked, k)
		raw = raw[width:]
		last = k.Mid
	}
	slices.SortFunc(c.acked, wire.Key.Compare)
	c.acked = slices.Compact(c.acked)
	return c, nil
}
