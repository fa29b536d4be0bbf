package realtime

import (
	"io"
	"log/slog"
	"testing"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// client makes a REST client of the portal's application. It does not repeat
// calls: what a subscription makes of a failure is what the tests are about.
func client(t testing.TB, p *pulltest.Portal) *b24pull.Client {
	t.Helper()
	c, err := b24pull.New(b24pull.OAuth(p.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.AccessToken()})), b24pull.WithHTTPClient(p.HTTPClient()), b24pull.WithRetry(b24pull.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newTestLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// midAt is the mid number n of one server's sequence.
func midAt(n uint64) wire.Mid { return wire.Mid{Epoch: 1795421100, Counter: n} }

// after is the cursor of one who has handled message n and all before it.
func after(n uint64) Cursor {
	return Cursor{delivery.Position{Known: delivery.Known{Watermark: midAt(n)}, Acked: []wire.Key{{Mid: midAt(n)}}}}
}
