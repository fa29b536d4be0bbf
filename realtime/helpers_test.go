package realtime

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// client makes a REST client of the portal's application. It does not repeat
// calls: what a subscription makes of a failure is what the tests are about.
func client(t testing.TB, p *pulltest.Portal) *b24pull.Client {
	t.Helper()
	c, err := b24pull.New(b24pull.OAuth(p.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.AccessToken()})), b24pull.WithHTTPClient(p.HTTPClient()), b24pull.WithRetry(b24pull.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newTestLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// telling is an emitter that tells observe.
func telling(observe func(Event)) *emitter {
	return newEmitter(new(counters), func(_ context.Context, e Event) { observe(e) })
}

// midAt is the mid number n of one server's sequence.
func midAt(n uint64) wire.Mid { return wire.Mid{Epoch: 1795421100, Counter: n} }

// after is the cursor of one who has handled message n and all before it.
func after(n uint64) Cursor {
	return Cursor{delivery.Position{Progress: delivery.Progress{Watermark: midAt(n)}, Acked: []wire.Key{{Mid: midAt(n)}}}}
}

// countingStore counts saves, and fails while it is told to.
type countingStore struct {
	MemoryStore
	saves  atomic.Int64
	broken atomic.Bool
}

var errBroken = errors.New("the disk is full")

func (s *countingStore) Save(ctx context.Context, c Cursor) error {
	s.saves.Add(1)
	if s.broken.Load() {
		return errBroken
	}
	return s.MemoryStore.Save(ctx, c)
}

var errHandler = errors.New("the handler failed")

// tally checks a stream of numbered messages.
type tally struct {
	mu         sync.Mutex
	expected   []int
	seen       map[int]int
	last       int
	outOfOrder int
	replayed   int
}

func newTally() *tally { return &tally{seen: make(map[int]int), last: -1} }

// add takes a message and returns how many different ones there are.
func (a *tally) add(t testing.TB, m Message) int {
	params, err := Decode[numbered](m)
	if err != nil {
		t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[params.N]++
	if params.N < a.last && !m.Late { // a late one says so
		a.outOfOrder++
	}
	a.last = params.N
	if m.Replayed {
		a.replayed++
	}
	return len(a.seen)
}

// expect notes that message n was sent and must arrive.
func (a *tally) expect(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = append(a.expected, n)
}

// check says what became of the expected messages, and how many came twice.
func (a *tally) check() (lost, repeated, outOfOrder int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.expected {
		if a.seen[n] == 0 {
			lost++
		}
	}
	for _, times := range a.seen {
		if times > 1 {
			repeated++
		}
	}
	return lost, repeated, a.outOfOrder
}

// count is check for messages 0 to n-1.
func (a *tally) count(n int) (lost, repeated, outOfOrder int) {
	for i := range n {
		a.expect(i)
	}
	return a.check()
}

// soon reconnects without the delays that spare a real server.
func soon(int) time.Duration { return 20 * time.Millisecond }

// noReads is a poll transport that never finds anything.
type noReplays struct{}

func (noReplays) Open(context.Context, transport.Address, transport.Sink) (transport.Conn, error) {
	return nil, transport.ErrSilent
}

// slowPolls makes polls with a mid wait, or trickle, while how says so.
func slowPolls(how func(w http.ResponseWriter, r *http.Request, next http.Handler)) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "mid=") {
				how(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
}

// stallPolls leaves polls with a mid without an answer while stalled is set.
func stallPolls(stalled *atomic.Bool) pulltest.Option {
	return slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if stalled.Load() {
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
}

// passing counts what is asked and answers nothing itself.
func (c *counts) passing() pulltest.Option {
	return c.count(func(http.ResponseWriter, *http.Request) bool { return false })
}

// of is how many of a kind were asked for.
func (c *counts) of(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[kind]
}

// counts counts requests by kind.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func requestKind(r *http.Request) string {
	switch {
	case r.Header.Get("Upgrade") != "":
		return "websocket"
	case strings.HasPrefix(r.URL.Path, "/rest/"):
		return "config"
	case r.Method == http.MethodPost:
		return "confirmation"
	default:
		return "poll"
	}
}

// count counts what is asked, and lets answer take it.
func (c *counts) count(answer func(w http.ResponseWriter, r *http.Request) bool) pulltest.Option {
	c.n = make(map[string]int)
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			c.n[requestKind(r)]++
			c.mu.Unlock()
			if !answer(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	})
}

func (c *counts) bound(t *testing.T, polls, sockets, configs int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%v", c.n)
	if c.n["poll"] > polls || c.n["websocket"] > sockets || c.n["config"] > configs {
		t.Errorf("%v requests, that is too many", c.n)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within a minute", what)
}
