package transport

import (
	"net/http"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/redact"
)

// OwnClient copies the client that makes all requests to the push server: a
// poll and a websocket may take longer than the user allows a REST call, so
// what bounds them is their context; and no redirect is followed, which would
// carry the channel ids to another place. Its connections are its own as well,
// where the transport can be copied, and so is what bounds the headers of
// answers.
func OwnClient(client *http.Client) *http.Client {
	c := *client
	c.Timeout = 0 // it would hold for the life of a websocket as well
	base := c.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	var own *http.Transport
	if t, ok := base.(*http.Transport); ok {
		own = t.Clone()
		own.ResponseHeaderTimeout = 0
		if own.MaxResponseHeaderBytes <= 0 || own.MaxResponseHeaderBytes > maxHeader {
			own.MaxResponseHeaderBytes = maxHeader
		}
		// Those of a websocket stay for its life, and bodies are read past them.
		if own.ReadBufferSize == 0 {
			own.ReadBufferSize = libraryBuffer
		}
		if own.WriteBufferSize == 0 {
			own.WriteBufferSize = libraryBuffer
		}
		dial.Guard(own)
		base = own
	}
	c.Transport = ownTransport{redact.NewTransport(base), own}
	return &c
}

// maxHeader bounds what is read of an answer before it is one: its status line,
// its header, and what comes before them, early hints or the answer of a proxy.
const maxHeader = 64 << 10

// ownTransport is the transport of an own client.
type ownTransport struct {
	*redact.Transport
	own *http.Transport // nil: the user's is in use
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls. It
// gives up connections that nobody waits for any more: net/http goes on dialing
// when a request is cancelled.
func (t ownTransport) CloseIdleConnections() {
	if t.own != nil {
		t.own.CloseIdleConnections()
	}
}
