package realtime

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestGateways_LoginPages: where websockets are answered by a page, or lead to
// one, a poll that hangs is no sign of a server either. One that says that
// nothing came is.
func TestGateways_LoginPages(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 5; version++ {
		for _, status := range []int{http.StatusOK, http.StatusFound} {
			t.Run(fmt.Sprint("version ", version, " ", status), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					var b box
					l.withOld(pulltest.WithVersion(version), b.option())
					b.refuses.Store(int64(status))
					b.answer.Store(&boxAnswer{})
					l.subscribe(nil, WithBackoff(soon))
					l.run(nil)
					time.Sleep(5 * time.Minute)
					if live := l.changes(StateLive); l.isReady() || len(live) > 0 {
						t.Errorf("ready is %v, live %d times", l.isReady(), len(live))
					}
					b.refuses.Store(0)
					b.answer.Store(nil)
					time.Sleep(2 * time.Minute)
					l.tickFor(10*time.Second, time.Second)
					l.wantNoOld()
					l.wantTicks()
				})
			})
			t.Run(fmt.Sprint("version ", version, " ", status, ", polls work, nothing kept"), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					var b box
					b.refuses.Store(int64(status))
					begin := time.Now()
					l.start([]pulltest.Option{pulltest.WithVersion(version), b.option()}, WithBackoff(soon))
					if took := time.Since(begin); took > 45*time.Second {
						t.Errorf("ready after %v", took)
					}
					l.tickFor(2*time.Minute, 20*time.Second)
					time.Sleep(time.Minute)
					l.wantTicks()
				})
			})
		}
	}
}

// TestGateways_BehindGateways: a gateway that gives up polls that hang does not
// make a server out of nothing that is kept, nor nothing out of one.
func TestGateways_BehindGateways(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 5; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithVersion(version), gateway(25 * time.Second)}, WithTransport(TransportWebSocket), WithBackoff(soon))
				time.Sleep(20 * time.Minute)
				if s := l.sub.State(); s != StateLive {
					t.Errorf("it is %v", s)
				}
				l.tickFor(2*time.Minute, 20*time.Second)
				time.Sleep(2 * time.Minute)
				l.wantTicks()
			})
		})
	}
}

// TestGateways_FalseOverRealSockets: what is no answer of the server's is found
// out over real sockets, too.
func TestGateways_FalseOverRealSockets(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()

	faults := map[string]pulltest.Fault{"marked page": falseAnswers["marked page"], "empty call": falseAnswers["empty call"], "instant 304": pulltest.InstantNotModified}
	ofVersion := map[int]string{1: "empty call", 2: "marked page", 3: "instant 304", 4: "marked page", 5: "empty call"} // in a short run
	if resttest.Thorough {
		faults["no answer"] = pulltest.Stall
	}
	for version := 1; version <= 5; version++ {
		for name, fault := range faults {
			if version < 3 && name == "no answer" {
				continue // takes a minute
			}
			if testing.Short() && name != ofVersion[version] {
				continue
			}
			all.Go(func() {
				t.Run(fmt.Sprint("version ", version, " ", name), func(t *testing.T) {
					// Two messages: a busy machine could take one for a live one.
					kept := pulltest.Message{Module: "application", Command: "before"}
					portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithHistory(kept, kept))
					defer portal.Close()
					c := begin(t, portal, TransportAuto)
					c.emit(6)
					c.arrived("at the beginning")
					portal.Misbehave(pulltest.Polls, fault)
					portal.CutWebSockets()
					c.emit(4)
					if version < 3 {
						eventually(t, "the history cannot be read", func() bool { return c.sub.State() == StateDegraded })
					} else {
						c.arrived("read otherwise")
					}
					portal.Behave(pulltest.Polls)
					c.arrived("in the end")
					eventually(t, "it is live", func() bool { return c.sub.State() == StateLive })
					c.stop()
				})
			})
		}
	}
}
