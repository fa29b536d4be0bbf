package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// keyring is which key each numbered message has been received with, by all
// receivers of a portal.
type keyring struct {
	t  *testing.T
	mu sync.Mutex

	keys  map[int]string      // by the number of the message
	of    map[string]int      // the number, by the key
	ids   map[string][]int    // which messages had an ID
	named map[string]bool     // whether some replayed and some live message was received
	came  map[int]map[int]int // how often a receiver got a message
}

func newKeyring(t *testing.T) *keyring {
	return &keyring{t: t, keys: make(map[int]string), of: make(map[string]int), ids: make(map[string][]int), named: make(map[string]bool), came: make(map[int]map[int]int)}
}

var keyForm = regexp.MustCompile(`^[0-9]{26}-[0-9a-f]{32}$`)

// add takes a message that a receiver got, and holds it to what Key promises.
func (k *keyring) add(receiver int, m Message) {
	p, err := Decode[numbered](m)
	if err != nil {
		k.t.Error(err)
		return
	}
	key := m.Key()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !keyForm.MatchString(key) || m.ID != "" && !strings.HasPrefix(key, m.ID+"-") {
		k.t.Errorf("key %q of message %q", key, m.ID)
	}
	if before, known := k.keys[p.N]; known && before != key {
		k.t.Errorf("message %d has the key %s and, replayed %v, %s", p.N, before, m.Replayed, key)
	}
	if n, known := k.of[key]; known && n != p.N {
		k.t.Errorf("messages %d and %d have the key %s", n, p.N, key)
	}
	k.keys[p.N], k.of[key] = key, p.N
	if m.ID != "" && !slices.Contains(k.ids[m.ID], p.N) {
		k.ids[m.ID] = append(k.ids[m.ID], p.N)
	}
	k.named[fmt.Sprint(m.Replayed)] = true
	if k.came[receiver] == nil {
		k.came[receiver] = make(map[int]int)
	}
	k.came[receiver][p.N]++

	for name, other := range map[string]Message{"a copy": m.Clone(), "its JSON form": throughJSON(k.t, m)} {
		if other.Key() != key {
			k.t.Errorf("%s has the key %s, not %s", name, other.Key(), key)
		}
	}
}

// throughJSON is what the JSON form of a message says.
func throughJSON(t *testing.T, m Message) (back Message) {
	t.Helper()
	form, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(form, &back)
	}
	if err != nil {
		t.Errorf("%s: %v", form, err)
	}
	return back
}

// receive runs a subscription as a process of its own would, until it is
// stopped.
func (k *keyring) receive(receiver int, source ConfigSource, opts ...Option) (stop func()) {
	k.t.Helper()
	sub, err := Subscribe(source, append(opts, WithBackoff(soon))...)
	if err != nil {
		k.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sub.Run(context.Background(), HandlerFunc(func(_ context.Context, m Message) error {
			k.add(receiver, m)
			return nil
		}))
	}()
	<-sub.Ready()
	return func() {
		sub.Close()
		<-done
	}
}

// TestKey_SameAndDistinct: on every version a message has one key, whoever
// receives it, live or replayed, by whichever transport, before and after cuts
// and restarts; and no other message has it, also where the server has lost its
// data and gives its IDs anew.
func TestKey_SameAndDistinct(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.open(pulltest.WithVersion(version))
		k, n := newKeyring(t), 0
		emit := func(count int) {
			for range count {
				to := []pulltest.Target{pulltest.Private, pulltest.Shared}[n%2]
				m := pulltest.Message{Command: "tick", Params: numbered{n}, To: to}
				if version == 5 && n%3 == 0 {
					m.UserParams, m.Dictionary = map[string]any{"mine": n}, map[string]any{"word": "λ"}
				}
				l.portal.Emit(m)
				n++
				if n%4 == 0 {
					time.Sleep(time.Second / 2)
				}
			}
		}
		store := new(MemoryStore)
		first := k.receive(0, client(t, l.portal), WithTransport(TransportLongPolling), WithCursorStore(store))
		polls := k.receive(1, client(t, l.portal), WithTransport(TransportLongPolling))
		emit(20)
		time.Sleep(2 * time.Second)
		saved, _ := store.Load(t.Context())
		emit(20)
		l.portal.Cut()
		emit(20)
		if err := l.portal.RestartServer(time.Second); err != nil {
			t.Error(err)
		}
		emit(20)
		time.Sleep(10 * time.Second)
		first()
		_ = store.Save(t.Context(), saved) // as if it had been killed, and had not come to save
		emit(20)                           // only replays bring the first receiver these
		second := k.receive(0, client(t, l.portal), WithTransport(TransportWebSocket), WithCursorStore(store))
		emit(20)
		time.Sleep(10 * time.Second)
		later := k.receive(2, client(t, l.portal), WithHistory()) // all is replayed
		time.Sleep(10 * time.Second)
		later()
		kept := n

		if version >= 3 {
			l.portal.SetBack(30)
			emit(40)
			time.Sleep(10 * time.Second)
		}
		l.portal.Forget()
		emit(20)
		time.Sleep(10 * time.Second)
		after := k.receive(3, client(t, l.portal), WithHistory())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		after()
		second()
		polls()
		for receiver, least := range []int{n - 30, n - 30, kept, 10} {
			if got := len(k.came[receiver]); got < least {
				t.Errorf("receiver %d got %d different messages of %d", receiver, got, n)
			}
		}
		repeated := 0
		for _, of := range k.ids {
			if len(of) > 1 {
				repeated++
			}
		}
		if version >= 3 && repeated < 20 {
			t.Errorf("%d IDs came with more than one message: the test tests nothing", repeated)
		}
		again := 0
		for _, times := range k.came[0] {
			again += times - 1
		}
		if again < 40 {
			t.Errorf("%d messages came again after the restart: the test tests nothing", again)
		}
		if !k.named["true"] || !k.named["false"] {
			t.Error("nothing was replayed, or nothing came live")
		}
	})
}

