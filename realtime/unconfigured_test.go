package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/pulltest"
)

// TestUnconfigured: while the client repeats its call, and while that hangs, the
// log and the errors of WaitReady and Run say why there is no config yet.
func TestUnconfigured(t *testing.T) {
	t.Parallel()
	badGateway := func(err error) bool {
		var refused *b24pull.APIError
		return errors.As(err, &refused) && refused.Status == 502
	}
	for name, x := range map[string]struct {
		fault pulltest.Fault
		after time.Duration // when WaitReady's context ends
		is    func(error) bool
		want  string // in WaitReady's error
		log   string
		at    time.Duration // when that has been logged
	}{
		"502":         {pulltest.BadGateway, 500 * time.Millisecond, badGateway, "HTTP 502", "HTTP 502", time.Second},
		"query limit": {pulltest.RESTError(503, "QUERY_LIMIT_EXCEEDED"), 500 * time.Millisecond, func(err error) bool { return errors.Is(err, b24pull.ErrQueryLimit) }, "QUERY_LIMIT_EXCEEDED", "QUERY_LIMIT_EXCEEDED", time.Second},
		"stalled":     {pulltest.Stall, 5 * time.Second, nil, "; waiting for HOST for 5s", "from=HOST", 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				l.open()
				l.portal.Misbehave(pulltest.REST, x.fault)
				c, err := b24pull.New(b24pull.Webhook(l.portal.Webhook()), b24pull.WithHTTPClient(l.portal.HTTPClient()))
				if err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(c.Portal())
				if err != nil {
					t.Fatal(err)
				}
				host := addr.HostPort(u)
				logged := new(bytes.Buffer)
				l.subscribe(PortalConfig(c), WithLogger(slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelInfo}))))
				l.run(nil)
				err = l.sub.WaitReady(within(t, x.after))
				if want := strings.ReplaceAll(x.want, "HOST", host); !errors.Is(err, context.DeadlineExceeded) || x.is != nil && !x.is(err) || !strings.Contains(err.Error(), want) {
					t.Errorf("WaitReady returned %v, want %q in it", err, want)
				}
				time.Sleep(x.at - x.after)
				synctest.Wait()
				if want := strings.ReplaceAll(x.log, "HOST", host); !strings.Contains(logged.String(), want) {
					t.Errorf("the log has no %q: %q", want, logged)
				}
				l.portal.Behave(pulltest.REST)
				if err := l.sub.WaitReady(within(t, time.Hour)); err != nil {
					t.Errorf("the portal answers again, and %v", err)
				}
				if err := l.sub.lastErrors.unready(); err != nil {
					t.Errorf("ready, and what failed before is kept: %v", err)
				}
			})
		})
	}
	t.Run("Run's error", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.portal.Misbehave(pulltest.REST, pulltest.BadGateway)
			l.subscribe(nil)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			if err := l.sub.Run(ctx, NewMux()); !errors.Is(err, context.Canceled) || !badGateway(err) {
				t.Errorf("Run returned %v", err)
			}
		})
	})
	t.Run("a source of its own", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.subscribe(hangingSource{})
			l.run(nil)
			if err := l.sub.WaitReady(within(t, 3*time.Second)); err == nil || !strings.Contains(err.Error(), "; waiting for the config source for 3s") {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	t.Run("the log is bounded", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.portal.Misbehave(pulltest.REST, pulltest.BadGateway)
			logged := new(bytes.Buffer)
			c, err := b24pull.New(b24pull.Webhook(l.portal.Webhook()), b24pull.WithHTTPClient(l.portal.HTTPClient()),
				b24pull.WithRetry(b24pull.Retry{Attempts: 1e6, Min: 10 * time.Millisecond, Max: 10 * time.Millisecond}), b24pull.WithLimiter(nil))
			if err != nil {
				t.Fatal(err)
			}
			l.subscribe(PortalConfig(c), WithLogger(slog.New(slog.NewTextHandler(logged, nil))))
			l.run(nil)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := strings.Count(logged.String(), "\n"); n < 1 || n > 6 {
				t.Errorf("%d lines in two seconds", n)
			}
		})
	})
}

type hangingSource struct{}

func (hangingSource) GetApplicationConfig(ctx context.Context, _ bool) (*b24pull.Config, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("source: %w", ctx.Err())
}
