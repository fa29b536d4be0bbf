package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
)

// SDK is what is needed of another client of REST, like the official Go SDK
// b24gosdk: to call a method by its name. A few lines around its client make it
// one. The program is compiled against this, not against the SDK itself.
type SDK interface {
	Call(ctx context.Context, method string, params map[string]any) (result json.RawMessage, err error)
}

// SDKError is what is needed of its errors: the portal's code. Without it a
// subscription could not tell what passes from what does not, and would try for
// ever with a webhook that has been deleted.
type SDKError interface {
	error
	ErrorCode() string
}

// Tokens is what the SDK gets its tokens from: the access token of the next
// call, and another one in place of one that the portal has refused.
type Tokens struct{ b24pull.TokenRefresher }

// AccessToken returns the token that the subscription calls with as well.
func (t Tokens) AccessToken() (string, error) {
	token, err := t.Token()
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// Renew refreshes once for all who have met the same refusal, whichever of the
// two clients they use. A refresh token works once: if the SDK refreshed by
// itself, each refresh of the one would end the other's authorization.
func (t Tokens) Renew(ctx context.Context, refused string) (string, error) {
	token, err := t.Refresh(ctx, &oauth2.Token{AccessToken: refused})
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// ConfigSource is a source of configs, for realtime.Subscribe, that asks the
// SDK. The push server is asked by HTTP.
type ConfigSource struct {
	SDK  SDK
	HTTP *http.Client
}

const configMethod = "pull.application.config.get"

// GetApplicationConfig implements realtime.ConfigSource.
func (s ConfigSource) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	params := map[string]any{"CACHE": "N"}
	if cache {
		params["CACHE"] = "Y"
	}
	result, err := s.SDK.Call(ctx, configMethod, params)
	var refused SDKError
	switch {
	case errors.As(err, &refused):
		return nil, &b24pull.APIError{Code: refused.ErrorCode(), Method: configMethod, Status: http.StatusOK}
	case err != nil:
		return nil, err
	}
	cfg := new(b24pull.Config)
	return cfg, cfg.UnmarshalJSON(result)
}

// HTTPClient is what the push server is asked by.
func (s ConfigSource) HTTPClient() *http.Client { return s.HTTP }
