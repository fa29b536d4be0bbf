package realtime

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// since is what has been counted between two looks.
func since(before, after Stats) Stats {
	after.Messages -= before.Messages
	after.Bytes -= before.Bytes
	after.Repeats -= before.Repeats
	after.Replays -= before.Replays
	after.BrokenReplays -= before.BrokenReplays
	after.Found -= before.Found
	after.Undecodable -= before.Undecodable
	after.Gaps -= before.Gaps
	after.Renewals -= before.Renewals
	for cause, n := range before.Reconnects {
		if after.Reconnects[cause] -= n; after.Reconnects[cause] == 0 {
			delete(after.Reconnects, cause)
		}
	}
	return after
}

// TestStats_Count: what happens moves the counters that it should, and no
// others.
func TestStats_Count(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		happens func(l *life)
		want    Stats // Bytes: whether there were some
	}{
		{"nothing", func(*life) {}, Stats{}},
		{"messages", func(l *life) { l.tick(); l.tick(); l.tick() }, Stats{Messages: 3, Bytes: 1}},
		{"a repeat", func(l *life) { l.portal.Emit(pulltest.Message{To: pulltest.Both}) }, Stats{Messages: 1, Bytes: 1, Repeats: 1}},
		{"undecodable", func(l *life) { l.portal.Emit(pulltest.Message{Body: "{"}) }, Stats{Undecodable: 1}},
		{"a ping", func(l *life) { l.portal.Ping() }, Stats{Replays: 1}},
		{"a message dropped by a ping", func(l *life) {
			l.network.SetLatency(20 * time.Millisecond)
			l.portal.Ping()
			l.tick()
		}, Stats{Messages: 1, Bytes: 1, Replays: 1, Found: 1}},
		{"cut", func(l *life) { l.portal.Cut() }, Stats{Replays: 1, Reconnects: map[Cause]uint64{CauseNetwork: 1}}},
		{"missed", func(l *life) { l.portal.Cut(); l.tick(); l.tick() },
			Stats{Messages: 2, Bytes: 1, Replays: 1, Found: 2, Reconnects: map[Cause]uint64{CauseNetwork: 1}}},
		{"a replay that breaks off", func(l *life) {
			l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
			l.portal.Ping()
			synctest.Wait()
			l.portal.Behave(pulltest.Polls)
		}, Stats{Replays: 1, BrokenReplays: 1}},
		{"closed", func(l *life) { l.portal.CloseWebSockets(1001, "") }, Stats{Replays: 1, Reconnects: map[Cause]uint64{CauseClosed: 1}}},
		{"crowded", func(l *life) { l.portal.CloseWebSockets(4029, "") }, Stats{Replays: 1, Reconnects: map[Cause]uint64{CauseCrowded: 1}}},
		{"channels refused", func(l *life) { l.portal.CloseWebSockets(4010, "") },
			Stats{Replays: 1, Renewals: 1, Reconnects: map[Cause]uint64{CauseConfig: 1}}},
		{"channels refused, and no config", func(l *life) {
			l.portal.Misbehave(pulltest.REST, pulltest.BadGateway)
			l.portal.CloseWebSockets(4010, "")
			time.Sleep(3 * time.Second)
			l.portal.Behave(pulltest.REST)
		}, Stats{Replays: 1, Renewals: 1, Reconnects: map[Cause]uint64{CauseConfig: 2}}},
		{"refused", func(l *life) {
			l.portal.Misbehave(pulltest.WebSockets, pulltest.Refuse(503))
			l.portal.CutWebSockets()
			time.Sleep(3 * time.Second)
			l.portal.Behave(pulltest.WebSockets)
		}, Stats{Replays: 1, Reconnects: map[Cause]uint64{CauseNetwork: 1, CauseRefused: 1}}},
		{"stuck", func(l *life) {
			l.portal.Misbehave(pulltest.WebSockets, pulltest.Stall)
			for l.sub.State() == StateLive {
				time.Sleep(100 * time.Millisecond)
			}
			l.portal.Behave(pulltest.WebSockets)
		}, Stats{Replays: 1, Reconnects: map[Cause]uint64{CauseStuck: 1}}},
		{"a channel replaced", func(l *life) { l.portal.ExpireChannel(pulltest.Private, "get_config") },
			Stats{Replays: 2, Renewals: 1}}, // of the new channels and of the old ones' end
		{"a renewal that fails first", func(l *life) {
			l.portal.Misbehave(pulltest.REST, pulltest.BadGateway)
			l.portal.ExpireChannel(pulltest.Private, "get_config")
			synctest.Wait()
			l.portal.Behave(pulltest.REST)
		}, Stats{Replays: 2, Renewals: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithPingInterval(0)})
				l.tick()
				time.Sleep(10 * time.Minute)
				l.portal.Ping() // so that the cursor stands on a message
				time.Sleep(20 * time.Second)
				before := l.sub.Stats()
				tt.happens(l)
				time.Sleep(100 * time.Second) // less than until a replay by timer
				synctest.Wait()
				got := since(before, l.sub.Stats())
				if (got.Bytes > 0) != (tt.want.Bytes > 0) {
					t.Errorf("%d bytes", got.Bytes)
				}
				got.Bytes, got.Lag = tt.want.Bytes, 0
				if !maps.Equal(got.Reconnects, tt.want.Reconnects) {
					t.Errorf("reconnects %v, want %v", got.Reconnects, tt.want.Reconnects)
				}
				got.Reconnects, tt.want.Reconnects = nil, nil
				if gotWithout, want := statsLine(got), statsLine(tt.want); gotWithout != want {
					t.Errorf("counted %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// statsLine is the Stats without the maps, to be compared.
func statsLine(s Stats) [9]uint64 {
	return [9]uint64{s.Messages, s.Bytes, s.Repeats, s.Replays, s.BrokenReplays, s.Found, s.Undecodable, s.Gaps, s.Renewals}
}

// TestStats_OfPauses: a full queue is a cause to reconnect, and a gap.
func TestStats_OfPauses(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		l.sub.queue.MaxMessages = 3
		l.run(func(context.Context, Message) error {
			time.Sleep(time.Second)
			return nil
		})
		<-l.sub.Ready()
		for range 10 {
			l.tick()
		}
		time.Sleep(time.Minute)
		l.commands()
		s := l.sub.Stats()
		if s.Messages != 10 || s.Gaps == 0 || s.Gaps != uint64(countEvents[Gap](l)) {
			t.Errorf("%d messages, %d gaps, %d told", s.Messages, s.Gaps, countEvents[Gap](l))
		}
		if n := uint64(len(l.changes(StatePaused))); n == 0 || s.Reconnects[CausePaused] != n {
			t.Errorf("reconnects %v, paused %d times", s.Reconnects, n)
		}
	})
}

// TestStats_OfLag: from the portal's clock to the arrival; what only a replay
// finds does not count.
func TestStats_OfLag(t *testing.T) {
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(nil, WithTransport(transport))
				if lag := l.sub.Stats().Lag; lag != 0 {
					t.Errorf("before any message the lag is %v", lag)
				}
				time.Sleep(time.Minute)
				l.network.SetLatency(300 * time.Millisecond)
				time.Sleep(time.Minute)
				l.tick()
				time.Sleep(5 * time.Second)
				if lag := l.sub.Stats().Lag; lag < 250*time.Millisecond || lag > time.Second {
					t.Errorf("the lag is %v", lag)
				}
				l.network.SetLatency(0)
				time.Sleep(time.Minute)
				l.tick()
				time.Sleep(5 * time.Second)
				if lag := l.sub.Stats().Lag; lag > 50*time.Millisecond {
					t.Errorf("the lag is %v afterwards", lag)
				}
			})
		})
	}
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithClockShift(-time.Hour)})
		time.Sleep(time.Minute) // no replay is under way, which may show it first
		l.tick()
		time.Sleep(time.Second)
		if lag := l.sub.Stats().Lag; lag < time.Hour || lag > time.Hour+time.Second {
			t.Errorf("with a clock an hour behind the lag is %v", lag)
		}
		time.Sleep(time.Minute)
		l.portal.CutWebSockets()
		l.portal.Emit(pulltest.Message{Expiry: time.Hour})
		time.Sleep(time.Minute)
		if s := l.sub.Stats(); s.Found != 1 || s.Lag > time.Hour+time.Second {
			t.Errorf("found %d, the lag is %v", s.Found, s.Lag)
		}
	})
}

// TestStats_Attempts: a replay that breaks off tells how many did so before it,
// and is logged as a warning when it is the third.
func TestStats_Attempts(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var told lines
		l.start(nil, WithTransport(TransportWebSocket), WithLogger(slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))))
		time.Sleep(time.Minute)
		synctest.Wait()
		before := len(lifeEvents[ReplayEnded](l))
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.Ping()
		for len(lifeEvents[ReplayEnded](l)) < before+patience {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		l.portal.Behave(pulltest.Polls)
		time.Sleep(time.Minute)
		synctest.Wait()
		var attempts []int
		for _, e := range lifeEvents[ReplayEnded](l)[before:] {
			attempts = append(attempts, e.Attempt)
			if e.Err == nil {
				break
			}
		}
		if want := []int{1, 2, 3, 4}; !slices.Equal(attempts, want) {
			t.Errorf("attempts %d, want %d", attempts, want)
		}
		warned := 0
		told.mu.Lock()
		defer told.mu.Unlock()
		for _, line := range told.told {
			if strings.Contains(line, "msg=replay") {
				warned++
			}
		}
		if warned != 1 {
			t.Errorf("%d warnings of replays: %q", warned, told.told)
		}
	})
}
