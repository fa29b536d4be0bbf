package transport

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/gate"
)

// untoldTurns is told how it goes with a turn.
type untoldTurns struct{}

func (untoldTurns) Waits()  {}
func (untoldTurns) Begins() {}

// TestGated_Dial: a poll is answered over a connection that has become free,
// while the one that was begun for it is not made yet. That keeps the place, or
// else any number would be begun at once.
func TestGated_Dial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		dials := 0
		base := &http.Transport{}
		base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			if dials++; dials > 1 {
				select {
				case <-time.After(2 * time.Second):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				return nil, io.ErrUnexpectedEOF
			}
			ours, theirs := net.Pipe()
			go func() {
				for r := bufio.NewReader(theirs); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					<-free
					_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nframe")
				}
			}()
			return ours, nil
		}
		client := PollingClient(&http.Client{Transport: base})
		defer client.CloseIdleConnections()
		g := gate.New(4)
		poll := &Gated{Transport: &Polling{Client: client}, Gate: g, Kind: gate.Replay, Told: untoldTurns{}}
		done := make(chan error)
		for range 2 {
			go func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c, err := poll.Open(ctx, Address{URL: "http://push.test/"}, ignored{})
				if err == nil {
					frame, _ := c.Next()
					_, err = io.ReadAll(frame)
					c.Close(CloseNormal)
				}
				done <- err
			}()
			synctest.Wait()
		}
		close(free)
		for n := range 2 {
			if err := <-done; err != nil {
				t.Fatalf("poll %d: %v", n, err)
			}
		}
		synctest.Wait()
		if taken, _ := g.Counts(); taken != 1 {
			t.Errorf("%d places are taken while a connection is made", taken)
		}
		time.Sleep(3 * time.Second)
		if taken, _ := g.Counts(); taken != 0 {
			t.Errorf("%d places are taken at last", taken)
		}
	})
}
