package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// keptSpec is what a server of a backlog is to be.
type keptSpec struct {
	Version, Size int
	Before        int // messages that are kept at the beginning
	Missed        int // more of them that are kept later
}

// keptCounts is what a server of a backlog has sent.
type keptCounts struct{ Polls, Messages, Bytes int64 }

// A keeper is a push server that keeps many messages, publishedAt a second, and
// sends nothing live. It writes its answers as they are read, out of a block of
// messages in which it changes ids and times.
type keeper struct {
	framing framing
	block   []keptMessage
	before  int
	total   atomic.Int64 // messages kept
	missed  int
	cut     atomic.Pointer[chan struct{}] // closed to cut the websockets

	polls, messages, bytes atomic.Int64
}

// publishedAt is how many messages a second were published.
const publishedAt = 5000

// keptMessage is a message as it stands in a frame.
type keptMessage struct {
	text      []byte
	mid, time int // where they stand in it; time is -1 where there is none
}

// keeperMain is the life of a server process: it says on stdout where it is,
// and at the end of stdin what it has sent.
func keeperMain(spec keptSpec, stdin io.Reader, stdout io.Writer) error {
	f, ok := framingOf(spec.Version)
	if !ok {
		return fmt.Errorf("there is no version %d", spec.Version)
	}
	k := &keeper{framing: f, before: spec.Before, missed: spec.Missed}
	k.total.Store(int64(spec.Before))
	k.cut.Store(new(make(chan struct{})))
	for n := range 1000 {
		text := f.message(midOf(n), bodyOf(n, spec.Size))
		k.block = append(k.block, keptMessage{text, bytes.Index(text, k.mid(n)), bytes.Index(text, k.time(created))})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/sub/", k.subscribe)
	mux.HandleFunc("/go", func(w http.ResponseWriter, _ *http.Request) {
		k.total.Store(int64(k.before + k.missed))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		close(*k.cut.Swap(new(make(chan struct{}))))
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewServer(mux)
	says := json.NewEncoder(stdout)
	if err := says.Encode(address{URL: server.URL, Version: spec.Version}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, stdin); err != nil {
		return err
	}
	return says.Encode(keptCounts{k.polls.Load(), k.messages.Load(), k.bytes.Load()})
}

// mid is the id of a message as it stands in a frame.
func (k *keeper) mid(n int) []byte {
	if k.framing.version != 4 {
		return []byte(midOf(n))
	}
	id, err := hex.DecodeString(midOf(n))
	if err != nil {
		panic(err)
	}
	return id
}

// time is a second as it stands in a frame.
func (k *keeper) time(unix int64) []byte {
	switch k.framing.version {
	case 4:
		return binary.LittleEndian.AppendUint32(nil, uint32(unix))
	case 5:
		return []byte("no message has this")
	default:
		return time.Unix(unix, 0).UTC().AppendFormat(nil, http.TimeFormat)
	}
}

func (k *keeper) subscribe(w http.ResponseWriter, r *http.Request) {
	if websocket.IsWebSocketUpgrade(r) {
		silent := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := silent.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		cut := *k.cut.Load()
		go func() {
			<-cut
			ws.Close()
		}()
		for err == nil {
			_, _, err = ws.NextReader()
		}
		return
	}
	k.polls.Add(1)
	first, total := 0, int(k.total.Load())
	if mid := r.URL.Query().Get("mid"); mid >= midOf(0) {
		_, _ = fmt.Sscanf(strings.TrimLeft(mid[10:], "0"), "%d", &first)
	}
	if first >= total { // servers hold it
		<-r.Context().Done()
		return
	}
	out := bufio.NewWriterSize(w, sendAtOnce)
	k.write(out, first, total)
	_ = out.Flush()
}

// write writes the messages from one to another in one frame.
func (k *keeper) write(out *bufio.Writer, from, to int) {
	begin, between, end := "", "", ""
	if k.framing.version == 5 {
		begin, between, end = "[", ",", "]"
	}
	_, _ = out.WriteString(begin)
	var second int64
	var at []byte
	var message []byte
	size := 0
	for n := from; n < to; n++ {
		if unix := int64(created - (k.before+k.missed-n)/publishedAt); unix != second {
			second, at = unix, k.time(unix)
		}
		m := &k.block[n%len(k.block)]
		message = append(message[:0], m.text...)
		copy(message[m.mid:], k.mid(n))
		if m.time >= 0 {
			copy(message[m.time:], at)
		}
		if n > from {
			_, _ = out.WriteString(between)
		}
		if _, err := out.Write(message); err != nil {
			break
		}
		k.messages.Add(1)
		size += len(message)
	}
	_, _ = out.WriteString(end)
	k.bytes.Add(int64(size))
}