// TestKey_EveryWay: a message has one key by whichever way it comes: live over
// each transport, and out of the history, read by polls or by websockets.
func TestKey_EveryWay(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		l.open(portal...)
		k := newKeyring(t)
		live := k.receive(0, client(t, l.portal), WithTransport(transport))
		any := k.receive(1, client(t, l.portal))
		for n := range 60 {
			l.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{n}})
			if n%20 == 10 {
				l.portal.Cut()
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		replayed := k.receive(2, client(t, l.portal), WithTransport(transport), WithHistory())
		time.Sleep(time.Minute)
		live()
		any()
		replayed()
		for receiver := range 3 {
			if n := len(k.came[receiver]); n != 60 {
				t.Errorf("receiver %d got %d messages", receiver, n)
			}
		}
		if len(k.of) != 60 {
			t.Errorf("%d keys of 60 messages", len(k.of))
		}
	})
}

// TestKey_OtherChannels: an event for several users, each of whom has a channel
// of his own, has one key for all of them where it is one message: from version
// 3 on.
func TestKey_OtherChannels(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		if version < 3 {
			return // a message for each channel
		}
		l.open(pulltest.WithVersion(version))
		k, first := newKeyring(t), client(t, l.portal)
		one := k.receive(0, first)
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: l.portal.Token(2).AccessToken})
		second, err := b24pull.New(b24pull.OAuth(l.portal.URL(), tokens), b24pull.WithHTTPClient(l.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		two := k.receive(1, second, WithTransport(TransportLongPolling))
		for n := range 10 {
			if err := first.AddApplicationEvent(t.Context(), b24pull.ApplicationEvent{Command: "tick", Params: numbered{n}, UserIDs: []int64{1, 2}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		one()
		two()
		if len(k.keys) != 10 || len(k.came[0]) != 10 || len(k.came[1]) != 10 {
			t.Errorf("%d keys, received %d and %d", len(k.keys), len(k.came[0]), len(k.came[1]))
		}
	})
}

// TestKey_OfOtherReleases: keys are kept in databases, so they stay as they
// are.
func TestKey_OfOtherReleases(t *testing.T) {
	t.Parallel()
	body := []byte(`{"module_id":"crm","command":"order","params":{"id":7}}`)
	published := wire.Record{ID: midAt(42).String(), Key: wire.Key{Mid: midAt(42), Sum: 7}, Body: body}
	tagged := wire.Record{Key: wire.Key{Mid: midAt(3), Sum: 7 | wire.FullSum}, Body: body}
	for _, tt := range []struct {
		m    Message
		want string
	}{
		{Message{ID: "17954211000000000000000042", Module: "crm", Command: "order", Params: []byte(`{"id":7}`)}, "17954211000000000000000042-c64075198ee8b4e14ca6301355760cd1"},
		{Message{Module: "crm", Command: "order"}, "e911a2d6f65050af041051787cb830aa"},
		{messageOf(&delivery.Message{Record: published}, nil), "17954211000000000000000042-22c535235ca9dcb21f25d3b17fbc1e4a"},
		{messageOf(&delivery.Message{Record: tagged}, nil), "17954211000000000000000003-e553d053a7f2b818a33fe0ef13097b41"},
	} {
		if got := tt.m.Key(); got != tt.want {
			t.Errorf("the key of %v is %s, want %s", tt.m, got, tt.want)
		}
	}
}

// TestKey_MadeByHand: each field of such a message counts.
func TestKey_MadeByHand(t *testing.T) {
	t.Parallel()
	at := time.Unix(1795421100, 0)
	messages := []Message{
		{}, {ID: "17954211000000000000000042"}, {ID: "1"}, {Module: "a"}, {Command: "a"}, {Module: "a", Command: "b"}, {Module: `a" "b`},
		{Params: []byte("{}")}, {Extra: []byte("{}")}, {Time: at}, {Sender: Sender{Type: SenderBackend}}, {Sender: Sender{Type: SenderClient, ID: "1"}},
	}
	seen := make(map[string]int)
	for i, m := range messages {
		if other, taken := seen[m.Key()]; taken {
			t.Errorf("%+v and %+v have one key", messages[other], m)
		}
		seen[m.Key()] = i
		if key := m.Key(); key != m.Clone().Key() || len(key) > 59 || strings.Trim(key, "0123456789abcdef-") != "" {
			t.Errorf("key %q", key)
		}
	}
	if a, b := (Message{Module: "CRM"}).Key(), (Message{Module: "crm"}).Key(); a != b {
		t.Error("the case of the module counts")
	}
}
