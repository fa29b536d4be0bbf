package pulltest

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Owners of channels: an application and the portal itself have channels of
// their own, one shared and one for each user.
const (
	ofApplication = "application"
	ofPortal      = "portal"
)

// channelName says which channel of the portal: a user's private one, or the
// shared one if user is 0. Channels of one name follow one another.
type channelName struct {
	owner string
	user  int
}

func (n channelName) String() string {
	if n.user == 0 {
		return n.owner + " shared"
	}
	return n.owner + " private " + strconv.Itoa(n.user)
}

// portalChannel is a channel as the portal keeps it.
type portalChannel struct {
	channelID
	name       channelName
	start, end time.Time
}

// configBook makes the channels and writes the config that names them.
type configBook struct {
	push   string
	signer signer
	opts   *options
	users  *users

	mu      sync.Mutex
	started time.Time
	made    map[channelName][]*portalChannel // the last one is the present one
	byID    map[string]*portalChannel        // all that were made, by private and by public id
	omitted map[channelName]int              // how many configs are still to lack a channel; below 0: all

	// These outlive a reset, as what programs have got before does.
	first map[channelName]channelID
	lost  map[string]bool        // private ids that replaced the first ones before a reset
	jwts  map[string]issuedToken // by jwt
}

// issuedToken is what is known of a jwt beside what it says.
type issuedToken struct {
	private channelID // the user's when it was issued
	end     int64     // Unix seconds
}

const (
	// maxJWTs is how many jwts are remembered at most. One that is forgotten
	// stands for the channels only that it names itself.
	maxJWTs = 1 << 16
	// maxLost is how many ids may be lost before those are forgotten.
	maxLost = 1 << 16
)

func newConfigBook(push string, s signer, o *options, u *users) *configBook {
	b := &configBook{
		push:   push,
		signer: s,
		opts:   o,
		users:  u,
		first:  make(map[channelName]channelID),
		lost:   make(map[string]bool),
		jwts:   make(map[string]issuedToken),
	}
	b.begin()
	return b
}

// begin makes the first channels. The caller holds b.mu, or is the only one who
// knows b.
func (b *configBook) begin() {
	b.started = b.opts.clock.now()
	b.made = make(map[channelName][]*portalChannel)
	b.byID = make(map[string]*portalChannel)
	b.omitted = make(map[channelName]int)
	for _, owner := range []string{ofApplication, ofPortal} {
		b.living(channelName{owner: owner})
		for _, user := range b.opts.users {
			b.living(channelName{owner, user.ID})
		}
	}
}

func (b *configBook) shared(owner string) portalChannel {
	return b.channel(channelName{owner: owner})
}

func (b *configBook) private(owner string, user int) portalChannel {
	return b.channel(channelName{owner, user})
}

// channel returns the living channel of that name; a new one replaces it when
// its time is over.
func (b *configBook) channel(name channelName) portalChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.living(name)
}

// present are the channels that live now, in the order of their names.
func (b *configBook) present() []portalChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	var channels []portalChannel
	for _, made := range b.made {
		channels = append(channels, *made[len(made)-1])
	}
	slices.SortFunc(channels, func(c, d portalChannel) int {
		return cmp.Or(cmp.Compare(c.name.owner, d.name.owner), cmp.Compare(c.name.user, d.name.user))
	})
	return channels
}

// living is channel for a caller that holds b.mu.
func (b *configBook) living(name channelName) *portalChannel {
	if made := b.made[name]; len(made) > 0 {
		if c := made[len(made)-1]; b.opts.clock.now().Truncate(time.Second).Before(c.end) {
			return c
		}
	}
	return b.renew(name)
}

// renew makes a new channel of that name. The caller holds b.mu.
func (b *configBook) renew(name channelName) *portalChannel {
	now := b.opts.clock.now().Truncate(time.Second)
	c := &portalChannel{name: name, start: now, end: now.Add(b.opts.channelLife)}
	c.channelID = b.nextID(name)
	delete(b.lost, c.channelID.private)
	b.made[name] = append(b.made[name], c)
	for _, key := range c.keys() {
		b.byID[key.id] = c
	}
	return c
}

