package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of RequestBatch and Request, of ResponseBatch and Response, and of
// what these hold.
const (
	fieldRequests = 1
	fieldMessages = 1 // of IncomingMessagesRequest
	fieldChannels = 1 // of ChannelStatsRequest and ChannelStatsResponse

	requestMessages = 1 // of the oneof in Request
	requestStats    = 2 // and in Response

	fieldReceivers = 1
	fieldText      = 3
	fieldLife      = 4

	fieldChannelID = 1
	fieldSignature = 3
	fieldOnline    = 3
)

// A Receiver is a public channel, as a request to a server of version 4 names
// it: by the bytes that its hex digits stand for.
type Receiver struct{ ID, Signature []byte }

func (r Receiver) size() int {
	size := protowire.SizeTag(fieldChannelID) + protowire.SizeBytes(len(r.ID))
	if len(r.Signature) > 0 {
		size += protowire.SizeTag(fieldSignature) + protowire.SizeBytes(len(r.Signature))
	}
	return size
}

func (r Receiver) append(b []byte) []byte {
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldChannelID, protowire.BytesType), r.ID)
	if len(r.Signature) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldSignature, protowire.BytesType), r.Signature)
	}
	return b
}

// A Publication is a message to be published.
type Publication struct {
	Receivers []Receiver
	Body      []byte // UTF-8
	Expiry    uint32 // seconds; 0: not to be kept
}

// Size is how many bytes of a request the message takes. Those of all messages
// and RequestFrame are never less than the length of the request.
func (p *Publication) Size() int {
	return protowire.SizeTag(fieldMessages) + protowire.SizeBytes(p.inner())
}

// RequestFrame is how many bytes a request has at most beside its messages, if
// it has 2 MiB at most.
const RequestFrame = 8

func (p *Publication) inner() int {
	size := 0
	for _, r := range p.Receivers {
		size += protowire.SizeTag(fieldReceivers) + protowire.SizeBytes(r.size())
	}
	size += protowire.SizeTag(fieldText) + protowire.SizeBytes(len(p.Body))
	if p.Expiry > 0 {
		size += protowire.SizeTag(fieldLife) + protowire.SizeVarint(uint64(p.Expiry))
	}
	return size
}

// AppendPublish appends a RequestBatch with one request, to publish messages: a
// server carries out the first request of a batch only. It says nothing of the
// sender, whom the server knows.
func AppendPublish(b []byte, messages []Publication) []byte {
	size := 0
	for i := range messages {
		size += messages[i].Size()
	}
	b = appendRequest(b, requestMessages, size)
	for i := range messages {
		m := &messages[i]
		b = protowire.AppendTag(b, fieldMessages, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(m.inner()))
		b = appendReceivers(b, m.Receivers)
		b = protowire.AppendTag(b, fieldText, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Body)
		if m.Expiry > 0 {
			b = protowire.AppendTag(b, fieldLife, protowire.VarintType)
			b = protowire.AppendVarint(b, uint64(m.Expiry))
		}
	}
	return b
}

// AppendChannelStats appends a RequestBatch with one request, which asks
// whether channels are online.
func AppendChannelStats(b []byte, channels []Receiver) []byte {
	size := 0
	for _, r := range channels {
		size += protowire.SizeTag(fieldChannels) + protowire.SizeBytes(r.size())
	}
	return appendReceivers(appendRequest(b, requestStats, size), channels)
}

// appendRequest begins a RequestBatch whose one request has size bytes.
func appendRequest(b []byte, kind protowire.Number, size int) []byte {
	b = protowire.AppendTag(b, fieldRequests, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(protowire.SizeTag(kind)+protowire.SizeBytes(size)))
	b = protowire.AppendTag(b, kind, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}

// appendReceivers appends receivers, or channels: in what holds them both have
// the number 1.
func appendReceivers(b []byte, receivers []Receiver) []byte {
	for _, r := range receivers {
		b = protowire.AppendTag(b, fieldReceivers, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(r.size()))
		b = r.append(b)
	}
	return b
}

// ChannelStats is what a server says of a channel.
type ChannelStats struct {
	ID     []byte // shares memory with the answer
	Online bool
}

// ParseChannelStats reads the ResponseBatch that answers an AppendChannelStats.
// Without an error there was such an answer in it.
func ParseChannelStats(answer []byte) ([]ChannelStats, error) {
	var all []ChannelStats
	answered := false
	err := within(answer, fieldRequests, func(response []byte) error {
		return within(response, requestStats, func(stats []byte) error {
			answered = true
			return within(stats, fieldChannels, func(channel []byte) error {
				s, err := parseChannelStats(channel)
				all = append(all, s)
				return err
			})
		})
	})
	if err == nil && !answered {
		err = fmt.Errorf("%w: no channel statistics in it", errMalformed)
	}
	return all, err
}

// within calls visit with each of the messages that a message has in a field.
func within(message []byte, field protowire.Number, visit func([]byte) error) error {
	f := fieldsOf(message)
	for f.next() {
		if f.num == field && f.typ == protowire.BytesType {
			if err := visit(f.bytes); err != nil {
				return err
			}
		}
	}
	return f.err
}

func parseChannelStats(channel []byte) (s ChannelStats, err error) {
	f := fieldsOf(channel)
	for f.next() {
		switch {
		case f.num == fieldChannelID && f.typ == protowire.BytesType:
			s.ID = f.bytes
		case f.num == fieldOnline && f.typ == protowire.VarintType:
			s.Online = protowire.DecodeBool(f.number)
		}
	}
	return s, f.err
}
