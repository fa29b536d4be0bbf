package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/shared"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// handLoop is a loop that is not run, whose polls are not answered; it tells of
// events by observe.
func handLoop(ctx context.Context, way transport.Transport, observe func(Event)) *loop {
	q, led, events := delivery.NewQueue(10, 1<<20), delivery.NewAcks(after(1).position), telling(observe)
	l := &loop{ctx: ctx, opts: new(options), inbox: make(chan inbound), poll: way, acks: led, events: events, stats: events.stats,
		log: newTestLogger(io.Discard), queue: q, state: new(stateBox), lastErrors: new(lastErrors), tasks: tasks{guard: &guard{waits: new(shared.Goroutines)}}}
	l.dedup = delivery.NewDedup(after(1).position, led, q, time.Now(), l.reported)
	l.main = l.streamTo("main.example")
	return l
}

func (l *loop) streamTo(host string) *connection {
	return &connection{history: l.dedup.AddHistory(midAt(1), true), config: new(b24pull.Config), status: status{state: StateLive, anchored: true},
		endpoint: endpoint{server: host, poll: transport.Address{URL: "http://" + host + "/sub/"}, dialect: wire.DialectProtobuf}}
}

// TestDistances_TooManyReplaced: of the channels that are replaced a number is
// listened to. The oldest are left before their time, which is a gap, and
// nothing of them stays.
func TestDistances_TooManyReplaced(t *testing.T) {
	var told []Event
	l := handLoop(t.Context(), nil, func(e Event) { told = append(told, e) })
	for n := range maxReplaced + 12 {
		l.replaced = append(l.replaced, l.streamTo(fmt.Sprint(n)))
		l.leaveOldest()
	}
	if len(l.replaced) != maxReplaced || l.replaced[0].endpoint.server != "12" || l.dedup.Remembers().Histories != maxReplaced+1 {
		t.Errorf("%d connections, the first %s, %d histories", len(l.replaced), l.replaced[0].endpoint.server, l.dedup.Remembers().Histories)
	}
	if gap, ok := told[0].(Gap); !ok || gap.Reason != GapChannelReplaced || l.stats.snapshot().Gaps != 12 {
		t.Errorf("told %+v, %d gaps counted", told, l.stats.snapshot().Gaps)
	}
}

// TestDistances_ReplayFlood: replays that are each answered by one message
// which is news, and so call for another, keep their pace.
func TestDistances_ReplayFlood(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var asked counts
		var n atomic.Uint64
		l.open(pulltest.WithVersion(3), asked.count(func(w http.ResponseWriter, r *http.Request) bool {
			if requestKind(r) != "poll" {
				return false
			}
			if asked.of("poll") > 20000 { // seen enough
				<-r.Context().Done()
				return true
			}
			i := n.Add(1)
			fmt.Fprintf(w, `#!NGINXNMS!#{"id":%d,"mid":"1795421100%016d","channel":"c","tag":"1","time":"Mon, 23 Nov 2026 10:00:00 GMT","text":{"module_id":"application","command":"news","params":[]}}#!NGINXNME!#`, i, i)
			return true
		}))
		l.subscribe(nil, WithTransport(TransportWebSocket))
		l.run(nil)
		time.Sleep(time.Minute)
		first := asked.of("poll")
		t.Logf("%d reads in a minute", first)
		if first > 20+4*60+1 {
			t.Errorf("%d reads in a minute", first)
		}
	})
}

