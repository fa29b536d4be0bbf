package realtime

import (
	"context"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// stuckAt is a handler that does not come back from one command before the end.
func stuckAt(command string) HandlerFunc {
	return func(ctx context.Context, m Message) error {
		if m.Command == command {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
}

// TestGaps_GapUnhandledOfReplaced: what was received over channels that have
// been replaced, and not handled before the end of the process, cannot be read
// again over the new ones.
func TestGaps_GapUnhandledOfReplaced(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithChannelLife(time.Hour))
		store := new(MemoryStore)
		l.subscribe(nil, WithCursorStore(store))
		l.run(stuckAt("stuck"))
		<-l.sub.Ready()
		l.emit("before")
		time.Sleep(50 * time.Minute)
		l.emit("stuck")
		l.emit("behind it")
		time.Sleep(40 * time.Minute)
		if n := countEvents[Renewal](l); n == 0 {
			t.Fatal("nothing was renewed")
		}
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		next := l.goOn(store, nil)
		time.Sleep(10 * time.Minute)
		if gaps := lifeEvents[Gap](next); len(gaps) != 1 || gaps[0].Reason != GapChannelReplaced {
			t.Errorf("handled %q, gaps %+v", next.commands(), gaps)
		}
	})
}

// TestGaps_NoGapAfterRenewal: a restart finds the channels that the process
// before it went over to, once all of the old ones is handled.
func TestGaps_NoGapAfterRenewal(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.open(pulltest.WithChannelLife(time.Hour), pulltest.WithVersion(version))
		store := new(MemoryStore)
		l.subscribe(nil, WithCursorStore(store))
		l.run(nil)
		<-l.sub.Ready()
		l.tickFor(90*time.Minute, time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		l.emit("missed")
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want("missed")
		if gaps := lifeEvents[Gap](next); len(gaps) > 0 {
			t.Errorf("gaps %+v", gaps)
		}
	})
}

// TestGaps_GapOutlastsRenewal: a gap whose bearer is not handled yet is not
// forgotten when channels are renewed.
func TestGaps_GapOutlastsRenewal(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(MemoryStore)
		l.start([]pulltest.Option{pulltest.WithChannelLife(time.Hour)}, WithCursorStore(store))
		l.emit("one")
		time.Sleep(time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		l.emit("at the old end")
		l.portal.ReplaceChannel(pulltest.Private)
		second := l.goOn(store, stuckAt("two"))
		<-second.sub.Ready()
		time.Sleep(50 * time.Minute)
		second.emit("two")
		time.Sleep(40 * time.Minute)
		if err := second.stop(); err != nil {
			t.Fatal(err)
		}
		third := l.goOn(store, nil)
		time.Sleep(10 * time.Minute)
		third.emit("three")
		time.Sleep(time.Minute)
		if got := third.commands(); third.messages[0].Gap == nil {
			t.Errorf("handled %q, gaps %+v", got, lifeEvents[Gap](third))
		}
	})
}

// TestGaps_NoGapOfTheShortLived: messages that live for a minute only are gone
// soon, and that is no loss where reads follow each other.
func TestGaps_NoGapOfTheShortLived(t *testing.T) {
	t.Parallel()
	burst := func(l *life) {
		for range 3 {
			l.portal.Emit(pulltest.Message{Command: "short", Expiry: time.Minute})
			time.Sleep(100 * time.Millisecond)
		}
	}
	t.Run("cuts", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.start(nil, WithBackoff(soon))
			for range shorter(50, 15) {
				burst(l)
				time.Sleep(97 * time.Second)
				l.portal.CutWebSockets()
				time.Sleep(5 * time.Minute)
			}
			if n := countEvents[Gap](l); n > 0 {
				t.Errorf("%d gaps", n)
			}
		})
	})
	t.Run("restarts", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			store := new(MemoryStore)
			l.start(nil, WithCursorStore(store))
			for run := l; run.ticks < 20; run.ticks++ {
				burst(run)
				time.Sleep(90 * time.Second)
				if err := run.stop(); err != nil {
					t.Fatal(err)
				}
				if n := countEvents[Gap](run); n > 0 {
					t.Fatalf("%d gaps", n)
				}
				next := run.goOn(store, nil)
				next.ticks = run.ticks
				run = next
				time.Sleep(20 * time.Second)
			}
		})
	})
}

// hanging is a source that gives a config once, and then does not come back
// before its context ends.
type hanging struct {
	ConfigSource
	given bool
}

func (s *hanging) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	if s.given {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.given = true
	return s.ConfigSource.GetApplicationConfig(ctx, cache)
}

// TestGaps_DoubtIsShort: a portal that does not answer does not keep the config
// in hand from being used, nor does one that refuses.
func TestGaps_DoubtIsShort(t *testing.T) {
	t.Parallel()
	for name, refuses := range map[string]bool{"no answer": false, "a refusal": true} {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				source := ConfigSource(client(t, l.portal))
				if !refuses {
					source = &hanging{ConfigSource: source}
				}
				l.subscribe(source, WithHTTPClient(l.portal.HTTPClient()))
				l.run(nil)
				<-l.sub.Ready()
				if refuses {
					l.portal.Misbehave(pulltest.REST, pulltest.RESTError(500, "SERVER_ERROR"))
				}
				l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
				l.portal.Cut()
				time.Sleep(3 * time.Minute)
				l.portal.Behave(pulltest.WebSockets | pulltest.Polls)
				time.Sleep(2 * time.Minute)
				if s := l.sub.State(); s != StateLive {
					t.Errorf("the state is %v, %v", s, l.err)
				}
			})
		})
	}
}

// TestGaps_SwallowedPolls: where polls go nowhere and a websocket does, the
// history is read by that, and nothing is believed to have expired.
func TestGaps_SwallowedPolls(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithBackoff(func(int) time.Duration { return 5 * time.Second }))
		l.tickFor(10*time.Minute, 10*time.Second)
		l.portal.Misbehave(pulltest.Polls, pulltest.Stall)
		for range 6 {
			l.portal.CutWebSockets()
			l.tickFor(10*time.Minute, shorter(1*time.Second, 5*time.Second))
		}
		time.Sleep(5 * time.Minute)
		if lost, repeated, _ := l.ticked(); lost+repeated+countEvents[Gap](l) > 0 {
			t.Errorf("lost %d, repeated %d of %d, gaps %+v", lost, repeated, l.ticks, lifeEvents[Gap](l))
		}
	})
}

// TestGaps_UndecodableAtTheEnd: a message at the end of the history that cannot
// be decoded is told once, and asked for no more often than another.
func TestGaps_UndecodableAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(nil, WithTransport(transport))
				l.emit("one")
				time.Sleep(10 * time.Minute)
				l.portal.Emit(pulltest.Message{Body: "no json"})
				time.Sleep(time.Minute)
				before := l.portal.Stats().Polls
				time.Sleep(2 * time.Hour)
				if n := countEvents[Undecodable](l); n != 1 {
					t.Errorf("told %d times", n)
				}
				if n := l.portal.Stats().Polls - before; n > 700 {
					t.Errorf("%d polls in two hours", n)
				}
			})
		})
	}
}
