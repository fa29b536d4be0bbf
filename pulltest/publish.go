package pulltest

import (
	"encoding/hex"
	"fmt"
	"net/http"
)

// Bounds of one request.
const (
	maxMessages  = 100
	maxReceivers = 100
	idLength     = 16
)

// pushError is a refusal of the push server: the code and the reason of a
// websocket's close frame, or the body of an HTTP 400.
type pushError struct {
	code   int
	reason string
}

func (e *pushError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.reason) }

func (e *pushError) status() int {
	if e == errTooManyConnections {
		return http.StatusTooManyRequests
	}
	return http.StatusBadRequest
}

var (
	errWrongChannel       = &pushError{4010, "Wrong Channel Id."}
	errPublicRequired     = &pushError{4012, "Public Channel Id is Required."}
	errWrongData          = &pushError{4013, "Wrong Request Data."}
	errNotAllowed         = &pushError{4014, "Request command is not allowed."}
	errTooManyMessages    = &pushError{4016, "Request exceeded the maximum number of messages."}
	errNoChannels         = &pushError{4017, "No channels found."}
	errTooManyChannels    = &pushError{4018, "Request exceeded the maximum number of channels."}
	errInvalidChannel     = &pushError{4019, "Request has an invalid channel id."}
	errPrivateChannel     = &pushError{4020, "Private channel is not allowed."}
	errInvalidSignature   = &pushError{4021, "Channel has an invalid signature."}
	errTooManyConnections = &pushError{4029, "Too many connections"}
	errWrongClient        = &pushError{4036, "Wrong client id."}
)

// publisher is who sends a request.
type publisher struct {
	trusted  bool
	publicID string // of a client; "" if it has none
	user     int    // whose client it is; 0 if that is not known
	owner    string // of the user's channel
}

var backend = publisher{trusted: true}

// clientOf is the client that listens to the channels.
func (s *pushServer) clientOf(channels []channelID) publisher {
	var p publisher
	for _, c := range channels {
		if p.publicID == "" {
			p.publicID = c.public
		}
		if name := s.book.nameOf(c.private); p.user == 0 && name.user != 0 {
			p.user, p.owner = name.user, name.owner
		}
	}
	return p
}

func (p publisher) sender() sender {
	if p.trusted {
		return sender{kind: senderBackend}
	}
	return sender{kind: senderClient, id: idBytes(p.publicID)}
}

// idBytes is what an id stands for in protobuf.
func idBytes(id string) []byte {
	b, _ := hex.DecodeString(id)
	return b
}

// call is a checked request: run executes it, and answers says whether it
// returns a frame for whoever asked.
type call struct {
	run     func() []byte
	answers bool
}

// prepare checks the first request of a batch, the only one that is executed.
// Whoever has no public id is told that before anything else.
func (s *pushServer) prepare(data []byte, from publisher) (call, *pushError) {
	if !from.trusted && from.publicID == "" {
		return call{}, errPublicRequired
	}
	batch, err := decodeBatch(data)
	if err != nil || len(batch) == 0 {
		return call{}, errWrongData
	}
	r := batch[0]
	s.hub.countRequest(r)
	switch {
	case r.kind == incomingMessages:
		publish := func() []byte { s.publishAll(r.messages, from); return nil }
		return call{run: publish}, checkMessages(s.signer, r.messages, from)
	case r.kind == channelStats:
		presence := func() []byte { return s.presence(r.channels) }
		return call{presence, true}, checkReceivers(s.signer, r.channels, from)
	case r.kind == serverStats && from.trusted:
		return call{func() []byte { return jsonFrame(s.serverStats()) }, true}, nil
	case r.kind == serverStats:
		return call{}, errNotAllowed
	}
	return call{}, errWrongData
}

// checkMessages checks all messages before the first is taken.
func checkMessages(s signer, messages []incoming, from publisher) *pushError {
	if len(messages) > maxMessages {
		return errTooManyMessages
	}
	for _, m := range messages {
		if err := checkReceivers(s, m.receivers, from); err != nil {
			return err
		}
	}
	return nil
}

// checkReceivers asks of the portal ids of the right length, and of clients
// signed public ids; those may have any length.
func checkReceivers(s signer, receivers []receiver, from publisher) *pushError {
	switch n := len(receivers); {
	case n == 0:
		return errNoChannels
	case n > maxReceivers:
		return errTooManyChannels
	}
	for _, r := range receivers {
		switch {
		case from.trusted && len(r.id) != idLength:
			return errInvalidChannel
		case from.trusted:
		case r.private:
			return errPrivateChannel
		case !s.valid("public:"+hex.EncodeToString(r.id), hex.EncodeToString(r.signature)):
			return errInvalidSignature
		}
	}
	return nil
}

func (s *pushServer) publishAll(messages []incoming, from publisher) {
	for _, m := range messages {
		keys := make([]channelKey, len(m.receivers))
		for i, r := range m.receivers {
			keys[i] = r.key()
		}
		s.hub.publish(keys, m.body, m.expiry, from.sender())
	}
}

func (s *pushServer) presence(channels []receiver) []byte {
	online := make([]bool, len(channels))
	s.hub.mu.Lock()
	for i, c := range channels {
		online[i] = s.hub.isOnline(c.key())
	}
	s.hub.mu.Unlock()
	return statsFrame(channels, online)
}
