package realtime

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAbandoned_DialsAreGivenUp: a dial function that hangs is told when its
// connection is not wanted any more, and none outlives the run.
func TestAbandoned_DialsAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				var dialing, dialed atomic.Int32
				client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					dialed.Add(1)
					dialing.Add(1)
					defer dialing.Add(-1)
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}}}
				l.subscribe(nil, WithHTTPClient(client), WithTransport(transport))
				l.run(nil)
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := dialing.Load(); n > 2 || dialed.Load() < 10 {
					t.Errorf("after an hour %d of %d dials go on", n, dialed.Load())
				}
				l.sub.Close()
				<-l.done
				synctest.Wait()
				if n := dialing.Load(); n > 0 {
					t.Errorf("%d dials go on after the run", n)
				}
			})
		})
	}
}

// countedConn is counted while it is open.
type countedConn struct {
	net.Conn
	closed func()
}

func (c countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestAbandoned_ConnectionsEndWithTheRun: none of them is left idle, and those
// of the user's client are left alone.
func TestAbandoned_ConnectionsEndWithTheRun(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				var open atomic.Int32
				user := l.portal.HTTPClient().Transport.(*http.Transport).Clone()
				dial := user.DialContext
				user.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					open.Add(1)
					return countedConn{conn, sync.OnceFunc(func() { open.Add(-1) })}, nil
				}
				defer user.CloseIdleConnections()
				client := &http.Client{Transport: user}
				resp, err := client.Get(l.portal.URL())
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				synctest.Wait()
				before := open.Load()
				l.subscribe(nil, WithHTTPClient(client), WithTransport(transport))
				l.run(nil)
				<-l.sub.Ready()
				l.tickFor(time.Minute, time.Second)
				l.sub.Close()
				<-l.done
				synctest.Wait()
				if n := open.Load(); n != before {
					t.Errorf("%d connections are open after the run, %d were before", n, before)
				}
			})
		})
	}
}
