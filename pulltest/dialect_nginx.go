package pulltest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// nginxDialect is nginx with its push-stream module, which versions 1 and 2
// are: channels without signatures, positions by time and tag.
func nginxDialect(version int) *dialect {
	return &dialect{
		version:      version,
		extraChannel: version == 1,
		socketPath:   "/subws/",
		ordered:      true,
		emptyPong:    true,
		upgradeHead:  "Upgrade: WebSocket\r\nCache-Control: " + nginxNoCache + "\r\nExpires: " + nginxExpires + "\r\n",
		textOnly:     true,
		closeReply:   nginxCloseReply,
		channelID:    func(_ signer, c channelID) string { return c.private },
		parseChannels: func(_ *pushServer, query url.Values) ([]channelID, error) {
			return nginxChannels(only(query, "CHANNEL_ID"))
		},
		parsePub:   func(_ signer, param string) ([]channelID, error) { return nginxChannels(param) },
		serve:      (*pushServer).serveNGINX,
		exposes:    func(http.Header) {},
		maxBody:    maxRequest,
		position:   nginxPosition,
		history:    (*hub).since,
		framing:    nginxFraming,
		answerHead: nginxAnswerHead,
		timeoutHead: func(h http.Header, _ string, now time.Time) {
			nginxHead(h)
			h.Set("Last-Modified", httpTime(now))
			h.Set("Etag", "W/0")
		},
	}
}

var errNoChannel = errors.New("no channel")

// nginxChannels takes any names: nginx checks none.
func nginxChannels(param string) ([]channelID, error) {
	var channels []channelID
	for id := range strings.SplitSeq(param, "/") {
		if id != "" {
			channels = append(channels, channelID{private: id})
		}
	}
	if len(channels) == 0 {
		return nil, errNoChannel
	}
	return channels, nil
}

const (
	nginxNoCache = "no-cache, no-store, must-revalidate"
	nginxExpires = "Thu, 01 Jan 1970 00:00:01 GMT"
)

func nginxHead(h http.Header) {
	h.Set("Cache-Control", nginxNoCache)
	h.Set("Expires", nginxExpires)
}

func nginxAnswerHead(h http.Header, messages []*message) {
	last := messages[0]
	for _, m := range messages {
		if m.newer(last.created.Unix(), last.tag) {
			last = m
		}
	}
	nginxHead(h)
	h.Set("Last-Modified", httpTime(last.created))
	h.Set("Etag", fmt.Sprintf("W/%d", last.tag))
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// nginxPosition reads tag and time of a raw query. nginx unescapes %20 but
// takes a + literally, and so finds no time in what a form encoder wrote.
func nginxPosition(query string) position {
	at, err := http.ParseTime(rawParam(query, "time"))
	if err != nil {
		return position{}
	}
	tag, err := strconv.Atoi(rawParam(query, "tag"))
	if err != nil || tag < 0 {
		tag = -1
	}
	return position{time: at, tag: tag}
}

func rawParam(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			text, _ := url.PathUnescape(value)
			return text
		}
	}
	return ""
}

func nginxFraming(url.Values, bool) *framing {
	return &framing{
		kind:   websocket.TextMessage,
		media:  "text/plain",
		single: true,
		encode: func(messages []*message, _ time.Time) []byte {
			return textFrame(messages, func(m *message) string {
				return fmt.Sprintf(`"id":%d,"channel":"%s","tag":"%d","time":"%s"`,
					m.number, m.to.id, m.tag, httpTime(m.created))
			})
		},
	}
}

// since returns what the channels keep after a time and a tag, channel by
// channel.
func (h *hub) since(p position, channels []channelID) []*message {
	now := h.clock.now()
	var found []*message
	for _, c := range channels {
		i := h.index(channelKey{c.private, true}, now)
		if i == nil {
			continue
		}
		for _, m := range i.messages {
			if m.newer(p.time.Unix(), p.tag) && !m.expired(now) {
				found = append(found, m)
			}
		}
	}
	return found
}

// newer compares with a second and a tag in it; a tag of -1 is behind all of
// them.
func (m *message) newer(second int64, tag int) bool {
	created := m.created.Unix()
	return created > second || created == second && tag >= 0 && m.tag > tag
}

// tagger gives messages the tags and ids of nginx: tags count within a second,
// for all channels together, ids within a channel.
type tagger struct {
	second  int64
	tag     int
	numbers map[channelKey]uint64
}

func (t *tagger) next(key channelKey, now time.Time) (tag int, number uint64) {
	if s := now.Unix(); s != t.second {
		t.second, t.tag = s, 0
	}
	if t.numbers == nil {
		t.numbers = make(map[channelKey]uint64)
	}
	t.tag++
	t.numbers[key]++
	return t.tag, t.numbers[key]
}
