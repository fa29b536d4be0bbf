package realtime

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestFalse_ForGood: a subscription that goes on from a cursor, and one that
// begins, with answers that are false for ever. Where there is no other way to
// read, neither is ready, and a Gap says what that means; there are not too
// many requests in either case.
func TestFalse_ForGood(t *testing.T) {
	t.Parallel()
	for _, goesOn := range []bool{false, true} {
		for version := 1; version <= 5; version++ {
			t.Run(fmt.Sprint("version ", version, " from a cursor ", goesOn), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.withOld(pulltest.WithVersion(version))
					store := new(MemoryStore)
					if goesOn {
						before := l.goOn(store, nil)
						<-before.sub.Ready()
						before.emit("before")
						time.Sleep(time.Minute)
						if err := before.stop(); err != nil {
							t.Fatal(err)
						}
					}
					l.portal.Misbehave(pulltest.Polls, pulltest.WebPage)
					l.subscribe(nil, WithCursorStore(store), WithBackoff(soon))
					l.run(nil)
					time.Sleep(3 * time.Second)
					l.cutAndTick(20)
					time.Sleep(time.Hour)
					hopeless := version < 3
					if ready := l.isReady(); ready == hopeless {
						t.Errorf("ready is %v", ready)
					}
					l.wantDegraded(hopeless, pulltest.WebPage)
					l.wantNoOld()
					lost, repeated, _ := l.ticked()
					gaps := countEvents[Gap](l)
					if repeated > 0 || hopeless != (gaps > 0) || !hopeless && lost > 0 {
						t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, gaps)
					}
					if n := countEvents[ReplayEnded](l); n > 300 {
						t.Errorf("%d reads", n)
					}
				})
			})
		}
	}
}

// TestFalse_ByTurns: what reads in the place of polls is kept while they fail,
// and polls are tried now and then.
func TestFalse_ByTurns(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var polls counts
				l.withOld(pulltest.WithVersion(version), polls.count(func(http.ResponseWriter, *http.Request) bool { return false }))
				asked := func() int {
					polls.mu.Lock()
					defer polls.mu.Unlock()
					return polls.n["poll"]
				}
				l.subscribe(nil, WithBackoff(soon))
				l.run(nil)
				<-l.sub.Ready()
				for range shorter(3, 1) {
					l.portal.Misbehave(pulltest.Polls, pulltest.ForeignJSON)
					before, sockets := asked(), l.portal.Stats().WebSockets
					for range 50 { // ten minutes, each connection long enough to be trusted
						l.cutAndTick(1)
						time.Sleep(9 * time.Second)
					}
					if n := asked() - before; n < patience+2 || n > patience+10 {
						t.Errorf("%d polls", n)
					}
					if n := l.portal.Stats().WebSockets - sockets; n > 150 {
						t.Errorf("%d websockets", n)
					}
					l.portal.Behave(pulltest.Polls)
					time.Sleep(pollsAgainMax)
					l.cutAndTick(1)
					before = asked()
					for range 10 {
						l.cutAndTick(1)
						time.Sleep(9 * time.Second)
					}
					if n := asked() - before; n < 10 {
						t.Errorf("only %d polls after they work again", n)
					}
				}
				if lost, repeated, _ := l.ticked(); lost+repeated+countEvents[Gap](l) > 0 {
					t.Errorf("lost %d, repeated %d of %d, %d gaps", lost, repeated, l.ticks, countEvents[Gap](l))
				}
			})
		})
	}
}

// TestFalse_NowAndThen: answers that are false by turns with good ones cost
// nothing.
func TestFalse_NowAndThen(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			random := rand.New(rand.NewPCG(1, 3))
			var faults []pulltest.Fault
			for _, name := range slices.Sorted(maps.Keys(falseAnswers)) {
				faults = append(faults, falseAnswers[name])
			}
			l.withOld(opts...)
			l.subscribe(nil, WithTransport(transport), WithBackoff(func(int) time.Duration { return 300 * time.Millisecond }))
			l.run(nil)
			<-l.sub.Ready()
			steps := 200
			if !resttest.Thorough {
				steps = 50
			}
			for range steps {
				switch random.IntN(4) {
				case 0, 1:
					l.portal.Misbehave(pulltest.Polls, faults[random.IntN(len(faults))])
				default:
					l.portal.Behave(pulltest.Polls)
				}
				if random.IntN(3) == 0 {
					l.portal.Cut()
				}
				for range random.IntN(3) {
					l.tick()
				}
				time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			l.portal.Behave(pulltest.Polls)
			time.Sleep(5 * time.Minute)
			l.wantNoOld()
			if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
				t.Errorf("lost %d, repeated %d of %d", lost, repeated, l.ticks)
			}
		})
	})
}
