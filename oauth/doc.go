// Package oauth is the life of a Bitrix24 application: it makes, keeps and
// refreshes the tokens that package b24pull calls portals with, and handles
// what portals post when they install, open or uninstall the application.
//
// An [Application] makes tokens; [Tokens] keeps them in a [TokenStore],
// [MemoryStore] or [TokenFolder] or your own, and refreshes them. The module
// oauth/sqlstore has stores in PostgreSQL and SQLite.
//
//	app := &oauth.Application{ClientID: "app.1", ClientSecret: secret}
//	tokens, err := oauth.NewTokens(app, store)
//	client, err := b24pull.New(b24pull.OAuth(token.Portal, tokens.Source(token.MemberID)))
//
// A token first arrives in one of two ways. A portal that installs the
// application, or whose user opens it, posts a form or the event ONAPPINSTALL:
// ParseCallback reads it and Tokens.Handle keeps its token, as it deletes that
// of a portal which posts ONAPPUNINSTALL. Or a user's browser is sent to
// Application.AuthCodeURL and comes back with a code, for ParseRedirect and
// Tokens.HandleCode. Package realtime/fleet has http.Handlers for both, and
// listens to the portals.
//
// A token is refreshed when a portal has refused it as expired, never on a
// schedule: once for all goroutines that wait for it, for those that come later
// with the old one, and for all processes with the same store. The new token is
// in the store before it is used. A process that is killed after that loses
// nothing. Killed while the authorization server answers it loses the token,
// since the old refresh token is dead by then: the next refresh is
// b24pull.ErrInvalidGrant, the token is marked as Revoked in the store, and a
// user has to open or authorize the application again: Tokens.Handle and
// Tokens.Put take the new token. Tokens.Wait helps to end a process in order. A
// token that is Revoked is not sent again by any process; after
// b24pull.ErrPaymentRequired the authorization server is asked again a minute
// later.
//
// Nothing but the two tokens loses a token. What else is in an answer of the
// authorization server, or around it, counts as not told where it cannot be
// read: byte order marks and notices of PHP, a client_endpoint that is http or
// garbled, an error beside the tokens. A refresh keeps the portal's address
// that is known; a first token has https on the host that is named. A byte
// order mark and notices are left out of the portal's answers as well.
//
// A token that is not known to the portal (b24pull.ErrNoAuth) is looked up in
// the store once, where another process may have put another one, or deleted
// it: that is b24pull.ErrUninstalled. If it is still the same one, the
// application may have been uninstalled unseen: the next form that
// Tokens.Handle gets in this process has it ask, and replaces the token if it
// is dead.
package oauth
