package realtime

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/shared"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestLosses_LastReplayIsPatient: the end of a channel that was replaced is
// read even if the server cannot be read for a while just then.
func TestLosses_LastReplayIsPatient(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithBackoff(func(int) time.Duration { return shorter(20*time.Millisecond, 500*time.Millisecond) }))
		time.Sleep(time.Minute)
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(time.Second)
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway)
		l.portal.Cut()
		l.portal.EmitOld(pulltest.Message{Command: "at its end"})
		time.Sleep(time.Minute)
		l.portal.Behave(pulltest.Polls | pulltest.WebSockets)
		time.Sleep(time.Minute)
		l.want("at its end")
		if n := countEvents[Gap](l); n > 0 {
			t.Errorf("%d gaps", n)
		}
	})
}

// TestLosses_FullDuringTheReplayOfAnother: the queue gets full while one
// connection is read and messages of another wait. Both are paused, and what
// waits is given back.
func TestLosses_FullDuringTheReplayOfAnother(t *testing.T) {
	now := time.Now()
	q := delivery.NewQueue(2, 1<<20)
	l := &loop{events: telling(func(Event) {}), log: newTestLogger(io.Discard), queue: q, state: new(stateBox), lastErrors: new(lastErrors), tasks: tasks{guard: &guard{waits: new(shared.Goroutines)}}}
	l.dedup = delivery.NewDedup(after(1).position, delivery.NewAcks(after(1).position), q, now, l.reported)
	live := func() *connection {
		return &connection{history: l.dedup.AddHistory(midAt(1), true), status: status{state: StateLive, anchored: true}}
	}
	l.main = live()
	old := live()
	l.replaced = []*connection{old}

	l.dedup.Reorder.Hold()
	waits, shown := delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2)}}}, delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(3)}}}
	l.main.history.Live(waits, now)
	old.status.replay = replayRunning
	old.history.BeginReplay(now, "")
	l.replaying = &attempt{connection: old, replay: true, up: true, cancel: func() {}}
	old.history.Replayed(shown, now)
	l.messages(l.main, false, &delivery.Batch{{Message: delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(4)}}}}}, now, l.main.history.Live)

	for _, s := range l.connections() {
		if s.status.state != StatePaused || s.status.replay != replayIdle {
			t.Errorf("status %+v", s.status)
		}
	}
	if l.dedup.Knows(waits.Key) || l.replaying.isUp() {
		t.Error("the message that waits was not given back, or the read goes on")
	}
}

// TestLosses_ReplacedSoonAfterTheBeginning: what was kept before a subscription
// began is not delivered with what new channels hold, however soon they come.
func TestLosses_ReplacedSoonAfterTheBeginning(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open(opts...)
			for range 10 {
				l.portal.Emit(pulltest.Message{Command: "before", To: pulltest.Shared})
				time.Sleep(time.Minute)
			}
			l.subscribe(nil, WithTransport(transport), WithBackoff(soon))
			l.run(nil)
			<-l.sub.Ready()
			l.emit("one")
			time.Sleep(time.Second)
			l.portal.ExpireChannel(pulltest.Private, "reconnect")
			l.emit("two")
			time.Sleep(10 * time.Minute)
			l.want("one", "two")
			if n := countEvents[Gap](l); n > 0 {
				t.Errorf("%d gaps", n)
			}
		})
	})
}

// TestLosses_ReplacedWhilePaused: a queue that was full has room again, and the
// replay that follows brings the news that a channel has been replaced. The new
// channels are connected to.
func TestLosses_ReplacedWhilePaused(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		resttest.Sample(t)
		t.Parallel()
		for _, action := range []string{"reconnect", "get_config"} {
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				l.open(opts...)
				l.subscribe(nil, WithTransport(transport), WithBackoff(soon))
				l.sub.queue.MaxMessages = 10
				got := newTally()
				l.run(func(_ context.Context, m Message) error {
					got.add(t, m)
					time.Sleep(100 * time.Millisecond)
					return nil
				})
				<-l.sub.Ready()
				const n = 100
				for i := range n {
					if i == n/2 {
						l.portal.ExpireChannel(pulltest.Private, action)
					}
					l.portal.Emit(pulltest.Message{Params: numbered{i}})
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if lost, repeated, _ := got.count(n); lost+repeated > 0 || l.sub.State() != StateLive {
					t.Errorf("lost %d, repeated %d, %v", lost, repeated, l.sub.State())
				}
				if len(l.changes(StatePaused)) == 0 {
					t.Error("the queue was never full")
				}
			})
		}
	})
}

// TestLosses_FailedProbeLeavesTheReplay: a websocket that is tried beside polls
// and fails takes nothing from the short replay that goes on for those.
func TestLosses_FailedProbeLeavesTheReplay(t *testing.T) {
	now := time.Now()
	q := delivery.NewQueue(10, 1<<20)
	led := delivery.NewAcks(after(1).position)
	l := &loop{acks: led, events: telling(func(Event) {}), log: newTestLogger(io.Discard), queue: q, state: new(stateBox), lastErrors: new(lastErrors), tasks: tasks{guard: &guard{waits: new(shared.Goroutines)}}}
	l.dedup = delivery.NewDedup(after(1).position, led, q, now, l.reported)
	l.main = &connection{config: new(b24pull.Config), history: l.dedup.AddHistory(midAt(1), true), status: status{state: StateLive, polling: true, anchored: true, replay: replayRunning}}
	l.next = &connection{history: l.main.history, status: status{state: StateConnecting, anchored: true, upgradeProbe: true}}
	l.main.history.Polled(midAt(1))
	l.main.history.BeginShortReplay(now, "")
	l.replaying = &attempt{connection: l.main, replay: true, up: true, cancel: func() {}}
	l.handle(l.next, event{kind: evLost}, errStuck)

	if l.next != nil {
		t.Error("the trial is not over")
	}
	l.receiveReplay(inbound{kind: inSent, attempt: l.replaying})
	if !l.replaying.isUp() || !l.main.history.Replayed(delivery.Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2)}}}, now) {
		t.Error("the short read does not go on")
	}
}

// TestLosses_PollTakenUp: what is published while the server takes up a poll is
// kept and not sent; it is found at once, not with the next replay from the
// cursor.
func TestLosses_PollTakenUp(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithHandover(200 * time.Millisecond)}, WithTransport(TransportLongPolling))
		time.Sleep(10 * time.Second)
		l.emit("one")
		time.Sleep(100 * time.Millisecond)
		l.emit("two")
		time.Sleep(time.Second)
		l.want("one", "two")
	})
}
