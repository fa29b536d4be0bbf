package pulltest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// protoDialect is a push server of version 4: protobuf both ways, and public
// ids by which clients publish.
func protoDialect() *dialect {
	return &dialect{
		version:      4,
		publicIDs:    true,
		socketPath:   "/sub/",
		pingInterval: 120 * time.Second,
		idleTimeout:  keepAlive,
		patience:     1,
		pingHole:     true,
		pingPayload:  "ws ping",
		upgradeHead:  "Upgrade: websocket\r\n",
		subprotocols: true,
		maxFrame:     maxRequest,
		checksText:   true,
		closeReply:   strictCloseReply,
		channelID:    signer.channel,
		parseChannels: func(s *pushServer, query url.Values) ([]channelID, error) {
			return s.signer.parse(query.Get("CHANNEL_ID"), false)
		},
		parsePub: func(s signer, param string) ([]channelID, error) { return s.parse(param, true) },
		refuseChannel: func(w http.ResponseWriter, _ error) {
			exposeLast(w.Header())
			refuse(w, errWrongChannel)
		},
		refuseSocket: func(w http.ResponseWriter) { refuseUpgrade(w, errWrongChannel.reason) },
		badUpgrade:   "Bad Request",
		exposes:      exposeLast,
		expiry:       expirySeconds,
		infosHead:    `{"infos":`,
		maxBody:      maxRequest,
		position:     midPosition,
		history:      (*hub).afterPosition,
		framing:      protoFraming,
		answerHead:   func(http.Header, []*message) {},
		timeoutHead:  midTimeoutHead,
	}
}

func exposeLast(h http.Header) { h.Set("Access-Control-Expose-Headers", "Last-Message-Id") }

// protoFraming is protobuf for those who ask for it. In text framing the server
// stamps tag and time when it sends, not when the message was published, and
// ignores what clients send.
func protoFraming(query url.Values, _ bool) *framing {
	if only(query, "binaryMode") == "true" {
		return &framing{
			kind:   websocket.BinaryMessage,
			media:  "application/octet-stream",
			apart:  true,
			encode: func(messages []*message, _ time.Time) []byte { return binaryFrame(messages) },
			take:   (*socket).takeBatch,
		}
	}
	f := &framing{
		kind:   websocket.TextMessage,
		media:  "text/plain",
		stamps: true,
		encode: func(messages []*message, now time.Time) []byte {
			return textFrame(messages, func(m *message) string { return stampedHead(m, now) })
		},
	}
	if only(query, "format") == "json" {
		f.media, f.encode = "application/json", jsonArray
	}
	return f
}

func stampedHead(m *message, now time.Time) string {
	return fmt.Sprintf(`"id":%d,"mid":"%s","channel":"-","tag":"%03d","time":"%s"`, m.seq, m.mid, milliseconds(now), httpTime(now))
}

// jsonArray has the objects of the text framing, without delimiters.
func jsonArray(messages []*message, now time.Time) []byte {
	objects := make([][]byte, len(messages))
	for i, m := range messages {
		objects[i] = fmt.Appendf(nil, `{%s,"text":%s}`, stampedHead(m, now), m.body)
	}
	return slices.Concat([]byte("["), bytes.Join(objects, []byte(",")), []byte("]"))
}
