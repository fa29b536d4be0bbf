// Package pulltest plays a Bitrix24 portal in memory: its REST methods for
// the pull API and a push server of version 4, behind one TLS listener. It is
// to pull clients what net/http/httptest is to HTTP clients.
//
// A [Portal] listens on a loopback port by default. On a [Network] it needs no
// sockets at all, so that a whole scenario can run in a testing/synctest bubble,
// where forty seconds of long polling or twelve hours of a channel's life pass
// at once. Create the Network, the Portal and everything that talks to it
// inside the bubble, and close the Portal before the bubble ends. Without a
// Network a Portal listens on a real socket, which does not work in a bubble.
//
// The portal behaves like a real one where that hurts: what is published
// between a history read and the registration is not sent live, and a
// websocket gets nothing between a ping and its pong. A client that survives
// it survives a portal.
package pulltest
