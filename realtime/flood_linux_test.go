package realtime

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull"
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
)

// flood is the server of a version 4 portal that is broken, or in the wrong
// hands.
type flood struct {
	message func(n uint64) []byte // of the flood
	history bool                  // it answers the first read, else it comes live
	sent    atomic.Uint64         // of what comes live: a client that is overrun connects again
	read    chan struct{}         // closed once there has been a read: what comes before is not taken
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
		if n < floodSize*7/8 {
			return wiretest.Message(epochOfFlood, n, "c")
		}
		return wiretest.Message(epochOfFlood, n, slowCommand+strings.Repeat("x", 20_000))
	}},
	"history of one second": {history: true, message: func(n uint64) []byte {
		return wiretest.Message(epochOfFlood, n, "c", createdAt(epochOfFlood))
	}},
}

// batchOf writes a ResponseBatch of many messages, from the first on.
func batchOf(w io.Writer, first, many uint64, message func(n uint64) []byte) error {
	for n := first; n < first+many; n += 64 {
		var group [][]byte
		for i := n; i < n+64; i++ {
			group = append(group, message(i))
		}
		if _, err := w.Write(wiretest.Frame(group)); err != nil {
			return err
		}
	}
	return nil
}

// serve answers reads and sends the flood over the first websocket, then a last
// message, again and again.
func (f *flood) serve(w http.ResponseWriter, r *http.Request) {
	last := wiretest.Message(epochOfFlood, 1<<41, lastCommand, unkept)
	if !websocket.IsWebSocketUpgrade(r) {
		after, _ := wire.MidFromDigits([]byte(r.URL.Query().Get("mid")))
		if f.history && after.IsZero() {
			_ = batchOf(w, 1, floodSize, f.message)
		} else { // hardly any history
			var kept [][]byte
			for n := uint64(1); n <= 2; n++ {
				if after.Less(wire.Mid{Epoch: epochOfFlood - 1, Counter: n}) {
					kept = append(kept, wiretest.Message(epochOfFlood-1, n, "c"))
				}
			}
			_, _ = w.Write(wiretest.Frame(kept))
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
		frame, err := c.NextWriter(websocket.BinaryMessage)
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
	const many = 1 << 14
	for !f.history && f.sent.Load() < floodSize {
		n := f.sent.Add(many) - many
		if send(func(w io.Writer) error { return batchOf(w, n+1, many, f.message) }) != nil {
			return
		}
	}
	for send(func(w io.Writer) error { _, err := w.Write(wiretest.Frame([][]byte{last})); return err }) == nil {
		select {
		case <-r.Context().Done():
			return
		default:
		}
	}
}

// TestFloodedProcess: however a server floods a process with a subscription of
// default options, that stays small.
func TestFloodedProcess(t *testing.T) {
	const variable = "B24PULL_TEST_FLOOD"
	if at := os.Getenv(variable); at != "" {
		floodedProcess(t, at)
		return
	}
	if testing.Short() {
		t.Skip("millions of messages")
	}
	t.Parallel()
	var all sync.WaitGroup // a client that is overrun waits most of the time
	defer all.Wait()
	for name, f := range processFloods {
		all.Go(func() {
			t.Run(name, func(t *testing.T) { f.run(t, variable) })
		})
	}
}

// run floods a child, this program, that is told by the variable.
func (f *flood) run(t *testing.T, variable string) {
	f.read = make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	defer server.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFloodedProcess$", "-test.v")
	child.Env = append(os.Environ(), variable+"="+server.Listener.Addr().String(), "GOMEMLIMIT=off", "GOGC=100")
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
	if !f.history && messages < maxRemembered {
		t.Errorf("%d messages are no flood", messages)
	}
}

// floodedProcess takes the flood, up to the last message.
func floodedProcess(t *testing.T, at string) {
	sub, err := Subscribe(FromConfig(&b24pull.Config{
		Server:   b24pull.Server{Version: 4, WebSocketEnabled: true, WebSocket: "ws://" + at + "/", LongPolling: "http://" + at + "/"},
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
