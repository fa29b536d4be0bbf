package transport

import (
	"bufio"
	"context"
	"fmt"
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

// TestGated_Hanging: a read of the history that is not answered says nothing of
// its host; one that is answered says that it does not hang, however late.
func TestGated_Hanging(t *testing.T) {
	const host = "push.test"
	for name, takes := range map[string]time.Duration{
		"for ever":   0,
		"for long":   20 * time.Second, // which has given up its place
		"not at all": time.Millisecond,
	} {
		for _, kind := range []gate.Kind{gate.Connect, gate.Replay} { // a poll can be either
			t.Run(fmt.Sprint(name, " ", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := gate.New(8)
					// known is how many requests to the host are let in at once: half of the
					// places if it is known to hang.
					known := func() (n int) {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						var all []*gate.Place
						for range 8 {
							if p, err := g.Enter(ctx, gate.REST, host, nil); err == nil {
								all = append(all, p)
							}
						}
						over, cancel := context.WithCancel(t.Context())
						cancel()
						for _, p := range all {
							p.End(over) // so nothing is said of the host
						}
						return len(all)
					}
					if _, err := g.Enter(t.Context(), gate.REST, host, nil); err != nil {
						t.Fatal(err)
					}
					time.Sleep(gate.Patience + time.Second)
					if n := known(); n != 4 {
						t.Fatalf("%d requests to a host that hangs are let in", n)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					poll := &Gated{Transport: slow(takes), Gate: g, Kind: kind, Told: untoldTurns{}}
					answered := make(chan error, 1)
					go func() {
						_, err := poll.Open(ctx, Address{URL: "http://" + host + "/"}, ignored{})
						answered <- err
					}()
					time.Sleep(time.Minute)
					want := 4
					if takes > 0 {
						want = 8
					}
					if n := known(); n != want {
						t.Errorf("%d requests to the host are let in, want %d", n, want)
					}
					cancel()
					<-answered
					if n := known(); n != want {
						t.Errorf("%d requests to the host are let in at last, want %d", n, want)
					}
				})
			})
		}
	}
}

// slow opens what is answered after a while; 0: never.
type slow time.Duration

func (s slow) Open(ctx context.Context, _ Address, sink Sink) (Conn, error) {
	sink.Sent()
	if s == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(time.Duration(s))
	return nil, nil
}
