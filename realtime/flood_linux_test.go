package realtime

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

const (
	// maxResident is what a subscription of default options, and the process
	// around it, take at the most.
	maxResident = 128 << 20
	// floodSize is the number of messages in a flood: more than are remembered,
	// several times.
	floodSize = 1_500_000
	// shortFlood is the number in one where the tests are not to take long.
	shortFlood = 2 * delivery.MaxRemembered
	// maxFloodReads is how many replays are answered with a flood. Version 2
	// reads from some seconds before, and would have all of it anew with each,
	// without end: it is more than are remembered.
	maxFloodReads = 2
)

// flood is the server of a portal that is broken, or in the wrong hands.
type flood struct {
	form    floodForm             // of version 4 if it is zero
	message func(n uint64) []byte // of the flood
	size    uint64                // number of messages, floodSize if it is 0
	history bool                  // it answers the first replays, else it comes live
	reads   atomic.Int32          // that were answered with it
	polls   bool                  // there are no websockets
	sent    atomic.Uint64         // of what comes live: a client that is overrun connects again
	read    chan struct{}         // closed once there has been a replay: what comes before is not taken
	once    sync.Once
}

// unkept says that a message is not kept.
func unkept(b []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), 0)
}

func createdAt(unix uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		return protowire.AppendFixed32(protowire.AppendTag(b, 4, protowire.Fixed32Type), unix)
	}
}

const (
	epochOfFlood = 1795421100
	lastCommand  = "last"
	slowCommand  = "slow"
)

var processFloods = map[string]*flood{
	"not kept":   {message: func(n uint64) []byte { return wiretest.Message(epochOfFlood, n, "c", unkept) }},
	"kept":       {message: func(n uint64) []byte { return wiretest.Message(epochOfFlood, n, "c") }},
	"descending": {message: func(n uint64) []byte { return wiretest.Message(epochOfFlood, 1<<40-n, "c") }},
	"without mids": {message: func(n uint64) []byte {
		id := binary.BigEndian.AppendUint64(nil, n)
		b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), id)
		return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), `{"command":"c"}`)
	}},
	"large behind many": {message: func(n uint64) []byte { // for a user who has become slow
		if n < floodSize*31/32 {
			return wiretest.Message(epochOfFlood, n, "c")
		}
		return wiretest.Message(epochOfFlood, n, slowCommand+strings.Repeat("x", 20_000))
	}},
	"polls": {polls: true, size: 1_200_000, message: func(n uint64) []byte { return wiretest.Message(epochOfFlood, n, "c") }},
	"history of one second": {history: true, message: func(n uint64) []byte {
		return wiretest.Message(epochOfFlood, n, "c", createdAt(epochOfFlood))
	}},
}

// batchOf writes a frame of many messages, from the first on.
func (f *flood) batchOf(w io.Writer, first, many uint64) error {
	return f.form.frame(w, func(yield func([]byte) bool) {
		for n := first; n < first+many && yield(f.message(n)); n++ {
		}
	})
}

// serve answers reads and sends the flood over the first websocket, then a last
// message, again and again.
func (f *flood) serve(w http.ResponseWriter, r *http.Request) {
	const many = 1 << 14
	last := func(w io.Writer) error { return f.form.frame(w, slices.Values([][]byte{f.form.last()})) }
	if !websocket.IsWebSocketUpgrade(r) {
		n := f.sent.Load()
		switch after := f.form.after(r.URL.Query()); {
		case f.polls && n < f.size:
			_ = f.batchOf(w, f.sent.Add(many)-many+1, many)
		case f.polls:
			_ = last(w)
		case f.history && after.Epoch < epochOfFlood-1 && f.reads.Add(1) <= maxFloodReads:
			_ = f.batchOf(w, 1, f.size)
		default: // hardly any history
			var kept [][]byte
			for n := uint64(1); n <= 2; n++ {
				if after.Less(wire.Mid{Epoch: epochOfFlood - 1, Counter: n}) {
					kept = append(kept, f.form.message(wire.Mid{Epoch: epochOfFlood - 1, Counter: n}, "c"))
				}
			}
			_ = f.form.frame(w, slices.Values(kept))
		}
		f.once.Do(func() { close(f.read) })
		return
	}
	c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	go func() { // answers pings
		for {
			if _, _, err := c.NextReader(); err != nil {
				return
			}
		}
	}()
	send := func(write func(io.Writer) error) error {
		frame, err := c.NextWriter(f.form.kind)
		if err != nil {
			return err
		}
		if err := write(frame); err != nil {
			return err
		}
		return frame.Close()
	}
	select {
	case <-f.read:
		time.Sleep(time.Second)
	case <-r.Context().Done():
		return
	}
	for !f.history && f.sent.Load() < f.size {
		n := f.sent.Add(many) - many
		if send(func(w io.Writer) error { return f.batchOf(w, n+1, many) }) != nil {
			return
		}
	}
	for send(last) == nil {
		select {
		case <-r.Context().Done():
			return
		default:
		}
	}
}