// nextID names a new channel. The first one of a name has the same id after each
// reset. The caller holds b.mu.
func (b *configBook) nextID(name channelName) (next channelID) {
	first, known := b.first[name]
	if known && len(b.made[name]) == 0 {
		return first
	}
	base := b.base(name)
	next.private = b.id(base)
	if name.user != 0 && b.opts.dialect.publicIDs {
		next.public = b.id(base + "public")
	}
	if !known {
		b.first[name] = next
	}
	return next
}

// lose notes the channels that a reset does not bring back. The caller holds
// b.mu.
func (b *configBook) lose() {
	if len(b.lost) > maxLost {
		clear(b.lost)
	}
	for name, made := range b.made {
		for _, c := range made {
			if c.channelID != b.first[name] {
				b.lost[c.channelID.private] = true
			}
		}
	}
}

// knowsLost reports whether a reset has taken one of the channels away: whoever
// is let in there hears nothing any more.
func (b *configBook) knowsLost(channels []channelID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(channels, func(c channelID) bool { return b.lost[c.private] })
}

// former is the channel before the present one; nil if there was none.
func (b *configBook) former(name channelName) *portalChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	if made := b.made[name]; len(made) > 1 {
		return made[len(made)-2]
	}
	return nil
}

// nameOf is which channel has a private id, now or once; the zero name if none.
func (b *configBook) nameOf(private string) channelName {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.byID[private]; c != nil && c.channelID.private == private {
		return c.name
	}
	return channelName{}
}

// publicKey is where a user is reached by public id.
func (b *configBook) publicKey(owner string, user int) (key channelKey, ok bool) {
	if owner == "" || !b.users.active(user) {
		return key, false
	}
	return channelKey{b.private(owner, user).public, false}, true
}

// issue makes the jwt of claims, of a user with this private channel. What it
// says tells no channel from its successor, so that of a successor made within
// the same second ends a second earlier, to be another one.
func (b *configBook) issue(claims tokenClaims, private channelID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.opts.clock.now().Unix(); len(b.jwts) >= maxJWTs {
		maps.DeleteFunc(b.jwts, func(_ string, t issuedToken) bool { return t.end <= now })
		forgetHalf(b.jwts, maxJWTs, func(t, u issuedToken) int { return cmp.Compare(t.end, u.end) })
	}
	for {
		token := b.signer.token(claims)
		if t, known := b.jwts[token]; !known || t.private == private {
			b.jwts[token] = issuedToken{private, claims.Expires}
			return token
		}
		claims.Expires--
	}
}

// forgetHalf forgets the lesser half of what is known, if it is as much as max.
func forgetHalf[K comparable, V any](known map[K]V, max int, compare func(V, V) int) {
	if len(known) < max {
		return
	}
	keys := slices.SortedFunc(maps.Keys(known), func(a, b K) int { return compare(known[a], known[b]) })
	for _, key := range keys[:len(keys)/2] {
		delete(known, key)
	}
}

// claimed are the channels that a jwt stands for: the private one that its user
// had when it was issued, of the owner of the channels that it names, and those.
// A user who is not active has none.
func (b *configBook) claimed(token string, claims tokenClaims) []channelID {
	user, _ := strconv.Atoi(claims.Subject)
	active := b.users.active(user)
	b.mu.Lock()
	defer b.mu.Unlock()
	var channels []channelID
	if t, known := b.jwts[token]; known && active {
		channels = append(channels, t.private)
	}
	for id := range strings.SplitSeq(claims.Channels, ",") {
		if c := b.byID[id]; c != nil && c.channelID.private == id {
			channels = append(channels, c.channelID)
		} else if b.lost[id] {
			channels = append(channels, channelID{private: id})
		}
	}
	return distinct(channels)
}

// base is what the ids of a new channel are derived from: with a seed the same
// in every run, the seed itself for the application's first private channel.
func (b *configBook) base(name channelName) string {
	n := len(b.made[name])
	switch {
	case b.opts.seed == "":
		return randomID()
	case n == 0 && name == channelName{ofApplication, b.opts.first()}:
		return b.opts.seed
	}
	return b.opts.seed + " " + name.String() + " " + strconv.Itoa(n)
}

// id is a channel id; one that is random is marked.
func (b *configBook) id(base string) string {
	id := md5hex(base)
	if b.opts.seed == "" {
		id = SecretMark + id[len(SecretMark):]
	}
	return id
}

func md5hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
