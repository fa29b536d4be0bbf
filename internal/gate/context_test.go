package gate

import (
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlace_Handshake: a handshake that goes on when its request has ended keeps
// the place until it ends as well, or hangs.
func TestPlace_Handshake(t *testing.T) {
	for name, end := range map[string]func(*httptrace.ClientTrace){
		"succeeds": func(c *httptrace.ClientTrace) { c.TLSHandshakeDone(tls.ConnectionState{}, nil) },
		"fails":    func(c *httptrace.ClientTrace) { c.TLSHandshakeDone(tls.ConnectionState{}, errors.New("fails")) },
		"hangs":    func(*httptrace.ClientTrace) { time.Sleep(Patience + time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(1)
				p, err := g.Enter(t.Context(), REST, "a", nil)
				if err != nil {
					t.Fatal(err)
				}
				trace := httptrace.ContextClientTrace(p.Context(t.Context()))
				trace.TLSHandshakeStart()
				p.Leave()
				if taken, _ := g.Counts(); taken != 1 {
					t.Errorf("%d places are taken during the handshake", taken)
				}
				end(trace)
				if taken, _ := g.Counts(); taken != 0 {
					t.Errorf("%d places are taken after it", taken)
				}
				trace.TLSHandshakeStart() // too late to hold anything
				trace.TLSHandshakeDone(tls.ConnectionState{}, nil)
				if taken, _ := g.Counts(); taken != 0 {
					t.Errorf("%d places are taken at last", taken)
				}
			})
		})
	}
}

// TestHold_Late: a handshake that is begun when its request has ended waits for
// a place of its own.
func TestHold_Late(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(1)
		p, err := g.Enter(t.Context(), REST, "a", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx := p.Context(t.Context())
		p.Leave()
		other, err := g.Enter(t.Context(), REST, "b", nil)
		if err != nil {
			t.Fatal(err)
		}
		held := false
		go func() {
			release, err := Hold(ctx)
			if err != nil {
				t.Error(err)
			}
			held = true
			release()
		}()
		synctest.Wait()
		if held {
			t.Error("two at once")
		}
		other.Leave()
		synctest.Wait()
		if taken, waiting := g.Counts(); !held || taken+waiting != 0 {
			t.Errorf("held %t, %d are taken, %d wait", held, taken, waiting)
		}
	})
}
