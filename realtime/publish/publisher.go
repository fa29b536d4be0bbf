package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// A Publisher publishes to other clients of a portal's push server, and asks
// which of them are online. It is made by [New]; all its methods can be called
// from any goroutine.
type Publisher struct {
	source realtime.ConfigSource
	opts   options
	client *http.Client // of websockets
	poster *http.Client // of requests to the push server
	header http.Header

	life      context.Context // until Close
	end       context.CancelCauseFunc
	work      sync.WaitGroup // goroutines of its own
	accounts  accounts
	users     directory
	connector connector

	mu     sync.Mutex
	closed bool
}

// New makes a publisher for the user that source gives the config of: a
// *b24pull.Client for an application, [realtime.PortalConfig] for the user
// behind a webhook, or any other source, which may be asked by this publisher
// and by a subscription at the same time. It checks what it is given and does
// no I/O.
func New(source realtime.ConfigSource, opts ...Option) (*Publisher, error) {
	if config.IsNil(source) {
		return nil, errors.New("publish: New: the config source is nil; give a *b24pull.Client, realtime.FromConfig or realtime.PortalConfig")
	}
	var o options
	_, application := source.(*b24pull.Client)
	o.portal = !application
	o.directory, _ = source.(Directory)
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("publish: New: an option is nil")
		}
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.httpClient == nil {
		o.httpClient = config.HTTPClient(source)
	}
	p := &Publisher{source: source, opts: o, client: transport.OwnClient(o.httpClient), poster: transport.KeepingClient(o.httpClient), header: config.Header(source, o.header)}
	p.life, p.end = context.WithCancelCause(context.Background())
	p.accounts.init(p)
	p.users.init(p)
	p.connector.p = p
	return p, nil
}

// Close ends the publisher: what is under way fails with [ErrClosed], and when
// Close returns nothing of it runs any more. It can be called more than once.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end(ErrClosed)
	p.work.Wait()
	p.client.CloseIdleConnections()
	p.poster.CloseIdleConnections()
	return nil
}

// begin has a function run in a goroutine that Close waits for. It reports
// false if the publisher is closed.
func (p *Publisher) begin(work func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Go(work)
	return true
}

// bound makes the context of a call, which ends with the publisher as well.
func (p *Publisher) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.life, func() { cancel(ErrClosed) })
	if p.life.Err() != nil {
		cancel(ErrClosed) // now
	}
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// String names the type and nothing else.
func (p *Publisher) String() string { return "publish.Publisher" }

// Format writes String for every verb: a publisher holds secrets that fmt would
// find.
func (p *Publisher) Format(f fmt.State, verb rune) { redact.Format(f, verb, p.String()) }
