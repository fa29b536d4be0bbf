package listen

import (
	"context"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// embedded is a portal in memory that emits an event every so often, and now and
// then cuts its connections.
func embedded(pace time.Duration) (*target, error) {
	event := func(n int, text string) pulltest.Message {
		return pulltest.Message{Command: "order.changed", Params: map[string]any{"id": n, "text": text}}
	}
	portal := pulltest.NewPortal(pulltest.WithHistory(event(0, "long past: it stands before the beginning and is not printed")))
	emit := func(n int, text string) { portal.Emit(event(n, text)) }
	client, err := b24pull.New(
		b24pull.OAuth(portal.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})),
		b24pull.WithHTTPClient(portal.HTTPClient()),
	)
	if err != nil {
		portal.Close()
		return nil, err
	}
	ready := func(ctx context.Context) {
		for n := 1; ; n++ {
			if n%5 == 4 {
				if _, err := portal.Cut(); err != nil {
					panic(err) // no handler hides its connections
				}
				emit(n, "while nobody was connected")
			} else {
				emit(n, "hello")
			}
			select {
			case <-time.After(pace):
			case <-ctx.Done():
				return
			}
		}
	}
	return &target{
		name:   "a portal in memory, since neither B24PULL_WEBHOOK nor B24PULL_PORTAL is set; it emits an event a second and cuts the connection at every fifth. Ctrl-C stops",
		note:   "on a real portal " + silence,
		source: client,
		options: []realtime.Option{
			realtime.WithBackoff(func(int) time.Duration { return pace / 2 }),
		},
		client: client,
		ready:  ready,
		close: func() {
			portal.HTTPClient().CloseIdleConnections()
			portal.Close()
		},
	}, nil
}
