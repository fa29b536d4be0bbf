package pulltest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
)

// errChannelID is the answer to any CHANNEL_ID that cannot be trusted.
var errChannelID = errors.New("wrong channel id")

// errLost is the answer to channels that a reset has taken away, in the words of
// errChannelID.
var errLost = errors.New(errChannelID.Error())

var hexID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// channelID names a channel by its private id and, if it has one, its public
// id.
type channelID struct {
	private, public string
}

func (c channelID) String() string {
	if c.public == "" {
		return c.private
	}
	return c.private + ":" + c.public
}

// channelKey is one address a message can be sent to.
type channelKey struct {
	id      string
	private bool
}

func (c channelID) keys() []channelKey {
	keys := []channelKey{{c.private, true}}
	if c.public != "" {
		keys = append(keys, channelKey{c.public, false})
	}
	return keys
}

// signer signs channel ids with HMAC-SHA1, as a portal and its push server do.
type signer struct {
	key []byte
}

func (s signer) sign(text string) string {
	mac := hmac.New(sha1.New, s.key)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s signer) valid(text, signature string) bool {
	return hmac.Equal([]byte(s.sign(text)), []byte(signature))
}

// channel returns the id as a client sends it in CHANNEL_ID.
func (s signer) channel(c channelID) string {
	return c.String() + "." + s.sign(c.String())
}

// public returns the signature of a public id.
func (s signer) public(id string) string {
	return s.sign("public:" + id)
}

// parse reads a CHANNEL_ID parameter: signed ids joined with slashes. With
// bare, as the portal sends it, a private id may come without a signature, or
// with any.
func (s signer) parse(param string, bare bool) ([]channelID, error) {
	var channels []channelID
	for part := range strings.SplitSeq(param, "/") {
		text, signature, _ := strings.Cut(part, ".")
		private, public, both := strings.Cut(text, ":")
		if !hexID.MatchString(private) || both && !hexID.MatchString(public) {
			return nil, errChannelID
		}
		if unsignedAllowed := bare && !both; !unsignedAllowed && !s.valid(text, signature) {
			return nil, errChannelID
		}
		channels = append(channels, channelID{private, public})
	}
	return channels, nil
}
