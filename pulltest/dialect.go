package pulltest

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// dialect is what push servers of different versions do differently.
type dialect struct {
	version       int
	publicIDs     bool          // private channels have public ids, and clients may publish
	tokens        bool          // the config has a jwt, which stands for the channels
	rpc           bool          // clients may call by JSON-RPC
	extraChannel  bool          // the extra object of a portal's event names the channel
	socketPath    string        // of websockets in the config
	pingInterval  time.Duration // unless an option sets it
	idleTimeout   time.Duration // of connections between requests; 0: none
	textPing      time.Duration // the same for bare text pings
	patience      int           // so many pongs missing at a ping drop a websocket; 0: never
	pingHole      bool          // nothing is sent between a ping and its pong
	ordered       bool          // a message gets its id and is stored under one lock
	pingPayload   string
	ticks         bool                                       // gathering ends at ticks of the process, not a while after a frame
	emptyPong     bool                                       // a client's ping is answered without its payload
	upgradeHead   string                                     // header lines of a 101, but for what all have
	subprotocols  bool                                       // the first one that is asked for is agreed to
	maxFrame      int                                        // bytes of a message of a client; 0: any number
	checksText    bool                                       // text frames must be UTF-8
	textOnly      bool                                       // a binary frame ends the connection
	protests      bool                                       // a breach of the protocol is told by a close frame
	closeReply    func(data []byte) (answer []byte, ok bool) // to a client's close frame; not ok: that was none
	channelID     func(signer, channelID) string
	parseChannels func(s *pushServer, query url.Values) ([]channelID, error)
	parsePub      func(s signer, param string) ([]channelID, error)     // CHANNEL_ID of the portal itself
	serve         func(*pushServer, http.ResponseWriter, *http.Request) // everything, where nothing is as in other versions
	refuseChannel func(w http.ResponseWriter, err error)                // of a poll
	refuseSocket  func(w http.ResponseWriter)                           // for its channel
	badUpgrade    string                                                // what is said to an upgrade that is not well formed
	hangsOffPath  bool                                                  // an upgrade at another path is never answered
	exposes       func(http.Header)                                     // of a poll's answers, but for 200
	expiry        func(messageExpiry string) time.Duration
	infosHead     string // of the channels that are online
	maxBody       int64  // bytes of a POST
	maxChars      int    // the same in characters of JavaScript; 0: any number
	position      func(rawQuery string) position
	history       func(*hub, position, []channelID) []*message // the caller holds hub.mu
	framing       func(query url.Values, poll bool) *framing
	answerHead    func(http.Header, []*message)                   // of a poll's 200
	timeoutHead   func(h http.Header, last string, now time.Time) // of a poll's 304
}

// framing says how the messages for one connection are written, and what is
// done with the frames of its client.
type framing struct {
	kind     int    // websocket message type
	media    string // Content-Type of a poll's answer
	single   bool   // a websocket gets each message in a frame of its own
	apart    bool   // what was gathered is that many responses in a frame
	textPing bool   // a bare text ping is sent now and then
	stamps   bool   // messages are stamped when they are sent: the server writes milliseconds into them
	encode   func(messages []*message, now time.Time) []byte
	take     func(c *socket, s *pushServer, kind int, data []byte) // nil: ignored
}

// position is where a subscriber wants to go on from; the zero one asks for no
// history.
type position struct {
	mid  string    // version 3 and later
	time time.Time // versions 1 and 2
	tag  int       // the same; -1: after all of that second
}

func (p position) asksHistory() bool { return p.mid != "" || !p.time.IsZero() }

func dialectOf(version int) *dialect {
	switch version {
	case 1, 2:
		return nginxDialect(version)
	case 3:
		return textDialect()
	case 4:
		return protoDialect()
	case 5:
		return rpcDialect()
	}
	panic(fmt.Sprintf("pulltest: there is no push server of version %d, only 1 to 5", version))
}
