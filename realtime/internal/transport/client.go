package transport

import (
	"crypto/tls"
	"hash/maphash"
	"net/http"
	"reflect"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/redact"
)

// OwnClient copies the client that makes all requests to the push server: a
// poll and a websocket may take longer than the user allows a REST call, so
// what bounds them is their context; and no redirect is followed, which would
// carry the channel ids to another place. Where the transport can be copied, its
// connections belong to a copy that all own clients of it share, and so does
// what bounds the headers of answers.
func OwnClient(client *http.Client) *http.Client {
	c := *client
	c.Timeout = 0 // it would hold for the life of a websocket as well
	base := c.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	if t, ok := base.(*http.Transport); ok {
		shared := copies.of(t)
		c.Transport = ownTransport{shared.transport.Another(), shared}
	} else {
		c.Transport = ownTransport{redact.NewTransport(base), nil}
	}
	return &c
}

// copyOf copies a transport.
func copyOf(t *http.Transport) *http.Transport {
	own := t.Clone()
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
	if own.HTTP2 == nil {
		own.HTTP2 = new(http.HTTP2Config)
	}
	if own.HTTP2.SendPingTimeout == 0 {
		own.HTTP2.SendPingTimeout, own.HTTP2.PingTimeout = mutedFor, mutedFor
	}
	dial.Guard(own) // which sees by the configuration whether HTTP/2 is wanted
	own.TLSClientConfig = resuming(own.TLSClientConfig)
	return own
}

// mutedFor is how long nothing comes over a connection of HTTP/2 until it is
// pinged, and until it is given up if that has no answer. A poll that is given
// up does not end it, and the next one would go over it, too.
const mutedFor = 15 * time.Second

// resuming has TLS go on with sessions of before, which spares both sides half
// of a handshake. It does not where the user looks at certificates himself, or
// chooses his own for each connection: a session that goes on asks him neither.
func resuming(config *tls.Config) *tls.Config {
	switch {
	case config == nil:
		config = new(tls.Config)
	case config.ClientSessionCache != nil, config.VerifyPeerCertificate != nil, config.GetClientCertificate != nil:
		return config
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return config
}

// A sharedCopy is a copy of a transport, and what keeps it from telling secrets.
type sharedCopy struct {
	own       *http.Transport
	transport *redact.Transport
	made      uint64 // the fingerprint of what it is a copy of

	// Copies of it that keep connections: of HTTP/1.1 only, and of both; nil
	// where that cannot be.
	kept, polls func() *http.Transport
}

// copies are those in use, by what they are copies of. They last as long as a
// client has them.
var copies sharedCopies

type sharedCopies struct {
	mu   sync.Mutex
	byOf map[weak.Pointer[http.Transport]]weak.Pointer[sharedCopy]
}

// of is the copy of a transport: another once that has been changed.
func (c *sharedCopies) of(t *http.Transport) *sharedCopy {
	key := weak.Make(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byOf[key].Value(); known != nil && known.made == fingerprint(t) {
		return known
	}
	own := copyOf(t) // net/http sets some fields before it copies
	keeping := func(http2 bool) func() *http.Transport {
		return sync.OnceValue(func() *http.Transport { return keepingCopy(own, http2) })
	}
	made := &sharedCopy{own, redact.NewTransport(own), fingerprint(t), keeping(false), keeping(true)}
	if c.byOf == nil {
		c.byOf = make(map[weak.Pointer[http.Transport]]weak.Pointer[sharedCopy])
	}
	c.byOf[key] = weak.Make(made)
	runtime.AddCleanup(made, c.forget, key)
	return made
}

// forget is told that a copy is in use no more.
func (c *sharedCopies) forget(of weak.Pointer[http.Transport]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byOf[of].Value() == nil { // or else there is another meanwhile
		delete(c.byOf, of)
	}
}

// fingerprint is that of the exported fields of a transport, and of what these
// point to, by which it is found out that one has been changed. It is taken for
// each subscription.
func fingerprint(t *http.Transport) uint64 {
	var h maphash.Hash
	h.SetSeed(fingerprints)
	addFields(&h, reflect.ValueOf(t).Elem(), false)
	return h.Sum64()
}

var fingerprints = maphash.MakeSeed()

// addFields adds the exported fields of a struct, or all. Maps are known by
// where they are, and so are slices and functions; these not by their code,
// which all have that are made at one place, as those of http.ProxyURL.
func addFields(h *maphash.Hash, v reflect.Value, all bool) {
	for i := range v.NumField() {
		f := v.Field(i)
		if !all && !f.CanInterface() {
			continue
		}
		switch f.Kind() {
		case reflect.Func:
			maphash.WriteComparable(h, *(*uintptr)(f.Addr().UnsafePointer()))
		case reflect.Map:
			maphash.WriteComparable(h, f.Pointer())
		case reflect.Slice:
			maphash.WriteComparable(h, f.Pointer())
			maphash.WriteComparable(h, f.Len())
		case reflect.Pointer:
			maphash.WriteComparable(h, f.Pointer())
			if inner := f.Elem(); inner.Kind() == reflect.Struct {
				addFields(h, inner, inner.Type().Comparable())
			}
		case reflect.Interface:
			switch {
			case f.CanInterface() && f.Comparable():
				maphash.WriteComparable(h, f.Interface())
			case !f.IsNil():
				maphash.WriteComparable[any](h, f.Elem().Type())
			}
		case reflect.String:
			maphash.WriteComparable(h, f.String())
		case reflect.Bool:
			maphash.WriteComparable(h, f.Bool())
		default:
			switch {
			case f.CanInt():
				maphash.WriteComparable(h, f.Int())
			case f.CanUint():
				maphash.WriteComparable(h, f.Uint())
			case f.CanInterface() && f.Comparable(): // an array, say
				maphash.WriteComparable(h, f.Interface())
			}
		}
	}
}

// maxHeader bounds what is read of an answer before it is one: its status line,
// its header, and what comes before them, early hints or the answer of a proxy.
const maxHeader = 64 << 10

// ownTransport is the transport of an own client.
type ownTransport struct {
	*redact.Transport
	shared *sharedCopy // nil: the user's is in use
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls. It
// gives up connections that nobody waits for any more: net/http goes on dialing
// when a request is cancelled.
func (t ownTransport) CloseIdleConnections() {
	if t.shared != nil {
		t.shared.own.CloseIdleConnections()
	}
}
