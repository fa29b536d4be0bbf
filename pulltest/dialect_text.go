package pulltest

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
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
		idleTimeout:  keepAlive,
		patience:     2,
		pingPayload:  "ws ping",
		ticks:        true,
		upgradeHead:  "Upgrade: websocket\r\n",
		subprotocols: true,
		protests:     true,
		closeReply:   textCloseReply,
		channelID:    signer.channel,
		parseChannels: func(s *pushServer, query url.Values) ([]channelID, error) {
			return s.signer.parsePrivate(only(query, "CHANNEL_ID"))
		},
		parsePub: signer.parseText,
		refuseChannel: func(w http.ResponseWriter, err error) {
			exposeLast(w.Header())
			writeText(w, http.StatusBadRequest, err.Error())
		},
		refuseSocket: func(w http.ResponseWriter) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			exposeLast(w.Header())
			refuseUpgrade(w, "Bad Request")
		},
		hangsOffPath: true,
		exposes:      exposeLast,
		expiry:       keptAnyhow,
		infosHead:    `{ "infos": `,
		maxBody:      3 * maxChars,
		maxChars:     maxChars,
		position:     midPosition,
		history:      (*hub).onceAfter,
		framing:      textFraming,
		answerHead:   func(h http.Header, _ []*message) { exposeLast(h) },
		timeoutHead:  midTimeoutHead,
	}
}

// maxChars is how long a message may be that the portal publishes.
const maxChars = 1_000_000

var (
	errNoID  = saying("No channel id provided.")
	errBadID = saying("Channel id is not correct.")

	anyID = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)
)

// saying is an error as the server says it.
type saying string

func (s saying) Error() string { return string(s) }

// parsePrivate reads a CHANNEL_ID in which nothing has a public id.
func (s signer) parsePrivate(param string) ([]channelID, error) {
	channels, err := s.parseText(param)
	for i, part := range strings.Split(param, "/") {
		if err == nil && !s.valid(channels[i].private, strings.TrimPrefix(part, channels[i].private+".")) {
			return nil, errBadID
		}
	}
	return channels, err
}

// parseText reads what the portal itself publishes to. Signatures are not looked
// at, but what stands between has to have one.
func (s signer) parseText(param string) ([]channelID, error) {
	if param == "" {
		return nil, errNoID
	}
	var channels []channelID
	for part := range strings.SplitSeq(param, "/") {
		text, _, signed := strings.Cut(part, ".")
		private, _, both := strings.Cut(text, ":")
		if !anyID.MatchString(private) || both && !signed {
			return nil, errBadID
		}
		channels = append(channels, channelID{private: private})
	}
	return channels, nil
}

func textFraming(url.Values, bool) *framing {
	return &framing{
		kind:  websocket.TextMessage,
		media: "text/plain",
		encode: func(messages []*message, _ time.Time) []byte {
			return textFrame(messages, func(m *message) string {
				return fmt.Sprintf(`"id":%d,"mid":"%s","channel":"%s","tag":"%03d","time":"%s"`,
					m.seq, m.mid, m.first, milliseconds(m.created), httpTime(m.created))
			})
		},
	}
}

func milliseconds(t time.Time) int { return t.Nanosecond() / int(time.Millisecond) }

// midPosition takes a mid of 26 digits and ignores any other.
func midPosition(query string) position {
	values, _ := url.ParseQuery(query)
	if mid := only(values, "mid"); midPattern.MatchString(mid) {
		return position{mid: mid}
	}
	return position{}
}

func (h *hub) afterPosition(p position, channels []channelID) []*message {
	return h.after(p.mid, channels)
}

// onceAfter has a message once that was sent to several of the channels.
func (h *hub) onceAfter(p position, channels []channelID) []*message {
	return slices.CompactFunc(h.after(p.mid, channels), func(a, b *message) bool { return a.mid == b.mid })
}

func midTimeoutHead(h http.Header, last string, _ time.Time) {
	exposeLast(h)
	h.Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
	h.Set("Last-Message-Id", last)
}
