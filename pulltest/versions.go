package pulltest

import "time"

// WithVersion sets the version of the push server, 1 to 5; the default is 4.
// There are no others. Versions 1 and 2 are nginx with its push-stream module,
// which pings only if [WithPingInterval] says so.
func WithVersion(version int) Option {
	return func(o *options) { o.version = version }
}

// WithTextPing sets how often a push server of version 5 sends the bare text
// frame ping to those who speak JSON-RPC; the default is 15 s, with 0 it never
// does. One that still owes the pong at the next ping is dropped without a
// close frame.
func WithTextPing(d time.Duration) Option {
	return func(o *options) { o.textPing = d }
}

// WithTokenLife sets how long the jwt of a version 5 config is good, in whole
// seconds; the default is 24 h. The config's exp is its end, if
// [WithConfigLife] sets no earlier one.
func WithTokenLife(d time.Duration) Option {
	return func(o *options) { o.tokenLife = d }
}

// WithoutWebSockets switches websockets off: the config says so, and the push
// server refuses them with 400.
func WithoutWebSockets() Option {
	return func(o *options) { o.noSockets = true }
}

// WithoutPolling switches long polling off: the config has no URL for it, and
// the push server answers polls with 404.
func WithoutPolling() Option {
	return func(o *options) { o.noPolls = true }
}

// WithSharedMode makes the push server one that many portals share, as in the
// cloud: the mode in the config is shared, and every subscriber must send the
// clientId that stands there. A websocket with a wrong one is closed with 4036,
// a long poll answered 400.
func WithSharedMode() Option {
	return func(o *options) { o.shared = true }
}
