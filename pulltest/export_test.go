package pulltest

import (
	"crypto/tls"
	"fmt"
	"time"
)

// What connections fail with, which is not the same on every system.
var (
	ErrAddressTaken error = errAddressTaken
	ErrRefused      error = errRefused
	ErrReset        error = errReset
	ErrBrokenPipe   error = errBrokenPipe
)

// TLSCertificate is what the portal shows.
func (p *Portal) TLSCertificate() tls.Certificate { return p.cert }

// Abort resets a connection.
var Abort = abort

// MaxBelieved is how many ids a cluster believes online at most.
const MaxBelieved = maxBelieved

// Believe has n channels with public ids be believed online, beside others that
// leave room for ten ids, and reports how many ids are, and whether the last
// channel is.
func (p *Portal) Believe(n int) (believed int, last bool) {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.now()
	for i := range maxBelieved - 10 {
		h.believed[channelKey{id: fmt.Sprintf("other %d", i)}] = now
	}
	var c channelID
	for i := range n {
		c = channelID{fmt.Sprintf("private %d", i), fmt.Sprintf("public %d", i)}
		h.noteOnline([]channelID{c})
		believed = max(believed, len(h.believed))
	}
	return believed, h.isOnline(c.keys()[0]) && h.isOnline(c.keys()[1])
}

// MaxJWTs is how many jwts a portal remembers at most.
const MaxJWTs = maxJWTs

// IssueJWTs makes n jwts of several private channels, beside others that leave
// room for ten, and reports how many are remembered, and whether the last one is.
func (p *Portal) IssueJWTs(n int) (remembered int, last bool) {
	b := p.config
	end := b.opts.clock.now().Unix() + 3600
	for i := range maxJWTs - 10 {
		b.jwts[fmt.Sprintf("another %d", i)] = issuedToken{channelID{private: "a channel"}, end + int64(i)}
	}
	var token string
	for i := range n {
		token = b.issue(tokenClaims{Subject: fmt.Sprint(i), Expires: end + maxJWTs + int64(i)}, channelID{private: "a channel"})
		remembered = max(remembered, len(b.jwts))
	}
	_, last = b.jwts[token]
	return remembered, last
}

// MaxGrants is how many tokens of a kind a portal knows at most.
const MaxGrants = maxGrants

// Grant has tokens of each kind be known, so many that there is room for ten.
func (p *Portal) Grant() {
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	end := p.opts.clock.now()
	for i := range maxGrants - 10 {
		token, g := fmt.Sprintf("another %d", i), grant{user: 1, end: end.Add(time.Duration(i))}
		p.auth.access[token], p.auth.refresh[token] = g, g
	}
}

// Grants counts the tokens and codes that the portal knows.
func (p *Portal) Grants() int {
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	return len(p.auth.access) + len(p.auth.refresh) + len(p.auth.codes)
}
