package realtime

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Cursor is a position in a portal's stream of events: how far everything has
// been handled, and what was handled beyond. It is opaque and can be stored as
// text; [Message.Cursor] gives one and [WithCursor] takes it. The zero Cursor
// is no position.
type Cursor struct{ position delivery.Position }

// IsZero reports whether c is no position.
func (c Cursor) IsZero() bool { return c.position.IsZero() }

// bindingOf is what positions are of that are got with a config.
func bindingOf(cfg *b24pull.Config, ep *endpoint) delivery.Binding {
	sum := func(text string) uint32 { return crc32.Checksum([]byte(text), wire.Castagnoli) }
	var ids []string
	for _, c := range ep.channels {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	host, _, _ := strings.Cut(ep.server, " ") // whatever the portal is called
	return delivery.Binding{
		Portal:   sum(portalOf(cfg)),
		Server:   sum(host + " " + cfg.ClientID),
		Channels: sum(strings.Join(ids, " ")),
	}
}

// full reports whether a key's checksum is stored as it is, not shortened:
// places by time and tag are shared by messages of many channels, and so is no
// place at all.
func full(p *delivery.Position, k wire.Key) bool { return p.Tags || k.Mid.IsZero() }

// check reports whether the cursor can be used with a server: it must be of the
// same portal, and positions of the same kind. A portal that has been renamed
// is known by its channels.
func (c Cursor) check(b delivery.Binding, d wire.Dialect) error {
	if !c.IsZero() && (c.position.Tags != (d == wire.DialectTags) || differ(c.position.Bound.Portal, b.Portal) && !sameChannels(c.position.Bound, b)) {
		return ErrCursorMismatch
	}
	return nil
}

// sameChannels reports whether two positions are of the same channels.
func sameChannels(a, b delivery.Binding) bool { return a.Channels != 0 && a.Channels == b.Channels }

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
	p := &c.position
	for _, sum := range []uint32{p.Bound.Portal, p.Bound.Server, p.Bound.Channels} {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	for _, m := range []wire.Mid{p.Watermark, p.RetentionProbe} {
		b = binary.AppendUvarint(b, m.Epoch)
		b = binary.AppendUvarint(b, m.Counter)
	}
	b = binary.AppendUvarint(b, uint64(max(p.ReplayedAt.Unix(), 0)))
	last := p.Watermark
	for k := range p.Keys() {
		// mostly the same epoch: then the difference of the counters is all
		// there is to say
		if k.Mid.Epoch == last.Epoch {
			b = binary.AppendUvarint(b, (k.Mid.Counter-last.Counter)<<1)
		} else {
			b = binary.AppendUvarint(b, (k.Mid.Epoch-last.Epoch)<<1|1)
			b = binary.AppendUvarint(b, k.Mid.Counter)
		}
		if full(p, k) {
			b = binary.LittleEndian.AppendUint32(b, k.Sum)
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(k.Sum))
		}
		last = k.Mid
	}
	version := cursorByMid
	if p.Tags {
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
	p := &c.position
	for _, sum := range []*uint32{&p.Bound.Portal, &p.Bound.Server, &p.Bound.Channels} {
		*sum, raw = binary.LittleEndian.Uint32(raw), raw[4:]
	}
	p.Tags = version == cursorByTag
	p.Watermark = wire.Mid{Epoch: number(), Counter: number()}
	p.RetentionProbe = wire.Mid{Epoch: number(), Counter: number()}
	if !valid(p.Watermark) || !valid(p.RetentionProbe) {
		return Cursor{}, damaged
	}
	switch at := number(); {
	case at > wire.MaxEpoch:
		return Cursor{}, damaged
	case at > 0:
		p.ReplayedAt = time.Unix(int64(at), 0)
	}
	last := p.Watermark
	for len(raw) > 0 {
		k := wire.Key{Mid: last}
		if step := number(); step&1 == 0 {
			k.Mid.Counter += step >> 1
		} else {
			k.Mid.Epoch += step >> 1
			k.Mid.Counter = number()
		}
		width := 2
		if full(p, k) {
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
		p.Acked = append(p.Acked, k)
		raw = raw[width:]
		last = k.Mid
	}
	slices.SortFunc(p.Acked, wire.Key.Compare)
	p.Acked = slices.Compact(p.Acked)
	return c, nil
}
