package realtime

import (
	"context"
	"net/http"

	"github.com/b24pull/b24pull"
)

// A ConfigSource gives the connection data of a push server. A *b24pull.Client
// is one. With cache false it must not return a config that it has returned
// before, unless the portal gives the same one again.
//
// If it has the methods HTTPClient() *http.Client and UserAgent() string as
// well, as a *b24pull.Client has, the push server is asked by the one and under
// the name of the other.
//
// GetApplicationConfig is called from one goroutine at a time and must return
// when its context is done.
type ConfigSource interface {
	GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error)
}

// FromConfig is the source of a config that was obtained elsewhere: from
// another REST client, from a file, in a test. At its end, or when the push
// server no longer takes it, the subscription ends with [ErrConfigExpired].
func FromConfig(cfg *b24pull.Config) ConfigSource {
	if cfg == nil {
		return nil
	}
	return fixedConfig(func() *b24pull.Config { return cfg })
}

// fixedConfig is a function, so that fmt cannot look into it.
type fixedConfig func() *b24pull.Config

func (config fixedConfig) GetApplicationConfig(_ context.Context, cache bool) (*b24pull.Config, error) {
	if !cache {
		return nil, ErrConfigExpired
	}
	return config(), nil
}

// PortalConfig is the source of the channels of the user behind a webhook
// (method pull.config.get): what the portal itself sends to that user's
// browser. Today's portals refuse the application's config to a webhook.
func PortalConfig(c *b24pull.Client) ConfigSource {
	if c == nil {
		return nil
	}
	return portalConfig{c}
}

type portalConfig struct{ client *b24pull.Client }

func (s portalConfig) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	return s.client.GetConfig(ctx, cache)
}

func (s portalConfig) HTTPClient() *http.Client { return s.client.HTTPClient() }

// ListPublicChannels is for publishers: those who use the portal's own channels
// are reached by theirs.
func (s portalConfig) ListPublicChannels(ctx context.Context, users []int64, _ bool) (map[int64]b24pull.PublicChannel, error) {
	return s.client.ListPublicChannels(ctx, users, false)
}

// Call is for publishers, too, which ask when users were last seen.
func (s portalConfig) Call(ctx context.Context, method string, params, result any, opts ...b24pull.CallOption) (b24pull.Response, error) {
	return s.client.Call(ctx, method, params, result, opts...)
}

func (s portalConfig) UserAgent() string { return s.client.UserAgent() }