// TestDistances_OvertakenPolls: a poll that brings, out of turn, what a replay
// was faster to bring is followed by the next one at once: what is published in
// between and not kept would be lost. Such polls have a pace of their own, also
// where no time passes.
func TestDistances_OvertakenPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		way := &hung{make(chan string, 1000)}
		l := handLoop(ctx, way, func(Event) {})
		s := l.main
		s.polls, s.overtaken, s.status.polling = pollPace, overtakenPace, true
		s.history.Undecodable(delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(1000)}}}, false, time.Now())
		begun := time.Now()
		l.dial(s, begun)
		for n := range uint64(100) {
			m := delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2 + n)}}}
			s.history.Undecodable(m, false, time.Now()) // so it has been seen
			s.history.Live(m, time.Now())
			l.polled(s, time.Now())
			if at := s.timers.at(timerHang); !at.IsZero() {
				time.Sleep(time.Until(at))
				l.expire()
			}
			switch took := time.Since(begun); {
			case n < 19 && took > 0:
				t.Fatalf("poll %d comes after %v", n, took)
			case n == 99 && (took < 15*time.Second || took > 17*time.Second):
				t.Errorf("100 polls take %v", took)
			}
		}
		s.live.hangUp(transport.CloseNormal)
		cancel()
		l.tasks.Wait()
	})
}

// TestDistances_Sums: what is told together adds up, and what is left is told
// before the end.
func TestDistances_Sums(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		happens func(l *life)
		count   func(l *life) (events, sum int)
		stat    func(s Stats) uint64
	}{
		"undecodable": {func(l *life) { l.portal.Emit(pulltest.Message{Body: fmt.Sprint("no json ", time.Now().UnixNano())}) }, func(l *life) (n, sum int) {
			for _, e := range lifeEvents[Undecodable](l) {
				n, sum = n+1, sum+e.Count
			}
			return n, sum
		}, func(s Stats) uint64 { return s.Undecodable }},
		"repeats": {func(l *life) { l.portal.Emit(pulltest.Message{To: pulltest.Both}) }, func(l *life) (n, sum int) {
			for _, e := range lifeEvents[Repeat](l) {
				n, sum = n+1, sum+e.Count
			}
			return n, sum
		}, func(s Stats) uint64 { return s.Repeats }},
		"gaps": {func(l *life) { l.portal.Forget(); l.emit("another epoch") }, func(l *life) (n, sum int) {
			for _, e := range lifeEvents[Gap](l) {
				n, sum = n+1, sum+e.Count
			}
			return n, sum
		}, func(s Stats) uint64 { return s.Gaps }},
	} {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(nil)
				l.emit("first")
				time.Sleep(time.Minute)
				synctest.Wait()
				counted := -int(tt.stat(l.sub.Stats())) // the first may be one
				told, summed := tt.count(l)
				for range 250 {
					tt.happens(l)
					time.Sleep(100 * time.Millisecond)
				}
				l.sub.Close()
				<-l.done
				counted += int(tt.stat(l.sub.Stats()))
				events, sum := tt.count(l)
				events, sum = events-told, sum-summed
				if events != 4 || sum != counted || sum < 240 { // at once, after 10 and 20 s, and at the end
					t.Errorf("%d events tell of %d, counted were %d", events, sum, counted)
				}
				if last, ok := l.events[len(l.events)-1].(StateChange); !ok || last.To != StateClosed {
					t.Errorf("the last event is %T", l.events[len(l.events)-1])
				}
			})
		})
	}
}

// hung is a transport that does not answer, and notes what it is asked.
type hung struct{ asked chan string }

func (t *hung) Open(ctx context.Context, at transport.Address, _ transport.Sink) (transport.Conn, error) {
	t.asked <- at.URL
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestDistances_ReplaysOfTheMainConnectionGoFirst, and each connection waits
// once.
func TestDistances_ReplaysOfTheMainConnectionGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		way := &hung{make(chan string, 10)}
		l := handLoop(ctx, way, func(Event) {})
		old1, old2 := l.streamTo("old1.example"), l.streamTo("old2.example")
		l.replaced = []*connection{old1, old2}
		for _, s := range []*connection{old1, old2, old2, l.main, l.main, old1} {
			l.beginReplay(replayRequest{connection: s}, time.Now())
		}
		if len(l.waiting) != 3 {
			t.Errorf("%d reads wait", len(l.waiting))
		}
		var order []string
		for l.replaying.isUp() {
			order = append(order, l.replaying.connection.endpoint.server)
			l.replaying.hangUp(transport.CloseNormal)
			l.nextReplay()
		}
		if got := fmt.Sprint(order); got != "[old1.example main.example old2.example old1.example]" {
			t.Errorf("read in the order %s", got)
		}
		cancel()
		l.tasks.Wait()
	})
}

