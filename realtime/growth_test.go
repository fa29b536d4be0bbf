package realtime

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// TestGrowth_NothingGrows: however often channels are replaced under constant
// traffic, nothing is left behind of those that are gone.
func TestGrowth_NothingGrows(t *testing.T) {
	t.Parallel()
	skipLong(t)
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil, WithTransport(transport), WithBackoff(soon))
				ctx, cancel := context.WithCancelCause(t.Context())
				l.sub.acks = delivery.NewAcks(delivery.Position{})
				loop := l.sub.newLoop(ctx, func() { cancel(nil) })
				stopped := make(chan error)
				loop.bed.Rise = func() {
					go func() {
						if !loop.run() {
							stopped <- loop.err
						}
					}()
				}
				loop.bed.Rise()
				got := newTally()
				handled := make(chan struct{})
				go func() {
					defer close(handled)
					_ = l.sub.deliver(ctx, func(_ context.Context, m Message) error {
						got.add(t, m)
						return nil
					})
				}()
				<-l.sub.Ready()
				replacements := 80
				switch {
				case resttest.Thorough && transport == TransportWebSocket:
					replacements = 200
				case transport == TransportLongPolling: // each message is a poll or two
					replacements = 60
				}
				pause := waningReset - 20*time.Second // sooner commands would be carried out later and later
				n, goroutines := 0, 0
				for i := range replacements {
					time.Sleep(pause)
					l.portal.ExpireChannel(pulltest.Target(i%2), []string{"reconnect", "get_config"}[i/2%2])
					for range 20 { // in 20 s
						l.portal.Emit(pulltest.Message{Params: numbered{n}, To: pulltest.Target(n % 2)})
						n++
						time.Sleep(time.Second)
					}
					if i == 10 {
						synctest.Wait()
						goroutines = inOwnBubble()
					}
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if more := inOwnBubble() - goroutines; more > 10 {
					t.Errorf("%d goroutines more than after ten replacements", more)
				}
				cancel(errClosed)
				<-stopped
				<-handled
				if lost, repeated, _ := got.count(n); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d", lost, repeated)
				}
				loop.small(t)
			})
		})
	}
}

// small checks the sizes of what a subscription of a message a second
// remembers: some minutes of them.
func (l *loop) small(t *testing.T) {
	t.Helper()
	const minutes = 8 * 60
	r := l.dedup.Remembers()
	t.Logf("%d connections; %+v", len(l.connections()), r)
	if len(l.connections()) > 2 || r.Histories > 2 || len(l.waiting) > 0 {
		t.Error("connections are left behind")
	}
	if r.Seen > minutes || r.Above > minutes || r.Passed > minutes || r.Generations > minutes {
		t.Error("dedup grows")
	}
	if r.Above+r.Passed != r.Seen {
		t.Error("seen are others than those above and those passed")
	}
	if r.Acked > minutes || r.Pending > 0 || r.Moves > 100 {
		t.Error("the acks or the moves grow")
	}
}

// inOwnBubble is how many goroutines the caller's bubble has: other tests run beside.
func inOwnBubble() int {
	all := make([]byte, 1<<20)
	own := string(all[:runtime.Stack(all, false)])
	own, _, _ = strings.Cut(own, "\n")
	_, bubble, ok := strings.Cut(own, "synctest bubble ")
	if !ok {
		panic(own)
	}
	n := len(all)
	for n == len(all) {
		all = make([]byte, 4*len(all))
		n = runtime.Stack(all, true)
	}
	return strings.Count(string(all[:n]), "synctest bubble "+bubble)
}
