package pulltest

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// textDialect is a push server of version 3: text framing with mids, signed
// channels without public ids.
func textDialect() *dialect {
	return &dialect{
		version:      3,
		socketPath:   "/sub/",
		pingInterval: 120 * time.Second,
		patience:     2,
		channelID:    signer.channel,
		parseChannels: func(s *pushServer, query url.Values) ([]channelID, error) {
			return s.signer.parsePrivate(query.Get("CHANNEL_ID"))
		},
		parsePub:      func(s signer, param string) ([]channelID, error) { return s.parse(param, true) },
		refuseChannel: textRefusal,
		position:      midPosition,
		history:       (*hub).afterPosition,
		framing:       textFraming,
		answerHead:    func(http.Header, []*message) {},
		timeoutHead:   midTimeoutHead,
	}
}

// parsePrivate reads a CHANNEL_ID in which nothing has a public id.
func (s signer) parsePrivate(param string) ([]channelID, error) {
	channels, err := s.parse(param, false)
	for _, c := range channels {
		if c.public != "" {
			return nil, errChannelID
		}
	}
	return channels, err
}

func textRefusal(w http.ResponseWriter, upgrade bool) {
	if upgrade {
		writeText(w, http.StatusBadRequest, "Bad Request")
		return
	}
	writeText(w, http.StatusBadRequest, "Channel id is not correct.")
}

func textFraming(url.Values, bool) *framing {
	return &framing{
		kind:  websocket.TextMessage,
		media: "text/plain",
		encode: func(messages []*message, _ time.Time) []byte {
			return textFrame(messages, func(m *message) string {
				return fmt.Sprintf(`"id":%d,"mid":"%s","channel":"%s","tag":"%03d","time":"%s"`,
					m.seq, m.mid, m.to.id, milliseconds(m.created), httpTime(m.created))
			})
		},
	}
}

func milliseconds(t time.Time) int { return t.Nanosecond() / int(time.Millisecond) }

// midPosition takes a mid of 26 digits and ignores any other.
func midPosition(query string) position {
	values, _ := url.ParseQuery(query)
	if mid := values.Get("mid"); midPattern.MatchString(mid) {
		return position{mid: mid}
	}
	return position{}
}

func (h *hub) afterPosition(p position, channels []channelID) []*message {
	return h.after(p.mid, channels)
}

func midTimeoutHead(h http.Header, last string, _ time.Time) {
	h.Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
	h.Set("Last-Message-Id", last)
}
