package pulltest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// tokenHead is the header of every jwt: {"alg":"HS256","typ":"JWT"}.
const tokenHead = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

type tokenClaims struct {
	Channels []string `json:"channels"`
	Exp      int64    `json:"exp"`
}

// token makes a jwt that stands for the channels until its end.
func (s signer) token(channels []channelID, end time.Time) string {
	claims := tokenClaims{Exp: end.Unix()}
	for _, c := range channels {
		claims.Channels = append(claims.Channels, s.channel(c))
	}
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

// parseToken returns the channels of a jwt that is signed and has not expired.
func (s signer) parseToken(token string, now time.Time) ([]channelID, error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || !hmac.Equal([]byte(s.tokenSignature(token[:dot])), []byte(token[dot+1:])) {
		return nil, errChannelID
	}
	_, payload, _ := strings.Cut(token[:dot], ".")
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, errChannelID
	}
	var claims tokenClaims
	if json.Unmarshal(data, &claims) != nil || now.Unix() >= claims.Exp {
		return nil, errChannelID
	}
	return s.parse(strings.Join(claims.Channels, "/"), false)
}
