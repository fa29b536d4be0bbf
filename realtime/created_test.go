package realtime

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// listenAsText opens a websocket in text framing to the application's channels,
// as the official example clients do, and reads on until the test ends.
func (l *life) listenAsText() {
	l.t.Helper()
	listenAsText(l.t, l.portal)
}

func listenAsText(t *testing.T, portal *pulltest.Portal) {
	t.Helper()
	var ids []string
	for _, kind := range []string{"private", "shared"} {
		ids = append(ids, channel(t, portal, kind)["id"].(string))
	}
	through := portal.HTTPClient().Transport.(*http.Transport)
	dialer := websocket.Dialer{NetDialContext: through.DialContext, TLSClientConfig: through.TLSClientConfig}
	url := "wss" + strings.TrimPrefix(portal.PushURL(), "https") + "/sub/?CHANNEL_ID=" + strings.Join(ids, "%2F")
	ws, _, err := dialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal("a text-mode subscriber was refused")
	}
	t.Cleanup(func() { ws.Close() })
	go func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
}

// times counts the messages that have a time, and checks that it is about when
// they were sent.
func (l *life) times(sent map[string]time.Time) (known int) {
	l.t.Helper()
	l.commands()
	for _, m := range l.messages {
		if m.Time.IsZero() {
			continue
		}
		known++
		if off := m.Time.Sub(sent[m.Command]).Abs(); off > 2*time.Second {
			l.t.Errorf("%s bears %v, sent at %v (replayed %v)", m.Command, m.Time, sent[m.Command], m.Replayed)
			return known
		}
	}
	return known
}

// TestCreated_TextModeListener: while somebody listens in text mode, live
// messages of a version 4 server bear any time. None is delivered, what the
// history brings has the right one, and nothing is lost or comes twice over
// cuts and a restart.
func TestCreated_TextModeListener(t *testing.T) {
	t.Parallel()
	for name, portal := range map[string][]pulltest.Option{
		"": nil, "without polling": {pulltest.WithoutPolling()}, "clock": {pulltest.WithClockShift(13 * time.Hour)},
	} {
		for _, transport := range []Transport{TransportWebSocket, TransportLongPolling} {
			if name == "without polling" && transport == TransportLongPolling {
				continue
			}
			t.Run(name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					shift := time.Duration(0)
					if name == "clock" {
						shift = 13 * time.Hour
					}
					store := new(MemoryStore)
					l.open(portal...)
					l.listenAsText()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					sent, n := make(map[string]time.Time), 0
					emit := func(rounds int) {
						for range rounds {
							command := "n" + time.Now().Format("150405.000000")
							sent[command] = time.Now().Add(shift)
							n++
							l.portal.Emit(pulltest.Message{Command: command, To: []pulltest.Target{pulltest.Private, pulltest.Shared}[n%2]})
							time.Sleep(300 * time.Millisecond)
							if n%100 == 0 {
								l.portal.Cut()
								l.listenAsText()
								emitBurst(l, sent, &n, shift)
							}
						}
					}
					run := func() (end func()) {
						l.subscribe(nil, WithCursorStore(store), WithTransport(transport), WithBackoff(soon))
						done := make(chan struct{})
						sub := l.sub
						go func() {
							defer close(done)
							_ = sub.Run(ctx, HandlerFunc(func(_ context.Context, m Message) error {
								l.mu.Lock()
								defer l.mu.Unlock()
								l.messages = append(l.messages, m)
								return nil
							}))
						}()
						<-sub.Ready()
						return func() { sub.Close(); <-done }
					}
					stop := run()
					emit(resttest.Rounds(1000))
					if lag := l.sub.Stats().Lag; lag.Abs() > 14*time.Hour {
						t.Errorf("lag %v", lag)
					}
					stop()
					emit(100)
					stop = run()
					emit(resttest.Rounds(500))
					time.Sleep(3 * time.Minute)
					stop()
					counts := make(map[string]int)
					for _, m := range l.messages {
						counts[m.Command]++
					}
					lost, repeated := 0, 0
					for command := range sent {
						lost += max(0, 1-counts[command])
						repeated += max(0, counts[command]-1)
					}
					if lost+repeated > 0 || countEvents[Gap](l) > 0 {
						t.Errorf("lost %d, repeated %d of %d; %d gaps", lost, repeated, len(sent), countEvents[Gap](l))
					}
					known := l.times(sent)
					replayed := 0
					for _, m := range l.messages {
						if m.Replayed {
							replayed++
						}
					}
					if known == 0 || known < replayed*9/10 || known == len(l.messages) {
						t.Errorf("%d of %d bear a time; %d came from the history", known, len(l.messages), replayed)
					}
				})
			})
		}
	}
}

// emitBurst sends some messages at once.
func emitBurst(l *life, sent map[string]time.Time, n *int, shift time.Duration) {
	for range 20 {
		command := "b" + time.Now().Format("150405.000000")
		sent[command] = time.Now().Add(shift)
		*n++
		l.portal.Emit(pulltest.Message{Command: command})
		time.Sleep(time.Millisecond)
	}
}

// TestCreated_TextModeOnSockets: the same over real sockets.
func TestCreated_TextModeOnSockets(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()

	for _, transport := range []Transport{TransportWebSocket, TransportLongPolling} {
		all.Go(func() {
			t.Run(transport.String(), func(t *testing.T) {
				o := runOnSockets(t, nil, WithTransport(transport))
				listenAsText(t, o.portal)
				none := 0
				// By polls a message that comes between two of them is from the history.
				for i := 0; i < 5 || i < 200 && none == 0; i++ {
					time.Sleep(10 * time.Millisecond)
					o.portal.Emit(pulltest.Message{Command: "live"})
					m := o.want("live")[0]
					switch {
					case m.Time.IsZero():
						none++
					case time.Since(m.Time) > time.Hour:
						t.Errorf("a message bears %v", m.Time)
					}
				}
				o.portal.Cut()
				o.portal.Emit(pulltest.Message{Command: "missed"})
				m := o.want("missed")[0]
				if none == 0 || !m.Time.IsZero() && time.Since(m.Time) > time.Hour {
					t.Errorf("%d live ones without a time; that from the history bears %v", none, m.Time)
				}
			})
		})
	}
}
