package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// A pushServer is one with many channels. It takes as little of the machine as
// it can.
type pushServer struct {
	server   *httptest.Server
	begun    time.Time
	channels []*pushChannel
}

// A pushChannel is one of them: message 0 was kept before there was a connection.
type pushChannel struct {
	n    int
	busy bool         // its messages do not say when they were sent, but which they are
	ids  string       // how those of its messages begin
	pad  string       // in each of them
	last atomic.Int64 // message that was published

	mu sync.Mutex
	ws *websocket.Conn
	at []time.Time // when each was sent
}

// newPushServer listens to real sockets where l is nil.
func newPushServer(b testing.TB, channels int, l net.Listener) *pushServer {
	s := &pushServer{begun: time.Now()}
	ids := fmt.Sprintf("%010d", s.begun.Unix())
	for n := range channels {
		s.channels = append(s.channels, &pushChannel{n: n, busy: n == 0, ids: ids, at: []time.Time{s.begun}})
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.subscribe))
	if l != nil {
		s.server.Listener.Close()
		s.server.Listener = l
	}
	s.server.Start()
	b.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

func channelID(n int) string { return fmt.Sprintf("%032x:%032x.signature", n+1, n+1<<20) }

// config leads to a channel.
func (s *pushServer) config(b testing.TB, n int) *b24pull.Config {
	now, address := time.Now(), s.server.URL+"/sub/"
	text := fmt.Sprintf(`{"server":{"version":3,"server_enabled":true,"mode":"personal","websocket_enabled":true,"publish_enabled":false,
		"websocket":%q,"long_polling":%q},"api":{"revision_web":19,"revision_mobile":3},
		"channels":{"private":{"id":%q,"type":"private","start":%q,"end":%q}},"serverTime":%[4]q,"exp":%[6]d}`,
		strings.Replace(address, "http", "ws", 1), address, channelID(n), now.Format(time.RFC3339), now.Add(12*time.Hour).Format(time.RFC3339), now.Add(12*time.Hour).Unix())
	config := new(b24pull.Config)
	err := json.Unmarshal([]byte(text), config)
	if err != nil {
		b.Fatal(err)
	}
	return config
}

func (s *pushServer) subscribe(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("CHANNEL_ID")[:32], 16, 64)
	if err != nil {
		panic(err)
	}
	c := s.channels[n-1]
	if !websocket.IsWebSocketUpgrade(r) {
		c.poll(w, r)
		return
	}
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c.mu.Lock()
	c.ws = ws
	c.mu.Unlock()
	for {
		if _, _, err := ws.NextReader(); err != nil {
			return
		}
	}
}

// poll answers what came after a position, bit by bit, or holds the request.
func (c *pushChannel) poll(w http.ResponseWriter, r *http.Request) {
	first := int64(0)
	if mid := r.URL.Query().Get("mid"); len(mid) == 26 && mid > c.ids {
		first, _ = strconv.ParseInt(mid[10:], 10, 64)
	}
	if last := c.last.Load(); first <= last {
		for ; first <= last; first += 100 {
			if _, err := w.Write(c.frame(first, min(last, first+99))); err != nil {
				return
			}
		}
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(40 * time.Second):
		w.WriteHeader(http.StatusNotModified)
	}
}

// frame has some messages.
func (c *pushChannel) frame(first, last int64) []byte {
	var b []byte
	c.mu.Lock()
	sent := c.at[0].UTC().Format(http.TimeFormat)
	c.mu.Unlock()
	for n := first; n <= last; n++ {
		at := n
		if !c.busy {
			c.mu.Lock()
			at = c.at[n].UnixNano()
			c.mu.Unlock()
		}
		b = append(b, `#!NGINXNMS!#{"id":1,"mid":"`...)
		b = append(b, c.ids...)
		for div := int64(1e15); div > 0; div /= 10 {
			b = append(b, byte('0'+(n+1)/div%10))
		}
		b = append(b, `","channel":"`...)
		b = append(b, channelIDs[c.n][:32]...)
		b = append(b, `","tag":"1","time":"`...)
		b = append(b, sent...)
		b = append(b, `","text":{"module_id":"application","command":"tick","params":{"at":"`...)
		b = strconv.AppendInt(b, at, 10)
		b = append(b, `","pad":"`...)
		b = append(b, c.pad...)
		b = append(b, `"},"extra":{"server_time_unix":`...)
		b = append(b, strings.TrimLeft(c.ids, "0")...)
		b = append(b, `.5}}}#!NGINXNME!#`...)
	}
	return b
}

