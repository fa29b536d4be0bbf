package bench

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// serverSpec is what a firehose is to be.
type serverSpec struct {
	Version, Messages, Size, PerFrame int
	Secure                            bool
	Pings                             bool // as push servers do
}

// address is where a firehose is.
type address struct {
	URL         string // http or https
	Version     int
	Certificate string // PEM; "" without TLS
}

func (a *address) secure() bool { return a.Certificate != "" }

// socketURL is where websockets are opened.
func (a *address) socketURL() string { return strings.Replace(a.URL, "http", "ws", 1) + "/sub/" }

// trusted are the certificates to believe; nil: the system's.
func (a *address) trusted() *x509.CertPool {
	if !a.secure() {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.Certificate))
	return pool
}

// config is a portal's answer that leads to the firehose.
func (a *address) config() []byte {
	suffix := ""
	if a.secure() {
		suffix = "_secure"
	}
	now := time.Now()
	config, err := json.Marshal(map[string]any{
		"server": map[string]any{
			"version": a.Version, "server_enabled": true, "mode": "personal", "websocket_enabled": true, "publish_enabled": false,
			"websocket" + suffix: a.socketURL(), "long_polling" + suffix: a.URL + "/sub/",
		},
		"api": map[string]any{"revision_web": 19, "revision_mobile": 3},
		"channels": map[string]any{"private": map[string]any{
			"id": channelID, "type": "private", "start": now.Format(time.RFC3339), "end": now.Add(lifetime).Format(time.RFC3339),
		}},
		"serverTime": now.Format(time.RFC3339), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		panic(err)
	}
	return config
}

// A firehose is a push server that sends one stream to each websocket that is
// open when it is told to go.
type firehose struct {
	stream *stream
	pings  bool
	sent   atomic.Int64 // frames, to the one that is farthest

	mu   sync.Mutex
	open map[*websocket.Conn]bool
}

// serverMain is the life of a server process: it says on stdout where it is,
// and ends at the end of stdin.
func serverMain(spec serverSpec, stdin io.Reader, stdout io.Writer) error {
	f, ok := framingOf(spec.Version)
	if !ok {
		return fmt.Errorf("there is no version %d", spec.Version)
	}
	h := &firehose{stream: newStream(f, spec.Messages, spec.Size, spec.PerFrame), pings: spec.Pings, open: make(map[*websocket.Conn]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("/sub/", h.subscribe)
	mux.HandleFunc("/go", h.start)
	server := httptest.NewUnstartedServer(mux)
	at := address{Version: spec.Version}
	if spec.Secure {
		server.StartTLS()
		at.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	} else {
		server.Start()
	}
	at.URL = server.URL
	if err := json.NewEncoder(stdout).Encode(at); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, stdin)
	return err // the process ends, and all that it serves
}

// subscribe serves the history to polls, and keeps websockets.
func (h *firehose) subscribe(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		h.poll(w, r)
		return
	}
	small := websocket.Upgrader{ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := small.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	h.mu.Lock()
	h.open[ws] = true
	h.mu.Unlock()
	if h.pings {
		defer pinging(ws)()
	}
	for { // confirmations, and pings that the library answers
		if _, _, err := ws.NextReader(); err != nil {
			break
		}
	}
	h.mu.Lock()
	delete(h.open, ws)
	h.mu.Unlock()
}

// pingEvery is the distance of a push server's pings.
const pingEvery = 2 * time.Minute

// pinging has a websocket pinged until stop is called.
func pinging(ws *websocket.Conn) (stop func()) {
	var timer *time.Timer
	started := make(chan struct{})
	timer = time.AfterFunc(pingEvery, func() {
		<-started
		if ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) == nil {
			timer.Reset(pingEvery)
		}
	})
	close(started)
	return func() { timer.Stop() }
}

func (h *firehose) poll(w http.ResponseWriter, r *http.Request) {
	answer := h.stream.after(r.URL.Query().Get("mid"), int(h.sent.Load()))
	if answer == nil { // servers hold it
		select {
		case <-r.Context().Done():
		case <-time.After(40 * time.Second):
			w.WriteHeader(http.StatusNotModified)
		}
		return
	}
	_, _ = w.Write(answer)
}

// start sends the stream.
func (h *firehose) start(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ws := range h.open {
		go h.send(ws.NetConn())
	}
	w.WriteHeader(http.StatusNoContent)
}

// sendAtOnce is about how many bytes are written at once: as a busy server's
// kernel would, and so that the server takes little of the machine.
const sendAtOnce = 64 << 10

func (h *firehose) send(c net.Conn) {
	begun := 0
	for i, end := range h.stream.ends {
		if end-begun < sendAtOnce && i < len(h.stream.ends)-1 {
			continue
		}
		h.sent.Store(int64(i + 1)) // what is written can be read at once
		if _, err := c.Write(h.stream.sent[begun:end]); err != nil {
			h.sent.Store(int64(len(h.stream.ends))) // the rest is published all the same
			return
		}
		begun = end
	}
}
