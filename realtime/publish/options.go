package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// An Option changes how a [Publisher] works. Options are given to [New].
type Option func(*options) error

type options struct {
	httpClient *http.Client
	header     http.Header
	sub        *realtime.Subscription
	directory  Directory
	portal     bool
	repeat     bool
}

// WithHTTPClient sets the HTTP client that the push server is reached with, as
// [realtime.WithHTTPClient] does for a subscription: it is not modified, its
// Timeout does not count, and redirects are not followed. The default is the
// HTTP client of the source, if it has one, as a *b24pull.Client does.
func WithHTTPClient(c *http.Client) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("publish: WithHTTPClient: the client is nil")
		}
		o.httpClient = c
		return nil
	}
}

// WithHeader adds fields to the header of each request to the push server, as
// [realtime.WithHeader] does. The values are taken for secrets and told
// nowhere.
func WithHeader(header http.Header) Option {
	return func(o *options) (err error) {
		if o.header, err = transport.CheckHeader(header); err != nil {
			return fmt.Errorf("publish: WithHeader: %w", err)
		}
		return nil
	}
}

// WithSubscription names a subscription of the same user, with the same source
// as the publisher. On version 5 the publisher then calls the push server over
// its connection: what is published comes from the user of the subscription,
// whoever that is. It opens a connection of its own only while the subscription
// is connected by long polling or is paused ([realtime.StatePaused]). There the
// subscription must run for as long as the publisher is used: until it does,
// calls wait, and after its end they fail.
//
// On version 4 the subscription learns from the publisher which public ids are
// whose, so that [realtime.Sender] has the UserID of who answers; on version 5
// the publisher asks for none, and [realtime.Subscription.AddSenders] tells it.
func WithSubscription(sub *realtime.Subscription) Option {
	return func(o *options) error {
		if sub == nil {
			return errors.New("publish: WithSubscription: the subscription is nil")
		}
		o.sub = sub
		return nil
	}
}

// WithPortalChannels has users be reached by their own channels on the portal,
// which the portal's pages in their browsers listen to. The default is that for
// a source of [realtime.PortalConfig] and for one that is no *b24pull.Client.
// For a *b24pull.Client it is the application's channels: what the
// application's own clients listen to, those of nobody else.
func WithPortalChannels() Option {
	return func(o *options) error {
		o.portal = true
		return nil
	}
}

// A Directory knows the public channels of users. A *b24pull.Client is one. Who
// is unknown, or has no channel, is left out.
type Directory interface {
	ListPublicChannels(ctx context.Context, users []int64, owner b24pull.ChannelOwner) (map[int64]b24pull.PublicChannel, error)
}

// WithDirectory says where the public channels of users are asked for, on
// version 4. The default is the source, if it is a *b24pull.Client or one of
// [realtime.PortalConfig]; for any other, only the users are known that the
// config itself names.
func WithDirectory(d Directory) Option {
	return func(o *options) error {
		if d == nil {
			return errors.New("publish: WithDirectory: the directory is nil")
		}
		o.directory = d
		return nil
	}
}

// WithRepeat has the publisher repeat requests also where they may have been
// carried out, as after a connection that broke off or an answer that did not
// come. A message may then arrive twice. Without it only what has surely not
// been published is sent again: when the push server was not reached, or has
// refused for too many requests.
func WithRepeat() Option {
	return func(o *options) error {
		o.repeat = true
		return nil
	}
}
