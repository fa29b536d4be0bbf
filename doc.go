// Package b24pull calls the REST methods of the Bitrix24 pull API, which give
// an application or a webhook's user the address of the portal's push server
// and the channels to listen to. Package realtime listens to them.
//
//	client, err := b24pull.New(b24pull.OAuth("https://portal.bitrix24.com", tokens))
//	cfg, err := client.GetApplicationConfig(ctx, true)
//
// # Authorization
//
// OAuth is for applications and takes an oauth2.TokenSource. Webhook is for the
// user behind an incoming webhook. Portals give GetApplicationConfig to OAuth
// only and GetConfig to a webhook only; the other way they answer
// ErrWrongAuthType.
//
// # Tokens
//
// OAuth takes any oauth2.TokenSource. One that is a TokenRefresher is told that
// a token was refused; another refreshes by the clock, a token that the portal
// has withdrawn before its time stays in use until then, and its refresh has no
// context. Package oauth is an application's side of it: it makes tokens, keeps
// them, refreshes them when a portal refuses them, and handles what portals
// post to an application.
//
// # Errors
//
// A refusal of the portal is an *APIError, a refusal of the authorization
// server a *TokenError; compare both with errors.Is to ErrExpiredToken and its
// like. A config that cannot be used is ErrInvalidConfig. A cancelled context
// is context.Canceled, and a call that took too long context.DeadlineExceeded.
//
// # Repeats and limits
//
// What follows an error depends on its Class, which ClassOf tells:
//
//	class        met by                                    the call is repeated
//	expired      the code expired_token                    once, with a new token
//	throttled    QUERY_LIMIT_EXCEEDED, or any other 429    after a pause
//	paused       OPERATION_TIME_LIMIT                      at operating_reset_at
//	not sent     a connection that did not come about      after a pause
//	unavailable  HTTP 500 and above, broken connections    reads only, after a pause
//	final        everything else                           no
//
// Whether an error of its config's source ends a subscription of package
// realtime is its Ending, which EndingOf tells.
//
// The codes that are not final:
//
//	expired_token            expired
//	QUERY_LIMIT_EXCEEDED     throttled
//	OPERATION_TIME_LIMIT     paused
//	INTERNAL_SERVER_ERROR    unavailable
//	ERROR_UNEXPECTED_ANSWER  unavailable
//
// Where the authorization server fails, the error is a *TokenError, and the
// call has had no effect yet. So any call is repeated, not only a read:
//
//	class        met by                                    the refresh is repeated
//	throttled    QUERY_LIMIT_EXCEEDED, or any other 429    after a pause
//	not sent     a connection that did not come about      after a pause
//	unavailable  HTTP 500 and above                        once, after a pause
//	unavailable  the code authorization_error              up to three times, within seconds
//	unavailable  a broken connection, no answer in time    no, but by the next call
//	unavailable  an *oauth.StoreError                      only the storing, after a pause
//	final        every other code, and everything else     no
//
// A refresh whose answer was lost has killed the refresh token: another one is
// refused with ErrInvalidGrant, but nothing is lost by it. One that was not
// carried out leaves it alive. Which of them it was nobody can tell after a 502
// or a broken connection.
//
// A pause is at least as long as the header Retry-After of the answer says, in
// seconds or as a date by the answer's own, up to a quarter of an hour. Where
// OPERATION_TIME_LIMIT comes without a time, the reset that the method's last
// answer told holds.
//
// A connection that did not come about is one that failed to be dialed, a proxy
// that is down or refuses, or a TLS handshake that breaks off. A certificate
// that is not good is final. SERVER_ERROR, OVERLOAD_LIMIT and PORTAL_DELETED
// are final although they come with a status above 499: waiting does not help.
// Reads are the methods that get and list, pull.watch.extend, and what is
// called with Idempotent; others, like pull.application.event.add, may have had
// their effect when a connection breaks, and are repeated then only with
// Retry.Effects. WithRetry has the number of attempts and the pauses.
//
// Each request waits for a Limiter, a bucket like the portal's own; clients of
// one portal should share one. WithTimeout bounds each request. What bounds the
// whole call is the context: nothing waits if its deadline would be reached
// before.
//
// # Other methods
//
// Client.Call calls any method, List reads a list method page after page, and
// Client.Batch makes up to 50 calls at once. All three wait for the Limiter and
// are repeated as above. There is no more of REST than that here.
//
// # Portals that move
//
// A portal with a new address answers 302, which names its REST or nothing but
// the new host; anything else is taken for a login page. The call is repeated
// there, and the client stays there. WithMoved is asked first, and may say no.
// Only a move to https is followed, and a token goes nowhere but to the
// portal's address and to where the portal itself says it has moved. All other
// redirects are errors: one to a page means a login page or an expired licence,
// and the error names its path; one that is permanent (301, 308) has the new
// host in its error.
//
// # Values from PHP
//
// Package php has types for the fields of your own structs: PHP writes 5 as
// "5", true as "Y", and an empty object as [].
//
// PHP is strict as well: of a body that its json_decode refuses it reads
// nothing, the token included, and the portal answers ErrNoAuth. So invalid
// UTF-8, an escape that is half of a surrogate pair and nesting deeper than 512
// are ErrInvalidFormat here, for every method, before the call.
//
// # Secrets
//
// The webhook's code, tokens, the client_secret, channel ids, signatures and
// the jwt are in no error and no printed Client, Auth, Token or Config. See
// Secret for the few ways around that.
package b24pull
