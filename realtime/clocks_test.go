package realtime

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// changed is a source whose configs are changed.
type changed struct {
	*b24pull.Client
	change func(*b24pull.Config)
}

func (s changed) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	cfg, err := s.Client.GetApplicationConfig(ctx, cache)
	if err != nil {
		return nil, err
	}
	s.change(cfg)
	return cfg, nil
}

// withSource is start with a source whose configs are changed.
func (l *life) withSource(change func(*b24pull.Config), portal ...pulltest.Option) {
	l.t.Helper()
	l.open(portal...)
	l.subscribe(changed{client(l.t, l.portal), change})
	l.run(nil)
	<-l.sub.Ready()
}

// TestClocks_ThatDiffer: the ends of channels are told by the portal's clock,
// however wrong ours is; the config is renewed in time, and nothing is lost
// over several lives.
func TestClocks_ThatDiffer(t *testing.T) {
	t.Parallel()
	lives := []struct {
		version int
		life    time.Duration
	}{{1, time.Hour}, {3, time.Hour}, {4, time.Hour}, {4, 12 * time.Hour}, {5, time.Hour}}
	for _, tt := range lives {
		if testing.Short() && tt.life > time.Hour {
			continue
		}
		for _, shift := range []time.Duration{-13 * time.Hour, -time.Hour, time.Hour, 13 * time.Hour} {
			t.Run(fmt.Sprintf("version %d life %v shift %v", tt.version, tt.life, shift), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					const lives = 3
					l.start([]pulltest.Option{
						pulltest.WithVersion(tt.version), pulltest.WithClockShift(shift), pulltest.WithChannelLife(tt.life),
					})
					l.tickFor(lives*tt.life, tt.life/shorter[time.Duration](100, 30))
					time.Sleep(time.Minute)
					l.wantTicks()
					// the token of a version 5 makes each config another, also
					// some minutes before the end
					if n := l.portal.Stats().Configs; n < 1+lives || n > 1+8*lives {
						t.Errorf("%d configs fetched", n)
					}
					for _, r := range lifeEvents[Renewal](l) {
						if r.Reason != RenewDue || r.Err != nil {
							t.Errorf("renewal %+v", r)
						}
					}
					if n := len(l.changes(StateWaiting)); n > 0 {
						t.Errorf("%d connections lost", n)
					}
				})
			})
		}
	}
}

// TestClocks_RenewedEarly: a portal that makes new channels before the end of
// the old ones, and tells nobody.
func TestClocks_RenewedEarly(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithChannelLife(time.Hour)})
		l.tickFor(57*time.Minute, shorter(10*time.Second, 60*time.Second))
		l.portal.ReplaceChannel(pulltest.Private)
		l.portal.ReplaceChannel(pulltest.Shared)
		// what is sent to the new channels before anyone knows of them
		l.tickFor(13*time.Minute, 10*time.Second)
		l.wantTicks()
		l.tickFor(2*time.Hour, shorter(30*time.Second, 120*time.Second))
		l.wantTicks()
	})
}

// TestClocks_RenewedAtTheEnd: a portal that gives the same channels until their
// end; what goes to those that follow is not lost, and the config is not
// fetched all the time.
func TestClocks_RenewedAtTheEnd(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithChannelLife(time.Hour)})
		l.tickFor(59*time.Minute+50*time.Second, 10*time.Second)
		l.tickFor(30*time.Second, 100*time.Millisecond)
		time.Sleep(time.Minute)
		l.wantTicks()
		if n := l.portal.Stats().Configs; n < 2 || n > 8 {
			t.Errorf("%d configs fetched", n)
		}
	})
}

// TestClocks_ConfigEndsBeforeChannels: exp is an end as well.
func TestClocks_ConfigEndsBeforeChannels(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithConfigLife(time.Hour)})
		l.tickFor(6*time.Hour, shorter(1*time.Minute, 10*time.Minute))
		time.Sleep(time.Minute)
		l.wantTicks()
		if n := l.portal.Stats().Configs; n < 6 || n > 10 { // after 50 to 55 minutes each
			t.Errorf("%d configs fetched", n)
		}
		changes := 0
		for _, r := range lifeEvents[Renewal](l) {
			if r.Changed {
				changes++
			}
		}
		if version < 5 && changes > 0 {
			t.Errorf("%d times other channels", changes)
		}
	})
}

// TestClocks_NoEnds: channels without an end are not renewed by the clock.
func TestClocks_NoEnds(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.withSource(hideEnds)
		l.tickFor(11*time.Hour, shorter(1*time.Minute, 15*time.Minute))
		l.wantTicks()
		if n := l.portal.Stats().Configs; n != 1 {
			t.Errorf("%d configs fetched", n)
		}
	})
}

// hideEnds takes away what a config is renewed by.
func hideEnds(cfg *b24pull.Config) {
	cfg.Expires, cfg.Channels.Private.End, cfg.Channels.Shared.End = time.Time{}, time.Time{}, time.Time{}
}

// TestClocks_EndsInThePast: a portal whose configs have always ended already is
// asked again, not all the time.
func TestClocks_EndsInThePast(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		for _, past := range []time.Duration{0, time.Hour, 100 * 24 * time.Hour} {
			t.Run(fmt.Sprintf("version %d %v", version, past), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.withSource(func(cfg *b24pull.Config) { cfg.Channels.Shared.End = time.Now().Add(-past) }, pulltest.WithVersion(version))
					l.tickFor(time.Hour, 10*time.Second)
					l.wantTicks()
					if n := l.portal.Stats().Configs; n < 10 || n > 80 {
						t.Errorf("%d configs fetched in an hour", n)
					}
				})
			})
		}
	}
}

// day runs 24 hours with channels of 12 and a message every 10 s.
func day(l *life, hide bool) {
	change := func(*b24pull.Config) {}
	if hide {
		change = hideEnds
	}
	l.withSource(change)
	l.tickFor(24*time.Hour, 10*time.Second)
	time.Sleep(time.Minute)
}

// TestClocks_Day: none is lost, none comes twice, all are in order.
func TestClocks_Day(t *testing.T) {
	skipLong(t)
	onVirtualTime(t, func(t *testing.T, l *life) {
		day(l, false)
		l.wantTicks()
		if n := len(l.changes(StateWaiting)); n > 0 {
			t.Errorf("%d connections lost", n)
		}
		if n := len(lifeEvents[Renewal](l)); n < 2 {
			t.Errorf("%d renewals", n)
		}
	})
}

// TestClocks_DayWithoutRenewals is its twin: without the ends there is nothing
// to renew by, and what goes to new channels is lost.
func TestClocks_DayWithoutRenewals(t *testing.T) {
	skipLong(t)
	onVirtualTime(t, func(t *testing.T, l *life) {
		day(l, true)
		if lost, _, _ := l.ticked(); lost < l.ticks/3 {
			t.Errorf("lost %d of %d without renewals: the day has tested nothing", lost, l.ticks)
		}
	})
}
