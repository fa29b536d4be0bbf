package pulltest

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"sync"
	"time"
)

const (
	atomTime = "2006-01-02T15:04:05-07:00"

	revisionWeb    = 19
	revisionMobile = 3

	webhookUser = 1 // who stands behind the webhook
	otherUser   = 2 // a colleague
)

// portalZone is where the portal's clock hangs: its times carry this offset.
var portalZone = time.FixedZone("", 2*60*60)

// Owners of channels: an application and the portal itself have channels of
// their own, one shared and one for each user.
const (
	ofApplication = "application"
	ofPortal      = "portal"
)

// portalChannel is a channel as the portal keeps it.
type portalChannel struct {
	channelID
	start, end time.Time
}

// configBook makes the channels and writes the config that names them.
type configBook struct {
	push    string
	signer  signer
	opts    *options
	users   *users
	started time.Time

	mu       sync.Mutex
	channels map[string]*portalChannel
	replaced map[string]*portalChannel // the one before
	made     map[string]int
	omitted  map[string]int // how many configs are still to lack a channel; below 0: all
}

func newConfigBook(push string, s signer, o *options, u *users) *configBook {
	b := &configBook{
		push:     push,
		signer:   s,
		opts:     o,
		users:    u,
		started:  o.clock.now(),
		channels: make(map[string]*portalChannel),
		replaced: make(map[string]*portalChannel),
		made:     make(map[string]int),
		omitted:  make(map[string]int),
	}
	for _, owner := range []string{ofApplication, ofPortal} {
		b.shared(owner)
		b.private(owner, webhookUser)
		b.private(owner, otherUser)
	}
	return b
}

func (b *configBook) shared(owner string) portalChannel {
	return b.channel(sharedName(owner), false)
}

func (b *configBook) private(owner string, user int) portalChannel {
	return b.channel(privateName(owner, user), true)
}

func sharedName(owner string) string { return owner + " shared" }

func privateName(owner string, user int) string { return owner + " private " + strconv.Itoa(user) }

// channel returns the living channel of that name; a new one replaces it when
// its time is over.
func (b *configBook) channel(name string, public bool) portalChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.living(name, public)
}

// living is channel for a caller that holds b.mu.
func (b *configBook) living(name string, public bool) *portalChannel {
	if c := b.channels[name]; c != nil && b.opts.clock.now().Truncate(time.Second).Before(c.end) {
		return c
	}
	return b.renew(name, public)
}

// renew makes a new channel of that name. The caller holds b.mu.
func (b *configBook) renew(name string, public bool) *portalChannel {
	now := b.opts.clock.now().Truncate(time.Second)
	c := &portalChannel{start: now, end: now.Add(b.opts.channelLife)}
	base := b.base(name)
	c.channelID.private = b.id(base)
	if public && b.opts.dialect.publicIDs {
		c.public = b.id(base + "public")
	}
	b.replaced[name], b.channels[name] = b.channels[name], c
	return c
}

