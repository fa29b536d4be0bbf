package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/b24pull/b24pull/examples/recipes/internal/killtest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func TestMain(m *testing.M) { killtest.Main(m, main) }

// TestKilled: however often the program is killed, each event is in the stream,
// once and in order.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := 25
	if testing.Short() {
		kills = 5
	}
	for _, version := range []int{1, 4} { // without ids, and with
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			broker, portal := startBroker(t), newPortal(t, pulltest.WithVersion(version))
			js := broker.connect(t)
			published := broker.program(t, portal).Kills(kills, publisher(portal, version), func(published int) bool { return stored(t, js) >= published })
			check(t, js, published)
			t.Logf("%d kills, %d events", kills, published)
		})
	}
}

// TestBrokerRestarts: while the NATS server is away and comes back the program
// goes on, and what it has published without an answer is there once.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	program := broker.program(t, portal).Start()
	publish, n := publisher(portal, 4), 0
	for range 3 {
		for range 100 {
			n++
			publish(n)
		}
		program.Handled(20)
		broker.restart(t)
	}
	js := broker.connect(t)
	program.Run(func() bool { return stored(t, js) >= n })
	program.Stop()
	check(t, js, n)
}

// TestLostCursor: where the position is lost the events of a day come again,
// and are dropped.
func TestLostCursor(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	js := broker.connect(t)
	program, publish, n := broker.program(t, portal), publisher(portal, 4), 0
	for range 3 {
		for range 20 {
			n++
			publish(n)
		}
		p := program.Start()
		p.Handled(n)
		p.Stop()
		if err := js.DeleteKeyValue(t.Context(), positions); err != nil {
			t.Fatal(err)
		}
	}
	check(t, js, n)
}

// TestIDsRepeat: what a push server publishes after it was restored from a
// backup has ids that were there before, and is none of what had them then.
func TestIDsRepeat(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	js := broker.connect(t)
	program := broker.program(t, portal).Start()
	publish, n := publisher(portal, 4), 0
	for range 3 {
		for range 20 {
			n++
			publish(n)
		}
		program.Run(func() bool { return stored(t, js) >= n })
		portal.SetBack(12)
	}
	program.Stop()
	check(t, js, n)
}

// TestTooLarge: an event that the NATS server, or the stream, does not take is
// passed over, and what comes after it is forwarded.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	const most = 16 << 10
	for name, start := range map[string]func() *broker{
		"server": func() *broker { return startBroker(t, most) },
		"stream": func() *broker {
			b := startBroker(t)
			makeStream(t, b.connect(t), jetstream.StreamConfig{Duplicates: window, MaxMsgSize: most})
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			broker, portal := start(), newPortal(t)
			js := broker.connect(t)
			program := broker.program(t, portal).Start()
			publish, n := publisher(portal, 4), 0
			for range 5 {
				n++
				portal.Emit(pulltest.Message{Command: "order.paid", Params: map[string]any{"cents": n, "why": strings.Repeat("x", 20<<10)}})
				publish(n)
			}
			program.Run(func() bool { return stored(t, js) >= n })
			program.Stop()
			check(t, js, n)
		})
	}
}

// TestLongCommand: an event whose command is longer than a subject may be is
// forwarded, and so is what comes after it.
func TestLongCommand(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	js := broker.connect(t)
	program := broker.program(t, portal).Start()
	portal.Emit(pulltest.Message{Command: strings.Repeat("x", 5000), Params: map[string]int{"cents": 1}})
	publisher(portal, 4)(2)
	program.Run(func() bool { return stored(t, js) >= 2 })
	program.Stop()
	check(t, js, 2)
}

// TestBucket: the bucket of positions stays as whoever runs the NATS server has
// made it.
func TestBucket(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	js := broker.connect(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: positions, History: 5}); err != nil {
		t.Fatal(err)
	}
	program := broker.program(t, portal).Start()
	publisher(portal, 4)(1)
	program.Handled(1)
	program.Stop()
	kv, err := js.KeyValue(t.Context(), positions)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := kv.Status(t.Context()); err != nil || status.History() != 5 {
		t.Errorf("the bucket is another: %v", err)
	}
}

// TestGap: that events may be missing is said although the one that bears the
// gap is not forwarded.
func TestGap(t *testing.T) {
	t.Parallel()
	broker, portal := startBroker(t), newPortal(t)
	program := broker.program(t, portal).Start()
	publish := publisher(portal, 4)
	publish(1)
	program.Handled(1)
	portal.Forget()
	if _, err := portal.Cut(); err != nil {
		t.Fatal(err)
	}
	portal.EmitAsClient(pulltest.Message{Command: "order.paid"})
	publish(2)
	program.Handled(1)
	program.Stop()
	program.Told("events may be missing")
}

