// Package b24pull calls the REST methods of the Bitrix24 pull API, which give an
// application or a webhook's user the address of the portal's push server and the
// channels to listen to. Package realtime listens to them.
//
//	client, err := b24pull.New(b24pull.OAuth("https://portal.bitrix24.com", tokens))
//	cfg, err := client.GetApplicationConfig(ctx, true)
//
// # Authorization
//
// OAuth is for applications and takes an oauth2.TokenSource; a TokenRefresher is
// asked for another token when the portal refuses one as expired. Webhook is for
// the user behind an incoming webhook. Portals give GetApplicationConfig to OAuth
// only and GetConfig to a webhook only; the other way they answer
// ErrWrongAuthType.
//
// # Errors
//
// A refusal of the portal is an *APIError, a refusal of the authorization server a
// *TokenError; compare both with errors.Is to ErrExpiredToken and its like. A config
// that cannot be used is ErrInvalidConfig. A cancelled context is context.Canceled,
// and a call that took too long context.DeadlineExceeded. Calls are not repeated,
// except once with a new token. Redirects are not followed.
//
// # Secrets
//
// The webhook's code, tokens, channel ids, signatures and the jwt are in no error
// and no printed Client, Auth or Config. See Secret for the few ways around that.
package b24pull