var channelIDs = func() (all [1000]string) {
	for n := range all {
		all[n] = channelID(n)
	}
	return all
}()

// send publishes so many messages in one frame.
func (c *pushChannel) send(n int64) {
	first := c.last.Load() + 1
	c.mu.Lock()
	for range n {
		if !c.busy {
			c.at = append(c.at, time.Now())
		}
	}
	ws := c.ws
	c.mu.Unlock()
	c.last.Add(n)
	if ws != nil {
		_ = ws.SetWriteDeadline(time.Now().Add(time.Second))
		if err := ws.WriteMessage(websocket.TextMessage, c.frame(first, first+n-1)); err != nil {
			ws.Close()
			c.mu.Lock()
			if c.ws == ws {
				c.ws = nil
			}
			c.mu.Unlock()
		}
	}
}

// BenchmarkFairness measures how long a message of a quiet portal takes from its
// sending to its handler: 999 have one a second each, and beside them is one
// with 50,000 a second, or none. b.N messages of the quiet ones are measured:
// give -benchtime=10000x. The server runs in the same process, and takes its
// share of the machine.
func BenchmarkFairness(b *testing.B) {
	for _, bench := range []struct {
		name string
		rate int // of the firehose, a second
		slow time.Duration
	}{
		{"alone", 0, 0},
		{"firehose", 50_000, 0},
		{"firehose with a slow handler", 50_000, 10 * time.Millisecond},
	} {
		b.Run(bench.name, func(b *testing.B) { benchmarkFairness(b, bench.rate, bench.slow) })
	}
}

// sentAt is the number that a message has for the time at which it was sent.
func sentAt(m realtime.Message) (int64, error) {
	var p struct{ At string }
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return 0, err
	}
	return strconv.ParseInt(p.At, 10, 64)
}

func benchmarkFairness(b *testing.B, rate int, slow time.Duration) {
	s := newPushServer(b, 1000, nil)
	var mu sync.Mutex
	var took []time.Duration
	var flood atomic.Int64
	all := make(chan struct{})
	quiet := func(_ context.Context, m realtime.Message) error {
		now := time.Now()
		at, err := sentAt(m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if took = append(took, now.Sub(time.Unix(0, at))); len(took) == b.N {
			close(all)
		}
		return nil
	}
	firehose := func(context.Context, realtime.Message) error {
		flood.Add(1)
		time.Sleep(slow)
		return nil
	}
	ready := make(chan struct{}, 1000)
	f, err := New(WithObserver(func(e Event) {
		if e.Kind == KindReady {
			ready <- struct{}{}
		}
	}))
	if err != nil {
		b.Fatal(err)
	}
	for n := range s.channels {
		h := realtime.HandlerFunc(quiet)
		if n == 0 {
			h = firehose
		}
		if err := f.Add(fmt.Sprint(n), realtime.FromConfig(s.config(b, n)), h); err != nil {
			b.Fatal(err)
		}
	}
	for range s.channels {
		<-ready
	}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	every := func(d time.Duration, f func(n int)) {
		sending.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
					f(n)
				case <-stop:
					return
				}
			}
		})
	}
	begun := time.Now()
	if rate > 0 {
		every(time.Millisecond, func(int) { s.channels[0].send(int64(rate) / 1000) })
	}
	b.ResetTimer()
	every(time.Millisecond, func(n int) { s.channels[1+n%999].send(1) })
	<-all
	b.StopTimer()
	seconds := time.Since(begun).Seconds()
	close(stop)
	sending.Wait()
	mu.Lock()
	slices.Sort(took)
	for name, d := range map[string]time.Duration{"p50": took[len(took)/2], "p99": took[len(took)*99/100], "max": took[len(took)-1]} {
		b.ReportMetric(float64(d.Microseconds())/1000, name+"-ms")
	}
	mu.Unlock()
	b.ReportMetric(float64(flood.Load())/seconds, "flood/s")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = f.Shutdown(ctx) // what the firehose has left is of no interest
}