// TestShortWindow: a stream that forgets message ids too soon is refused.
func TestShortWindow(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	js := broker.connect(t)
	makeStream(t, js, jetstream.StreamConfig{})
	broker.program(t, newPortal(t)).Start().Failed("nats stream edit PORTAL --dupe-window=24h")
}

func TestSubject(t *testing.T) {
	for want, m := range map[string]realtime.Message{
		"portal.application.order.paid":         {Module: "application", Command: "order.paid"},
		"portal.im.message_add":                 {Module: "im", Command: "message add"},
		"portal.im._.a._.b_":                    {Module: "im", Command: "*.a..b\n"},
		"portal._._":                            {},
		"portal.a_b._":                          {Module: "a.b", Command: ">"},
		"portal.im.______":                      {Module: "im", Command: "привет"},
		"portal.im" + strings.Repeat(".x", 495): {Module: "im", Command: strings.Repeat("x.", 5000)},
	} {
		if got := subject(m); got != want {
			t.Errorf("the subject of %q %q is %q, want %q", m.Module, m.Command, got, want)
		}
	}
}

func newPortal(t *testing.T, opts ...pulltest.Option) *pulltest.Portal {
	portal := pulltest.NewPortal(opts...)
	t.Cleanup(portal.Close)
	return portal
}

// publisher publishes payments of 1, 2, 3 … cents, and among them, from version
// 4 on, what users' browsers say.
func publisher(portal *pulltest.Portal, version int) func(n int) {
	return func(n int) {
		portal.Emit(pulltest.Message{Command: "order.paid", Params: map[string]int{"cents": n}})
		if version >= 4 && n%10 == 7 {
			portal.EmitAsClient(pulltest.Message{Command: "order.paid", Params: map[string]int{"cents": 1_000_000}})
		}
	}
}

// broker is a NATS server of the test's own, with JetStream on the disk.
type broker struct {
	opts   server.Options
	server *server.Server
}

// startBroker may be given how large a message it takes.
func startBroker(t *testing.T, most ...int32) *broker {
	t.Helper()
	b := &broker{opts: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}}
	for _, n := range most {
		b.opts.MaxPayload = n
	}
	b.start(t)
	_, port, _ := strings.Cut(b.server.Addr().String(), ":")
	b.opts.Port, _ = strconv.Atoi(port)
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	opts := b.opts // the server changes them
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	b.server = s
}

func (b *broker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *broker) restart(t *testing.T) {
	t.Helper()
	b.stop()
	b.start(t)
}

func (b *broker) connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(b.server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (b *broker) program(t *testing.T, portal *pulltest.Portal) *killtest.Program {
	return killtest.New(t, portal, []string{"NATS_URL=" + b.server.ClientURL()}, nil)
}

// makeStream makes the stream in another way than the program does.
func makeStream(t *testing.T, js jetstream.JetStream, c jetstream.StreamConfig) {
	t.Helper()
	c.Name, c.Subjects = streamName, []string{"portal.>"}
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// stored is how many events there are.
func stored(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	stream, err := js.Stream(t.Context(), streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(stream.CachedInfo().State.Msgs)
}

// check wants the first so many events of a publisher in the stream.
func check(t *testing.T, js jetstream.JetStream, published int) {
	t.Helper()
	consumer, err := js.OrderedConsumer(t.Context(), streamName, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	n := stored(t, js)
	seen, last, disordered := map[int]bool{}, 0, 0
	for range n {
		msg, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		var event realtime.Message
		if err := json.Unmarshal(msg.Data(), &event); err != nil {
			t.Fatal(err)
		}
		paid, err := realtime.Decode[struct{ Cents int }](event)
		if err != nil || msg.Subject() != subject(event) {
			t.Errorf("%s has %s: %v", msg.Subject(), msg.Data(), err)
		}
		if paid.Cents < last {
			disordered++
		}
		last, seen[paid.Cents] = paid.Cents, true
	}
	if n != published || len(seen) != published || seen[1_000_000] || disordered != 0 {
		t.Errorf("%d events of %d in the stream, %d distinct, %d out of order", n, published, len(seen), disordered)
	}
}

// TestRun_Errors: where there is no NATS server that is said, and no password.
func TestRun_Errors(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	for _, address := range []string{
		"nats://ada:s3cr3t@127.0.0.1:1", "nats://ada:s3cr3t@127.0.0.1:port", "nats://ada:s3cr3t%zz@127.0.0.1", "://s3cr3t",
	} {
		t.Setenv("NATS_URL", address)
		err := run(t.Context(), io.Discard)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Error("no error, or one that tells a secret")
		} else if !strings.HasPrefix(err.Error(), "connecting to NATS: ") {
			t.Error(err)
		}
	}
}
