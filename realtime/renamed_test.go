package realtime

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

const (
	newName     = "renamed.example"
	newPushName = "push.renamed.example"
)

// pushHost is the push server's first name.
func (l *life) pushHost() string {
	u, err := url.Parse(l.portal.PushURL())
	if err != nil {
		l.t.Fatal(err)
	}
	return u.Host
}

// renamedPush is an HTTP client that reaches the push server by its new name as
// well.
func (l *life) renamedPush() *http.Client {
	through := *l.portal.HTTPClient()
	transport := through.Transport.(*http.Transport).Clone()
	former := l.pushHost()
	transport.TLSClientConfig.InsecureSkipVerify = true // its certificate has the old one
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, newPushName) {
			addr = former + ":443"
		}
		return l.network.DialContext(ctx, network, addr)
	}
	through.Transport = transport
	l.t.Cleanup(transport.CloseIdleConnections)
	return &through
}

// TestRenamed_Portal: a portal whose name changes, and that of its push server
// with it or not, is the same one as long as its channels are: nothing is lost,
// nothing comes again, and no gap is told, in a run and over a restart.
func TestRenamed_Portal(t *testing.T) {
	t.Parallel()
	for name, pushToo := range map[string]bool{"portal": false, "push server": true} {
		t.Run(name, func(t *testing.T) {
			onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
				store, renamed := new(MemoryStore), false
				var former string
				source := func() ConfigSource {
					return changed{client(t, l.portal), func(cfg *b24pull.Config) {
						if renamed && pushToo {
							renamePush(cfg, former)
						}
					}}
				}
				l.open(portal...)
				former = l.pushHost()
				through := l.renamedPush()
				run := func() {
					l.subscribe(source(), WithTransport(transport), WithCursorStore(store), WithHTTPClient(through))
					l.run(nil)
					select {
					case <-l.sub.Ready():
					case <-l.done:
						t.Fatalf("%v; gaps %+v", l.err, lifeEvents[Gap](l))
					}
				}
				run()
				l.tickFor(15*time.Minute, shorter(2*time.Second, 10*time.Second)) // longer than what is behind the cursor is remembered
				l.portal.Move(newName)
				renamed = true
				l.portal.ExpireConfig()
				l.tickFor(5*time.Minute, shorter(2*time.Second, 10*time.Second))
				l.portal.ExpireChannel(pulltest.Private, "get_config")
				l.portal.ExpireChannel(pulltest.Shared, "get_config")
				l.tickFor(5*time.Minute, shorter(2*time.Second, 10*time.Second))
				time.Sleep(time.Minute)
				if err := l.stop(); err != nil {
					t.Fatal(err)
				}
				l.portal.Move("again.example")
				l.tickFor(time.Minute, shorter(2*time.Second, 10*time.Second))
				before := l
				l = l.again()
				l.ticks, l.messages, l.events = before.ticks, before.messages, before.events
				run()
				l.tickFor(time.Minute, shorter(2*time.Second, 10*time.Second))
				time.Sleep(time.Minute)
				l.wantTicks()
			})
		})
	}
}

// TestRenamed_WhileDown: where the push server has another name after a
// restart, nobody can say whether it is the same one. That is told, and all
// that is kept is read.
func TestRenamed_WhileDown(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(MemoryStore)
		l.start(nil, WithCursorStore(store))
		l.tickFor(time.Minute, time.Second)
		time.Sleep(time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		former, through := l.pushHost(), l.renamedPush()
		l.portal.Move(newName)
		l.tickFor(time.Minute, time.Second)
		next := l.again()
		next.ticks, next.messages = l.ticks, slices.Clone(l.messages)
		next.subscribe(changed{client(t, l.portal), func(cfg *b24pull.Config) { renamePush(cfg, former) }}, WithCursorStore(store), WithHTTPClient(through))
		next.run(nil)
		time.Sleep(time.Minute)
		if lost, _, _ := next.ticked(); lost > 0 {
			t.Errorf("lost %d of %d", lost, next.ticks)
		}
		if n := changedServers(next); n != 1 || countEvents[Gap](next) != 1 || next.messages[len(l.messages)].Gap == nil {
			t.Errorf("%d gaps", n)
		}
	})
}

// renamePush gives the push server of a config its new name.
func renamePush(cfg *b24pull.Config, former string) {
	for _, at := range []*string{&cfg.Server.WebSocketSecure, &cfg.Server.LongPollingSecure} {
		*at = strings.Replace(*at, former, newPushName, 1)
	}
}

// TestRenamed_AndReplaced: where the channels are other ones as well, what is
// lost is told. A portal of the cloud is known by its clientId; any other
// counts as another portal.
func TestRenamed_AndReplaced(t *testing.T) {
	t.Parallel()
	replaceAll := func(l *life) {
		l.portal.Move(newName)
		l.portal.ReplaceChannel(pulltest.Private)
		l.portal.ReplaceChannel(pulltest.Shared)
	}
	for _, shared := range []bool{false, true} {
		var portal []pulltest.Option
		name := "personal"
		if shared {
			name, portal = "shared", append(portal, pulltest.WithSharedMode())
		}
		t.Run(name+" in a run", func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(portal)
				l.tickFor(15*time.Minute, 2*time.Second)
				replaceAll(l)
				l.portal.EmitOld(pulltest.Message{Module: "pull", Command: "config_expire"})
				l.tickFor(5*time.Minute, 2*time.Second)
				time.Sleep(time.Minute)
				lost, repeated, _ := l.ticked()
				if gaps := changedServers(l); lost+repeated > 0 || shared == (gaps > 0) || countEvents[Gap](l) != gaps {
					t.Errorf("lost %d, repeated %d; %d gaps: %+v", lost, repeated, gaps, lifeEvents[Gap](l))
				}
			})
		})
		t.Run(name+" over a restart", func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				store := new(MemoryStore)
				l.start(portal, WithCursorStore(store))
				l.tickFor(15*time.Minute, 2*time.Second)
				time.Sleep(time.Minute)
				if err := l.stop(); err != nil {
					t.Fatal(err)
				}
				replaceAll(l)
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				if !shared {
					if !errors.Is(next.err, ErrCursorMismatch) || !strings.Contains(next.err.Error(), "WithHistory") {
						t.Errorf("Run returned %v", next.err)
					}
					return
				}
				next.emit("after")
				time.Sleep(time.Minute)
				next.want("after")
				synctest.Wait()
				if g := next.messages[0].Gap; g == nil || g.Reason != GapChannelReplaced {
					t.Errorf("the gap is %+v", g)
				}
			})
		})
	}
}
