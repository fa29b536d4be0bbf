package pulltest

import (
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// concealed stands in place of a secret in what events tell.
const concealed = "…"

// shortestSecret is how long a secret is at least; what is shorter may be
// anything.
const shortestSecret = 6

var (
	// possibleID is what may be a channel id, with all that belongs to it.
	possibleID = regexp.MustCompile(`[0-9a-f]{32}(?::[0-9a-f]{32})?(?:\.[0-9a-f]{40})?`)
	// idWithMore is what may be a channel id with other digits before or behind
	// it, such as those of the escape \u00e9.
	idWithMore = regexp.MustCompile(`[0-9a-f]{33,39}`)
	// signatureOrJWT is what looks like a signature of its own, or a jwt.
	signatureOrJWT = regexp.MustCompile(`[0-9a-f]{40,}|eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+`)
	// marked is a secret that a portal has made up.
	marked = regexp.MustCompile(SecretMark + `[0-9a-z]*`)
)

// conceal takes the secrets of the portal out of a message's body: channel ids,
// signatures, jwts, and what the application was given.
func (p *Portal) conceal(body string) string {
	body = possibleID.ReplaceAllStringFunc(body, func(id string) string {
		if p.config.isID(id[:32]) {
			return concealed
		}
		return id
	})
	body = signatureOrJWT.ReplaceAllString(body, concealed)
	body = idWithMore.ReplaceAllStringFunc(body, func(digits string) string {
		for i := range len(digits) - 31 {
			if p.config.isID(digits[i : i+32]) {
				return concealed
			}
		}
		return digits
	})
	body = marked.ReplaceAllString(body, concealed)
	given := p.opts.application
	for _, secret := range []string{given.ClientSecret, given.ApplicationToken, p.Application().ApplicationToken} {
		if len(secret) >= shortestSecret {
			body = strings.ReplaceAll(body, secret, concealed)
		}
	}
	return body
}

// isID reports whether a channel has the id, now or once.
func (b *configBook) isID(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byID[id] != nil
}

// userOf is the user who has a channel with the id, now or once; 0 if none.
func (b *configBook) userOf(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.byID[id]; c != nil {
		return c.name.user
	}
	return 0
}

// nameOfKey is what events call a channel.
func (b *configBook) nameOfKey(key channelKey) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.byID[key.id]
	if c == nil {
		return "unknown"
	}
	name := "shared"
	if c.name.user != 0 {
		name = "private " + strconv.Itoa(c.name.user)
	}
	if c.name.owner == ofPortal {
		name = "user " + name
	}
	if key.id == c.public {
		name += " public"
	}
	if made := b.made[c.name]; made[len(made)-1] != c {
		name += " old"
	}
	return name
}

// tellPublished tells of a message that has got its id. The caller holds h.mu.
func (h *hub) tellPublished(m *message, receivers []channelKey) {
	if h.observer == nil {
		return
	}
	e := Event{Kind: Published, Mid: m.mid, Body: h.conceal(m.body), Kept: m.expiry > 0, Client: m.from.kind == senderClient}
	if e.Client {
		e.User = h.book.userOf(hex.EncodeToString(m.from.id))
	}
	for _, key := range receivers {
		e.Targets = append(e.Targets, h.book.nameOfKey(key))
	}
	var body struct {
		Module  string `json:"module_id"`
		Command string `json:"command"`
	}
	if json.Unmarshal([]byte(e.Body), &body) == nil {
		e.Module, e.Command = body.Module, body.Command
	}
	h.observer.add(e)
}
