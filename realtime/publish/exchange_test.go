package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestExchange_Cuts: two users publish to each other over real sockets, each of
// them to both, while connections are cut. What was accepted arrives at both
// exactly once.
func TestExchange_Cuts(t *testing.T) { eachExchange(t, false) }

// TestExchange_Official: a third client takes part, the official one for JS.
func TestExchange_Official(t *testing.T) { eachExchange(t, true) }

func eachExchange(t *testing.T, official bool) {
	t.Parallel()
	messages, lasts := 100, time.Second
	if resttest.Thorough {
		messages, lasts = 10_000, 15*time.Second
	}
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			newExchange(t, version, official).run(messages, lasts)
		})
	}
}

// An exchange is of numbered messages, which all go to both users.
type exchange struct {
	t      *testing.T
	portal *pulltest.Portal
	one    *party
	two    *party
	js     *jstest.Client // a second client of user 2; nil if it takes no part
	posts  atomic.Int64
	log    lockedBuffer // of the subscriptions

	mu       sync.Mutex
	accepted map[string]bool // by id
	unknown  map[string]bool // whose fate nobody knows
}

// tick is a message: ids are those of the sender with a number.
type tick struct {
	ID string `json:"id"`
}

// users are who sends under which name.
var users = map[string]int64{"one": 1, "two": 2, "js": 2}

func newExchange(t *testing.T, version int, official bool) *exchange {
	x := &exchange{t: t, accepted: make(map[string]bool), unknown: make(map[string]bool)}
	x.portal = pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithHandler(x.spoil))
	t.Cleanup(x.portal.Close)
	t.Cleanup(x.portal.HTTPClient().CloseIdleConnections)
	if official {
		x.js = officialOf(t, x.portal, 2, false)
	}
	x.one, x.two = x.join(1), x.join(2)
	return x
}

// officialOf is the official JS client of a user.
func officialOf(t testing.TB, portal *pulltest.Portal, user int, polling bool) *jstest.Client {
	t.Helper()
	return jstest.Start(t, jstest.Login{
		Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
		AccessToken: portal.Token(user).AccessToken, User: int64(user), Polling: polling,
	}, 1, 2)
}

// spoil breaks off every fiftieth request to publish: half of them before it is
// carried out, the others after.
func (x *exchange) spoil(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int64(0)
		if kindOf(r) == "publish" {
			n = x.posts.Add(1)
		}
		switch {
		case n == 0 || n%50 != 0:
			next.ServeHTTP(w, r)
			return
		case n%100 == 0:
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	})
}

// A party is a user with a subscription and a publisher.
type party struct {
	sub       *realtime.Subscription
	publisher *Publisher
	done      chan error

	mu  sync.Mutex
	got map[string]int
}

func (x *exchange) join(user int) *party {
	x.t.Helper()
	client := clientOf(x.t, x.portal, user)
	var err error
	p := &party{got: make(map[string]int), done: make(chan error, 1)}
	p.sub, err = realtime.Subscribe(client, realtime.WithLogger(slog.New(slog.NewTextHandler(&x.log, nil))),
		realtime.WithBackoff(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		x.t.Fatal(err)
	}
	if p.publisher, err = New(client, WithSubscription(p.sub)); err != nil {
		x.t.Fatal(err)
	}
	channels, err := client.ListPublicChannels(x.t.Context(), []int64{1, 2}, b24pull.ApplicationChannels)
	if err != nil {
		x.t.Fatal(err)
	}
	p.sub.AddSenders(channels)
	mux := realtime.NewMux()
	mux.HandleDefault(realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		return fmt.Errorf("of the backend: %v", m)
	}))
	realtime.On(mux.FromClients(), "application", "tick", func(_ context.Context, k tick, m realtime.Message) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got[k.ID]++
		from, _, _ := strings.Cut(k.ID, ".")
		if m.Sender.Type != realtime.SenderClient || m.Sender.UserID != users[from] {
			return fmt.Errorf("%s is of a %v of user %d", k.ID, m.Sender.Type, m.Sender.UserID)
		}
		return nil
	})
	go func() { p.done <- p.sub.Run(context.Background(), mux) }()
	<-p.sub.Ready()
	return p
}

// has is how often a message has arrived.
func (p *party) has(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got[id]
}

func (p *party) leave(t *testing.T) {
	t.Helper()
	p.publisher.Close()
	p.sub.Close()
	if err := <-p.done; err != nil {
		t.Errorf("a subscription ended: %v", err)
	}
}