// TestFlood_FloodedProcess: however a server floods a process with a
// subscription of default options, that stays small.
func TestFlood_FloodedProcess(t *testing.T) {
	const variable = "B24PULL_TEST_FLOOD"
	if at := os.Getenv(variable); at != "" {
		version, _ := strconv.Atoi(os.Getenv(variable + "_VERSION"))
		floodedProcess(t, at, version, os.Getenv(variable+"_POLLS") == "true")
		return
	}
	if testing.Short() {
		t.Skip("millions of messages")
	}
	t.Parallel()
	var all sync.WaitGroup // a client that is overrun waits most of the time
	defer all.Wait()
	floods := maps.Clone(processFloods)
	maps.Copy(floods, jsonFloods)
	if !resttest.Thorough { // one of each framing, and small
		for name, f := range floods {
			if !slices.Contains([]string{"kept", "text", "JSON-RPC"}, name) {
				delete(floods, name)
			}
			f.size = shortFlood
		}
	}
	for name, f := range floods {
		all.Go(func() {
			t.Run(name, func(t *testing.T) { f.run(t, variable) })
		})
	}
}

// run floods a child, this program, that is told by the variable.
func (f *flood) run(t *testing.T, variable string) {
	f.read, f.once = make(chan struct{}), sync.Once{} // anew each time the test runs
	f.sent.Store(0)
	f.reads.Store(0)
	f.size = cmp.Or(f.size, floodSize)
	if f.form.version == 0 {
		f.form = protoFlood
	}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	defer server.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFlood_FloodedProcess$", "-test.v")
	child.Env = append(os.Environ(), variable+"="+server.Listener.Addr().String(), "GOMEMLIMIT=off", "GOGC=100",
		fmt.Sprintf("%s_VERSION=%d", variable, f.form.version), fmt.Sprintf("%s_POLLS=%t", variable, f.polls))
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var resident, messages int
	for line := range strings.Lines(string(out)) {
		_, _ = fmt.Sscanf(line, "resident %d messages %d", &resident, &messages)
	}
	t.Logf("%d MB resident, %d messages", resident>>20, messages)
	if resident == 0 || resident > maxResident {
		t.Errorf("%d bytes resident", resident)
	}
	least := delivery.MaxRemembered
	if !resttest.Thorough {
		least /= 2 // on a slow machine much is lost, while a client that is overrun connects again
	}
	if !f.history && messages < least {
		t.Errorf("%d messages are no flood", messages)
	}
}

// floodedProcess takes the flood, up to the last message.
func floodedProcess(t *testing.T, at string, version int, polls bool) {
	sub, err := Subscribe(FromConfig(&b24pull.Config{
		Server:   b24pull.Server{Version: version, WebSocketEnabled: !polls, WebSocket: "ws://" + at + "/", LongPolling: "http://" + at + "/"},
		Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "s3cr3t-channel"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	messages := receive(t, sub)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(peak)[0])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("resident %d messages %d\n", kilobytes<<10, messages)
}

// receive counts messages up to the last.
func receive(t *testing.T, sub *Subscription) (messages int) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // or it would never be known what it waits for
	defer cancel()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			t.Fatalf("after %d messages it is %v: %v", messages, sub.State(), err)
		}
		switch {
		case m.Command == lastCommand:
			return messages
		case strings.HasPrefix(m.Command, slowCommand):
			time.Sleep(time.Millisecond)
		}
		messages++
	}
	return messages
}
