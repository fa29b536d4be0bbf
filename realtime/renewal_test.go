package realtime

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// atOnce is a source that has the portal's config without asking for it.
type atOnce struct{ *pulltest.Portal }

func (s atOnce) GetApplicationConfig(context.Context, bool) (*b24pull.Config, error) {
	cfg := new(b24pull.Config)
	return cfg, cfg.UnmarshalJSON(s.ConfigJSON())
}

// TestRenewal_ReplacedTwice: channels that are replaced before they could be
// connected to are read all the same.
func TestRenewal_ReplacedTwice(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithGather(0))
		l.subscribe(atOnce{l.portal})
		l.run(nil)
		<-l.sub.Ready()
		l.network.SetLatency(100 * time.Millisecond)
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		l.emit("one")
		l.portal.ReplaceChannel(pulltest.Private)
		l.emit("two")
		l.portal.ExpireChannel(pulltest.Shared, "get_config") // whose answer is there before the first is connected
		l.emit("three")
		time.Sleep(time.Minute)
		l.want("two", "three", "one") // read last: it came over what nobody was connected to
	})
}

// TestRenewal_OldEndIsRead: what is sent over replaced channels, by a part of
// the portal that has not noticed, is found even where the connection to them
// is gone.
func TestRenewal_OldEndIsRead(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithBackoff(soon))
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(time.Second)
		l.portal.Cut()
		l.portal.EmitOld(pulltest.Message{Command: "over the old one"})
		l.emit("over the new one")
		time.Sleep(time.Minute)
		l.want("over the new one", "over the old one")
		if n := countEvents[Gap](l); n > 0 {
			t.Errorf("%d gaps", n)
		}
	})
}

// TestRenewal_NewBeginningIsRead: what was sent over a new channel before
// anybody told of it arrives, although the cursor has passed its place
// meanwhile.
func TestRenewal_NewBeginningIsRead(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		got := 0
		shared := func(seconds int) {
			for range seconds {
				l.portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
				got++
				time.Sleep(time.Second)
				if got%20 == 0 {
					l.portal.Ping() // so that it is read
				}
			}
		}
		shared(60)
		l.portal.ReplaceChannel(pulltest.Private)
		l.emit("over the new one")
		shared(60)
		l.portal.ExpireConfig() // and with the next config the new channel is known
		shared(180)
		commands := l.commands()
		if n := len(commands); n != got+1 || !slices.Contains(commands, "over the new one") {
			t.Errorf("%d messages, want %d; that over the new channel: %v", n, got+1, slices.Contains(commands, "over the new one"))
		}
	})
}

// TestRenewal_ForeignExpiry: the end of a channel that is not ours holds
// nothing up.
func TestRenewal_ForeignExpiry(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		time.Sleep(10 * time.Second)
		l.portal.Control("channel_expire", map[string]any{"action": "get_config", "channel": map[string]string{"id": "0123456789abcdef0123456789abcdef", "type": "private"}}, pulltest.Private)
		time.Sleep(time.Second)
		l.emit("at once")
		time.Sleep(500 * time.Millisecond)
		l.want("at once")
		if n := l.portal.Stats().Configs; n != 1 {
			t.Errorf("%d configs fetched", n)
		}
	})
}

// TestRenewal_PlaceOfSource: no source has the place at a gate of one that was
// before it, whatever memory it lies in, and each keeps its own.
func TestRenewal_PlaceOfSource(t *testing.T) {
	seen := make(map[string]bool)
	for n := range 2000 {
		l := new(loop)
		place := l.renewal.gateHost()
		if seen[place] {
			t.Fatalf("source %d has the place of another one: %q", n, place)
		}
		if again := l.renewal.gateHost(); again != place {
			t.Fatalf("a source has the places %q and %q", place, again)
		}
		seen[place] = true
		if n%500 == 0 {
			runtime.GC()
		}
	}
}