// run has so many messages exchanged within a time, and looks where they are.
func (x *exchange) run(messages int, lasts time.Duration) {
	const workers = 4
	parties := map[string]func(id string) error{"one": x.one.publish(x.t), "two": x.two.publish(x.t)}
	if x.js != nil {
		parties["js"] = func(id string) error {
			return x.js.Publish(x.t.Context(), "tick", tick{id}, time.Hour, 1, 2)
		}
	}
	end := make(chan struct{})
	var cutting, publishing sync.WaitGroup
	cuts := 0
	cutting.Go(func() { cuts = x.cut(end) })
	each := (messages + len(parties)*workers - 1) / (len(parties) * workers)
	for name, publish := range parties {
		for worker := range workers {
			publishing.Go(func() {
				for n := range each {
					id := fmt.Sprintf("%s.%d.%d", name, worker, n)
					x.decide(name, id, publish(id))
					time.Sleep(lasts / time.Duration(each))
				}
			})
		}
	}
	publishing.Wait()
	close(end)
	cutting.Wait()
	x.settle()
	x.one.leave(x.t)
	x.two.leave(x.t)
	x.judge(each*workers*len(parties), cuts)
}

func (p *party) publish(t *testing.T) func(id string) error {
	return func(id string) error {
		return p.publisher.Publish(t.Context(), Message{
			Users: []int64{1, 2}, Module: "application", Command: "tick", Params: tick{id}, Expiry: time.Hour,
		})
	}
}

// cut ends connections by all ways until it is told to end itself, at distances
// within which the official client comes back.
func (x *exchange) cut(end <-chan struct{}) (cuts int) {
	ways := []func(){
		func() { x.portal.Cut() },
		func() { x.portal.CloseWebSockets(1001, "going away") },
		func() { x.portal.CutWebSockets() },
		func() { x.portal.CloseWebSockets(1012, "service restart") },
	}
	for {
		select {
		case <-end:
			return cuts
		case <-time.After(200*time.Millisecond + rand.N(700*time.Millisecond)):
			ways[cuts%len(ways)]()
			cuts++
		}
	}
}

// decide notes what became of a message for who has published it.
func (x *exchange) decide(name, id string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case name == "js":
		// its own error, and on version 4 no word at all
		if err == nil && x.js.Version == 5 {
			x.accepted[id] = true
		} else {
			x.unknown[id] = true
		}
	case err == nil:
		x.accepted[id] = true
	case b24pull.ClassOf(err) == b24pull.ClassUnavailable:
		x.unknown[id] = true
	default:
		x.t.Errorf("%s: %v", id, err)
	}
	if err != nil && strings.Contains(err.Error(), pulltest.SecretMark) {
		x.t.Error("an error tells a secret")
	}
}

// settle waits until what was accepted has arrived, and what was published
// after it.
func (x *exchange) settle() {
	x.t.Helper()
	last := x.one.publish(x.t)
	for last("one.last") != nil && x.t.Context().Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		missing := 0
		x.mu.Lock()
		for id := range x.accepted {
			if x.one.has(id) == 0 || x.two.has(id) == 0 {
				missing++
			}
		}
		x.mu.Unlock()
		if missing == 0 && x.one.has("one.last") > 0 && x.two.has("one.last") > 0 {
			return
		}
	}
}

// judge looks where the messages are. What the official client has heard of its
// own was accepted.
func (x *exchange) judge(messages, cuts int) {
	heard := make(map[string]int)
	if x.js != nil {
		for _, m := range x.js.Received() {
			var k tick
			if err := json.Unmarshal(m.Params, &k); err != nil {
				x.t.Error(err)
			}
			heard[k.ID]++
			if x.unknown[k.ID] && strings.HasPrefix(k.ID, "js.") {
				delete(x.unknown, k.ID)
				x.accepted[k.ID] = true
			}
		}
		for _, trouble := range x.js.Troubles() {
			x.t.Logf("the JS client: %s", trouble)
		}
	}
	lost, repeated := 0, 0
	for _, p := range []*party{x.one, x.two} {
		for id := range x.accepted {
			if n := p.got[id]; n == 0 {
				lost++
			} else if n > 1 {
				repeated++
			}
		}
		for id := range x.unknown {
			if p.got[id] > 1 {
				repeated++
			}
		}
	}
	arrived := 0
	for id := range x.unknown {
		if x.one.got[id]+x.two.got[id] > 0 {
			arrived++
		}
	}
	x.t.Logf("%d messages, %d cuts: %d accepted; %d of unknown fate, of which %d arrived; lost %d, repeated %d",
		messages, cuts, len(x.accepted), len(x.unknown), arrived, lost, repeated)
	if lost+repeated > 0 {
		x.t.Error("accepted messages were lost, or messages arrived twice")
	}
	if len(x.accepted)+len(x.unknown) != messages || len(x.accepted) < messages/2 {
		x.t.Error("too few were accepted")
	}
	if x.js != nil {
		missed, twice := 0, 0
		for id := range x.accepted {
			if heard[id] == 0 {
				missed++
			} else if heard[id] > 1 {
				twice++
			}
		}
		x.t.Logf("the JS client has missed %d of them, and heard %d twice", missed, twice)
		if len(heard) < messages/10 {
			x.t.Errorf("the JS client has heard %d messages", len(heard))
		}
	}
	if told := x.log.String(); !strings.Contains(told, "level=") || strings.Contains(told, pulltest.SecretMark) {
		x.t.Errorf("the log has no lines, or secrets, in %d bytes", len(told))
	}
}

// lockedBuffer is a buffer that many write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