// base is what the ids of a new channel are derived from: with a seed the same
// in every run, the seed itself for the application's first private channel.
func (b *configBook) base(name string) string {
	n := b.made[name]
	b.made[name]++
	switch {
	case b.opts.seed == "":
		return randomID()
	case n == 0 && name == privateName(ofApplication, webhookUser):
		return b.opts.seed
	}
	return b.opts.seed + " " + name + " " + strconv.Itoa(n)
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

type configResult struct {
	Server         configServer `json:"server"`
	API            configAPI    `json:"api"`
	Channels       any          `json:"channels"` // PHP's empty array if there are none
	ClientID       string       `json:"clientId,omitempty"`
	JWT            string       `json:"jwt,omitempty"`
	Exp            int64        `json:"exp"`
	PublicChannels any          `json:"publicChannels"` // false before version 4
}

type configServer struct {
	Version           int    `json:"version"`
	ServerEnabled     bool   `json:"server_enabled"`
	Mode              string `json:"mode"`
	Hostname          string `json:"hostname"`
	LongPolling       string `json:"long_polling,omitempty"`
	LongPoolingSecure string `json:"long_pooling_secure,omitempty"` // the typo is the portals'
	WebSocketEnabled  bool   `json:"websocket_enabled"`
	WebSocket         string `json:"websocket"`
	WebSocketSecure   string `json:"websocket_secure"`
	PublishEnabled    bool   `json:"publish_enabled"`
	Publish           string `json:"publish,omitempty"`
	PublishSecure     string `json:"publish_secure,omitempty"`
	ConfigTimestamp   int64  `json:"config_timestamp"`
}

type configAPI struct {
	RevisionWeb    int `json:"revision_web"`
	RevisionMobile int `json:"revision_mobile"`
}

type configChannel struct {
	ID       string `json:"id"`
	PublicID string `json:"public_id,omitempty"`
	Start    string `json:"start"`
	End      string `json:"end"`
	Type     string `json:"type"`
}

type configPublicChannel struct {
	UserID    int    `json:"user_id"`
	PublicID  string `json:"public_id"`
	Signature string `json:"signature"`
	Start     string `json:"start"`
	End       string `json:"end"`
}

// config is the result of pull.application.config.get or, for the portal's own
// channels, of pull.config.get.
func (b *configBook) config(owner string, user int, hostname string) configResult {
	now := b.opts.clock.now()
	shared, private := b.shared(owner), b.private(owner, user)
	c := configResult{
		Server:         b.server(hostname),
		API:            configAPI{revisionWeb, revisionMobile},
		ClientID:       b.opts.clientID,
		Exp:            now.Add(b.opts.configLife).Unix(),
		PublicChannels: false,
	}
	channels := make(map[string]configChannel)
	var ids []channelID
	if !b.omits(privateName(owner, user)) && b.users.active(user) {
		channels["private"] = b.describe(private, "private")
		ids = append(ids, private.channelID)
	}
	if !b.omits(sharedName(owner)) {
		channels["shared"] = b.describe(shared, "shared")
		ids = append(ids, shared.channelID)
	}
	if c.Channels = channels; len(channels) == 0 {
		c.Channels = []any{}
	}
	if b.opts.dialect.publicIDs {
		c.PublicChannels = map[string]configPublicChannel{
			strconv.Itoa(webhookUser): b.publicChannel(owner, webhookUser),
			strconv.Itoa(otherUser):   b.publicChannel(owner, otherUser),
		}
	}
	if b.opts.dialect.tokens {
		end := now.Add(b.opts.tokenLife)
		c.JWT = b.signer.token(ids, end)
		c.Exp = min(c.Exp, end.Unix())
	}
	return c
}

func (b *configBook) server(hostname string) configServer {
	d := b.opts.dialect
	socket := "wss" + b.push[len("https"):] + d.socketPath
	s := configServer{
		Version:          d.version,
		ServerEnabled:    true,
		Mode:             "personal",
		Hostname:         hostname,
		WebSocketEnabled: !b.opts.noSockets,
		WebSocket:        socket,
		WebSocketSecure:  socket,
		PublishEnabled:   d.publicIDs,
		ConfigTimestamp:  b.started.Unix(),
	}
	if b.opts.shared {
		s.Mode = "shared"
	}
	if !b.opts.noPolls {
		s.LongPolling = b.push + "/sub/"
		s.LongPoolingSecure = s.LongPolling
	}
	if d.publicIDs {
		s.Publish = b.push + "/rest/"
		s.PublishSecure = s.Publish
	}
	return s
}

func (b *configBook) describe(c portalChannel, kind string) configChannel {
	d := configChannel{
		ID:    b.opts.dialect.channelID(b.signer, c.channelID),
		Start: c.start.In(portalZone).Format(atomTime),
		End:   c.end.In(portalZone).Format(atomTime),
		Type:  kind,
	}
	if c.public != "" {
		d.PublicID = c.public + "." + b.signer.public(c.public)
	}
	return d
}

func (b *configBook) publicChannel(owner string, user int) configPublicChannel {
	c := b.private(owner, user)
	return configPublicChannel{
		UserID:    user,
		PublicID:  c.public,
		Signature: b.signer.public(c.public),
		Start:     c.start.In(portalZone).Format(atomTime),
		End:       c.end.In(portalZone).Format(atomTime),
	}
}
