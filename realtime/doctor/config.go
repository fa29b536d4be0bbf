package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A server is the push server of a config. Its addresses hold channel ids.
type server struct {
	dialect wire.Dialect
	socket  transport.Address // no URL: there are no websockets
	poll    transport.Address // no URL: there is no long polling
	hosts   []*url.URL        // of both, each once, with the scheme http or https
}

// readBySocket reports whether the history can be had by a websocket.
func (s *server) readBySocket() bool {
	return s.dialect != wire.DialectTags && s.socket.URL != ""
}

// after is an address that asks for what follows a position.
func (s *server) after(at transport.Address, m wire.Mid) transport.Address {
	at.URL = config.WithQuery(at.URL, s.dialect.After(m))
	return at
}

// checkConfig fetches the config, and looks at it and its channels.
func (x *examination) checkConfig(ctx context.Context) {
	switch {
	case x.options.config != nil:
		x.config = x.options.config
	case x.client == nil:
		x.found(nameConfig, time.Now(), finding{Fail, x.restError, "give Check a *b24pull.Client, or WithConfig"})
		x.skipped("there is no config", nameChannels)
		return
	case x.restError != "":
		x.skipped(x.restError, nameConfig, nameChannels)
		return
	}
	f := x.timed(ctx, nameConfig, func(ctx context.Context) finding {
		if x.config == nil {
			if err := x.fetch(ctx); err != nil {
				return failed(err)
			}
		}
		x.secrets = config.Secrets(x.config)
		return x.judgeConfig()
	})
	if x.config == nil || f.status == Skip {
		x.skipped("there is no config", nameChannels)
		return
	}
	x.timed(ctx, nameChannels, func(context.Context) finding { return x.judgeChannels() })
}

// fetch gets the application's config, or that of a webhook's user.
func (x *examination) fetch(ctx context.Context) (err error) {
	x.config, err = x.client.GetApplicationConfig(ctx, true)
	if errors.Is(err, b24pull.ErrWrongAuthType) {
		x.ofUser = true
		x.config, err = x.client.GetConfig(ctx, true)
	}
	return err
}

// judgeConfig makes a server of the config, and says what it is worth.
func (x *examination) judgeConfig() finding {
	s := &x.config.Server
	dialect, ok := wire.DialectOf(s.Version)
	if !ok {
		return finding{Fail, fmt.Sprintf("the push server's version is %d", s.Version), "versions 1 to 5 are known: update the push server, or give a config that a portal has answered"}
	}
	query, err := config.Query(x.config, dialect)
	if err == nil {
		err = config.CheckLengths(x.config)
	}
	if err != nil {
		return finding{Fail, quote.Error(err).Error(), "ask the portal for another config"}
	}
	socket, badSocket := config.Base(false, "websocket", s.WebSocketSecure, s.WebSocket, "wss", "ws")
	poll, badPoll := config.Base(false, "long_polling", s.LongPollingSecure, s.LongPolling, "https", "http")
	off := socket != "" && !s.WebSocketEnabled
	if off {
		socket = ""
	}
	x.server = newServer(dialect, query, socket, poll, x.config)

	f := pass("%s", x.outline(off))
	var warnings, advice []string
	warn := func(what, todo string) { warnings, advice = append(warnings, what), append(advice, todo) }
	for _, bad := range []error{badSocket, badPoll} {
		if bad != nil {
			warn(quote.Error(bad).Error(), "correct the address in the portal's settings of Push & Pull")
		}
	}
	if known := 5; s.Version > known {
		warn(fmt.Sprintf("the version is not known, and spoken to as %d", known), "use a later release of this module, if there is one")
	}
	switch {
	case socket == "" && poll == "":
		x.server = nil
		return finding{Fail, f.detail + "; it has neither websockets nor long polling", advisePullAdmin}
	case poll == "" && dialect == wire.DialectTags:
		warn("no address for long polling, by which this version is read", "set the address in the portal's settings of Push & Pull")
		f.status = Fail
	case socket == "":
		warn("no websockets", "turn websockets on in the portal's settings of Push & Pull: long polling stands in for them, slower and with more requests")
	}
	if strings.HasPrefix(socket, "ws:") || strings.HasPrefix(poll, "http:") {
		warn("not encrypted: channel ids and messages cross the network in the clear", "set https and wss addresses in the portal's settings of Push & Pull")
	}
	if !s.Enabled {
		warn("the portal says that it does not use its push server (server_enabled)", advisePullAdmin)
	}
	if len(warnings) > 0 {
		f.status = max(f.status, Warn)
		f.detail += "; " + strings.Join(warnings, "; ")
		f.advice = strings.Join(advice, "; ")
	}
	return f
}

