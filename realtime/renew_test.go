package realtime

import (
	"context"
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

// TestReplacedTwice: channels that are replaced before they could be connected to are read all the same.
func TestReplacedTwice(t *testing.T) {
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
