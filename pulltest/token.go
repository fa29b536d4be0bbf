package pulltest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// tokenHead is the header of every jwt: {"alg":"HS256","typ":"JWT"}.
const tokenHead = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

// tokenClaims are those of a portal's jwt.
type tokenClaims struct {
	Issuer   string `json:"iss"` // the portal's id
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Subject  string `json:"sub"`  // the user's id
	Channels string `json:"chan"` // private ids, without signatures, commas between
}

// token makes the jwt of the claims.
func (s signer) token(claims tokenClaims) string {
	data, err := json.Marshal(claims)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	text := tokenHead + "." + base64.RawURLEncoding.EncodeToString(data)
	return text + "." + s.tokenSignature(text)
}

func (s signer) tokenSignature(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// parseToken returns the claims of a jwt that is signed and has not expired.
func (s signer) parseToken(token string, now time.Time) (claims tokenClaims, err error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || !hmac.Equal([]byte(s.tokenSignature(token[:dot])), []byte(token[dot+1:])) {
		return claims, errChannelID
	}
	_, payload, _ := strings.Cut(token[:dot], ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(data, &claims) != nil || now.Unix() >= claims.Expires {
		return claims, errChannelID
	}
	return claims, nil
}

// channelsOfToken are the channels of a query of version 5, by its token or, if
// it has none, by CHANNEL_ID.
func (s *pushServer) channelsOfToken(query url.Values) ([]channelID, error) {
	if !query.Has("token") {
		return s.signer.parse(query.Get("CHANNEL_ID"), false)
	}
	token := query.Get("token")
	claims, err := s.signer.parseToken(token, s.opts.clock.now())
	if err != nil {
		return nil, err
	}
	channels := s.book.claimed(token, claims)
	if len(channels) == 0 {
		return nil, errChannelID
	}
	return channels, nil
}