// outline says what there is in the config.
func (x *examination) outline(off bool) string {
	s := &x.config.Server
	whose := "the application's"
	switch {
	case x.options.config != nil:
		whose = "a saved one"
	case x.ofUser:
		whose = "that of the webhook's user"
	}
	has := func(what string, yes bool) string {
		if yes {
			return what
		}
		return "no " + what
	}
	parts := []string{whose, fmt.Sprintf("push server of version %d", s.Version)}
	if s.Mode != "" {
		parts = append(parts, "mode "+quote.Name(s.Mode))
	}
	socket := has("websocket", s.WebSocketSecure != "" || s.WebSocket != "")
	if off {
		socket = "websocket turned off"
	}
	parts = append(parts, socket, has("long polling", s.LongPollingSecure != "" || s.LongPolling != ""), has("publishing", s.PublishEnabled))
	if !x.config.Expires.IsZero() {
		parts = append(parts, "good until "+x.config.Expires.UTC().Format(time.RFC3339))
	}
	return strings.Join(parts, ", ")
}

func newServer(dialect wire.Dialect, query, socket, poll string, cfg *b24pull.Config) *server {
	secrets := config.Secrets(cfg)
	s := &server{dialect: dialect}
	if socket != "" {
		s.socket = transport.Address{URL: config.WithQuery(socket, query), Secrets: secrets, RPC: dialect == wire.DialectRPC}
	}
	if poll != "" {
		s.poll = transport.Address{URL: config.WithQuery(poll, query), Secrets: secrets, Tags: dialect == wire.DialectTags}
	}
	seen := make(map[string]bool)
	for _, base := range []string{socket, poll} {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" {
			continue
		}
		at := &url.URL{Scheme: strings.Replace(u.Scheme, "ws", "http", 1), Host: u.Host}
		if !seen[at.String()] {
			seen[at.String()] = true
			s.hosts = append(s.hosts, at)
		}
	}
	return s
}

// judgeChannels looks which channels there are, and until when.
func (x *examination) judgeChannels() finding {
	now := time.Now().Add(x.config.ClockShift())
	if end := x.config.Expires; !end.IsZero() && now.After(end) {
		return finding{Fail, "the config ended at " + end.UTC().Format(time.RFC3339), "fetch a new one from the portal, and look at the clocks"}
	}
	var findings []finding
	for _, c := range []struct {
		kind    string
		channel *b24pull.Channel
		lacking string
	}{
		{"private", x.config.Channels.Private, "what is for one user does not come: the user is not active, or the portal is just replacing its channels; try again in a minute"},
		{"shared", x.config.Channels.Shared, "what is for everybody does not come: the portal may be just replacing its channels; try again in a minute"},
	} {
		switch {
		case c.channel == nil && x.config.JWT != "":
			findings = append(findings, pass("%s as the token says", c.kind))
		case c.channel == nil:
			findings = append(findings, finding{Warn, "no " + c.kind + " channel", c.lacking})
		case !c.channel.End.IsZero() && now.After(c.channel.End):
			findings = append(findings, finding{Fail, c.kind + " ended at " + c.channel.End.UTC().Format(time.RFC3339), "fetch a new config from the portal, and look at the clocks"})
		case c.channel.End.IsZero():
			findings = append(findings, pass("%s", c.kind))
		default:
			findings = append(findings, pass("%s until %s", c.kind, c.channel.End.UTC().Format(time.RFC3339)))
		}
	}
	return worst(findings)
}
