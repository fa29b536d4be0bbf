package realtime

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestBeginners: what is said of sources and options that are none, in whole.
func TestBeginners(t *testing.T) {
	var all []resttest.Mistake
	add := func(name string, err error) { all = append(all, resttest.Mistake{Name: name, Err: err}) }
	var good b24pull.Config
	if err := good.UnmarshalJSON([]byte(resttest.MarkedConfig)); err != nil {
		t.Fatal(err)
	}
	subscribed := func(name string, source ConfigSource, opts ...Option) {
		sub, err := Subscribe(source, opts...)
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
		}
		add(name, err)
	}
	subscribed("an empty config", FromConfig(new(b24pull.Config)))
	subscribed("a version that is not known", FromConfig(&b24pull.Config{Server: b24pull.Server{Version: 9}}))
	subscribed("no addresses", FromConfig(&b24pull.Config{Server: b24pull.Server{Version: 4}, Channels: good.Channels}))
	subscribed("no channels", FromConfig(&b24pull.Config{Server: good.Server}))
	subscribed("FromConfig: none", FromConfig(nil))
	subscribed("PortalConfig: none", PortalConfig(nil))
	subscribed("Subscribe: no source", nil)
	source := FromConfig(&good)
	subscribed("Subscribe: no option", source, nil)
	subscribed("WithHTTPClient: none", source, WithHTTPClient(nil))
	subscribed("WithLogger: none", source, WithLogger(nil))
	subscribed("WithObserver: none", source, WithObserver(nil))
	subscribed("WithCursorStore: none", source, WithCursorStore(nil))
	subscribed("WithBackoff: none", source, WithBackoff(nil))
	subscribed("WithDialer: none", source, WithDialer(nil))
	subscribed("WithSaveInterval: negative", source, WithSaveInterval(-1))
	subscribed("WithParallel: 0", source, WithParallel(0, nil))
	subscribed("WithPingInterval: nanoseconds", source, WithPingInterval(30))
	subscribed("WithHeader: two lines", source, WithHeader(http.Header{"A": {"s3cr3t\nb"}}))
	resttest.CheckMistakes(t, "testdata/beginners.golden", all)
}
