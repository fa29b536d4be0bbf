package pulltest

import (
	"strconv"
	"strings"
	"time"
)

const (
	atomTime = "2006-01-02T15:04:05-07:00"

	revisionWeb    = 19
	revisionMobile = 3
)

// portalZone is where the portal's clock hangs: its times carry this offset.
var portalZone = time.FixedZone("", 2*60*60)

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
	UserID    int     `json:"user_id"`
	PublicID  *string `json:"public_id"` // null if there is none
	Signature string  `json:"signature"`
	Start     string  `json:"start"`
	End       string  `json:"end"`
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
	var named []string // in the jwt: of an application its shared channel only
	if !b.omits(private.name) && b.users.active(user) {
		channels["private"] = b.describe(private, "private")
		if owner == ofPortal {
			named = append(named, private.private)
		}
	}
	if !b.omits(shared.name) {
		channels["shared"] = b.describe(shared, "shared")
		named = append(named, shared.private)
	}
	if c.Channels = channels; len(channels) == 0 {
		c.Channels = []any{}
	}
	if b.opts.dialect.publicIDs {
		c.PublicChannels = map[string]configPublicChannel{strconv.Itoa(user): b.publicChannel(ofPortal, user)}
	}
	if b.opts.dialect.tokens {
		end := now.Add(b.opts.tokenLife)
		c.JWT = b.issue(tokenClaims{
			Issuer:   b.opts.memberID,
			Issued:   now.Unix(),
			Expires:  end.Unix(),
			Subject:  strconv.Itoa(user),
			Channels: strings.Join(named, ","),
		}, private.channelID)
		c.Exp = min(c.Exp, end.Unix())
	}
	return c
}

func (b *configBook) server(hostname string) configServer {
	d := b.opts.dialect
	socket, polls := d.socketPath, "/sub/"
	if b.opts.shared {
		socket, polls = "/subws/", "/subws/"
	}
	socket = "ws" + b.push[len("http"):] + socket // of https it is wss
	s := configServer{
		Version:          d.version,
		ServerEnabled:    true,
		Mode:             "personal",
		Hostname:         hostname,
		WebSocketEnabled: !b.opts.noSockets,
		WebSocket:        socket,
		WebSocketSecure:  socket,
		PublishEnabled:   d.publicIDs,
		ConfigTimestamp:  b.since().Unix(),
	}
	if b.opts.shared {
		s.Mode = "shared"
	}
	if !b.opts.noPolls {
		s.LongPolling = b.push + polls
		s.LongPoolingSecure = s.LongPolling
	}
	if d.publicIDs {
		s.Publish = b.push + "/rest/"
		s.PublishSecure = s.Publish
	}
	return s
}

// since is when the portal began.
func (b *configBook) since() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.started
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

// publicChannel is the channel to publish to a user; one who is not active has
// none, and is named all the same.
func (b *configBook) publicChannel(owner string, user int) configPublicChannel {
	c := portalChannel{start: time.Unix(0, 0)}
	c.end = c.start.Add(b.opts.channelLife)
	public := configPublicChannel{UserID: user}
	if b.users.active(user) {
		c = b.private(owner, user)
		public.PublicID, public.Signature = &c.public, b.signer.public(c.public)
	}
	public.Start = c.start.In(portalZone).Format(atomTime)
	public.End = c.end.In(portalZone).Format(atomTime)
	return public
}