// TestDistances_ReplaysAreMerged: what the replay of one connection brings
// waits for that of another that has become due meanwhile.
func TestDistances_ReplaysAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := handLoop(ctx, &hung{make(chan string, 10)}, func(Event) {})
		other := l.streamTo("other.example")
		l.replaced = []*connection{other}
		l.ready = make(chan struct{})
		l.handle(other, event{kind: evMany}, nil)
		show := func(counters ...uint64) {
			for _, n := range counters {
				l.replaying.connection.history.Replayed(delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n)}, Params: []byte(fmt.Sprint(n))}}, time.Now())
			}
		}
		l.dedup.Reorder.Hold()
		l.main.history.Live(delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(5)}, Params: []byte("5")}}, time.Now())
		show(1, 2)
		l.handle(l.main, event{kind: evMany}, nil)
		show(4, 6)
		l.receiveReplay(inbound{kind: inDown, err: io.EOF, attempt: l.replaying})
		if l.replaying.connection != l.main {
			t.Fatal("the other read has not begun")
		}
		show(1, 3, 5)
		l.receiveReplay(inbound{kind: inDown, err: io.EOF, attempt: l.replaying})
		var got []string
		for m, _, ok := l.queue.TryPop(); ok; m, _, ok = l.queue.TryPop() {
			got = append(got, string(m.Params))
		}
		if fmt.Sprint(got) != "[2 3 4 5 6]" {
			t.Errorf("the order is %v", got)
		}
		cancel()
		l.tasks.Wait()
	})
}

// TestDistances_SkippedAreSummed: messages that a handler cannot take and that
// are skipped, one or several at a time, have a line in ten seconds, and the
// lines say how many there were.
func TestDistances_SkippedAreSummed(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var told lines
				l.open()
				l.emit("before")
				l.subscribe(nil, WithParallel(workers, nil), WithLogger(slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))),
					WithErrorPolicy(func(*HandlerError, int) ErrorAction { return SkipMessage() }))
				l.run(func(context.Context, Message) error { return errors.New("bad params") })
				<-l.sub.Ready()
				for range 2500 {
					l.emit("bad")
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(4 * time.Second)
				l.sub.Close()
				<-l.done
				sum := 0
				for _, line := range told.told {
					_, count, _ := strings.Cut(line, "count=")
					n, err := strconv.Atoi(count)
					if err != nil {
						t.Errorf("%s: %v", line, err)
					}
					sum += n
				}
				if len(told.told) != 4 || sum != 2500 { // at once, after 10 and 20 s, and at the end
					t.Errorf("%d lines tell of %d: %q", len(told.told), sum, told.told)
				}
			})
		})
	}
}

// TestDistances_ShortReplaysKeepTheirPace: so many begin at once, and what is
// called for beyond that is one, as soon as it may be.
func TestDistances_ShortReplaysKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := handLoop(ctx, &hung{make(chan string, 2*shortReplayPace.Burst)}, func(Event) {})
		l.replayPace, l.shortReplayPace = replayPace, shortReplayPace
		now, begun := time.Now(), 0
		for range 2 * shortReplayPace.Burst {
			if l.beginReplay(replayRequest{connection: l.main, short: true}, now); l.replaying.isUp() {
				begun++
				l.replaying.hangUp(transport.CloseNormal)
			}
		}
		if begun != shortReplayPace.Burst || len(l.waiting) != 1 || !l.timers.at(timerHeld).Equal(now.Add(shortReplayPace.Every)) {
			t.Errorf("%d have begun, %d wait for %v", begun, len(l.waiting), l.timers.at(timerHeld).Sub(now))
		}
		cancel()
		l.tasks.Wait()
	})
}
