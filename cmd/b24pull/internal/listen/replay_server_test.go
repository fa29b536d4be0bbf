package listen

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A replayServer is a push server made of recordings: what it sends are the
// bytes and headers that a real one sent, cut and joined between messages and
// nowhere else.
//
// It begins with what was kept before the first of its live messages. Once that
// history has been read by the client and somebody listens, it sends the live
// messages, and then comes to keep all there is: at once to a poll, to a
// websocket when the client's ping shows that it has taken them. That the client
// has read the history it says itself, by being ready.
type replayServer struct {
	*httptest.Server
	t       *testing.T
	version int
	polling bool // the live messages go to a hanging poll, not to a websocket
	channel string
	nobody  string // a channel on which nothing is sent
	binary  *tape
	text    *tape
	refusal struct{ poll, socket recording }
	silence recording     // a poll without an answer
	hold    time.Duration // how long it takes to be one

	mu        sync.Mutex
	read      bool // the client has read the history
	listening bool
	live      chan struct{} // closed to send the live messages
	all       chan struct{} // closed when everything is kept
}

// A tape is what a server has to say, in one framing.
type tape struct {
	binary bool
	kept   []message
	before int // how many of them stand before the live ones
	live   recording
	answer recording // of a poll; only its head is used
}

func newTape(t *testing.T, dir, answer, live string, kept ...string) *tape {
	tape := &tape{live: loadRecording(t, dir, live), answer: loadRecording(t, dir, answer)}
	for _, name := range kept {
		tape.kept = append(tape.kept, loadRecording(t, dir, name).messages(t)...)
	}
	tape.binary = tape.live.Frames[0].Type == "binary"
	tape.before = slices.IndexFunc(tape.kept, tape.live.messages(t)[0].same)
	if tape.before < 0 {
		t.Fatalf("%s is not among the messages kept", live)
	}
	return tape
}

// start starts the server, with or without TLS.
func (s *replayServer) start(secure bool) {
	s.live, s.all = make(chan struct{}), make(chan struct{})
	s.hold = 40 * time.Second
	s.Server = httptest.NewUnstartedServer(s)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	s.t.Cleanup(s.Close)
}

// paths are where the server of a version listens for polls and for websockets.
func (s *replayServer) paths() (poll, socket string) {
	if s.version < 3 {
		return "/sub/", "/subws/"
	}
	return "/sub/", "/sub/"
}

func (s *replayServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := s.parse(r)
	poll, socket := s.paths()
	upgrade := websocket.IsWebSocketUpgrade(r)
	switch {
	case err != nil:
		s.t.Errorf("%s: %v", r.URL.Path, err)
	case upgrade && r.URL.Path != socket || !upgrade && r.URL.Path != poll:
		http.NotFound(w, r)
	case s.wrong(req.channel) && upgrade:
		s.write(w, s.refusal.socket, nil)
	case s.wrong(req.channel):
		s.write(w, s.refusal.poll, nil)
	case upgrade && s.polling:
		s.t.Error("a websocket was asked for although the config turns them off")
		http.NotFound(w, r)
	case upgrade:
		s.serveSocket(w, r, req)
	default:
		s.servePoll(w, r, req)
	}
}

// wrong reports whether a channel is refused. Versions 1 and 2 do not sign
// channels and take any.
func (s *replayServer) wrong(channel string) bool {
	if s.version < 3 {
		return channel == ""
	}
	return channel != s.channel && channel != s.nobody
}

// A replayRequest is what a client asks for.
type replayRequest struct {
	tape    *tape
	channel string
	mid     string
	after   func(message) bool // the messages after the position asked for; nil: none was
}

var midForm = regexp.MustCompile(`^[0-9]{26}$`)

func (s *replayServer) parse(r *http.Request) (req replayRequest, err error) {
	query := make(map[string]string)
	for param := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(param, "=")
		if query[name], err = url.PathUnescape(value); err != nil { // a + is a plus to nginx
			return req, err
		}
	}
	req.channel, req.mid, req.tape = query["CHANNEL_ID"], query["mid"], s.text
	if s.version == 4 && query["binaryMode"] == "true" {
		req.tape = s.binary
	}
	if req.tape == nil {
		return req, fmt.Errorf("there is no recording for binaryMode=%q", query["binaryMode"])
	}
	switch {
	case s.version < 3:
		req.after = afterTime(query["time"], query["tag"])
	case midForm.MatchString(req.mid):
		req.after = func(m message) bool { return m.mid > req.mid }
	default:
		req.mid = ""
	}
	if req.channel != s.channel {
		req.tape = &tape{binary: req.tape.binary}
	}
	return req, nil
}

// afterTime is the position of versions 1 and 2. A time without a tag leaves
// out all of its second.
func afterTime(at, tag string) func(message) bool {
	second, err := http.ParseTime(at)
	if err != nil {
		return nil
	}
	last, err := strconv.Atoi(tag)
	if err != nil {
		last = math.MaxInt
	}
	return func(m message) bool { return m.time.After(second) || m.time.Equal(second) && m.tag > last }
}

// history is what the server keeps of what the request asks for, and whether it
// keeps everything by now.
func (s *replayServer) history(req replayRequest) (list []message, all bool) {
	kept := req.tape.kept
	select {
	case <-s.all:
		all = true
	default:
		kept = kept[:req.tape.before]
	}
	for _, m := range kept {
		if req.after != nil && req.after(m) {
			list = append(list, m)
		}
	}
	return list, all
}

func (s *replayServer) servePoll(w http.ResponseWriter, r *http.Request, req replayRequest) {
	timeout := time.After(s.hold)
	for {
		list, all := s.history(req)
		if len(list) > 0 {
			s.writeMessages(w, req, list)
			return
		}
		more := s.all
		if all || req.channel != s.channel {
			more = nil
		} else if s.polling {
			s.note(func() { s.listening = true })
		}
		select {
		case <-more:
			if s.polling {
				s.writeMessages(w, req, req.tape.live.messages(s.t)[:1])
				return
			}
		case <-timeout:
			s.writeSilence(w, req)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// note takes note of what a client has done, and begins with the live messages
// when it was the last that lacked.
func (s *replayServer) note(done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done()
	if s.read && s.listening && !isClosed(s.live) {
		close(s.live)
		if s.polling {
			close(s.all)
		}
	}
}

// keepAll notes that a client has taken the live messages.
func (s *replayServer) keepAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.live) && !isClosed(s.all) {
		close(s.all)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// writeMessages answers a poll. On versions 1 and 2 the head names the position
// of the last message.
func (s *replayServer) writeMessages(w http.ResponseWriter, req replayRequest, list []message) {
	head := recording{Status: req.tape.answer.Status, Headers: maps.Clone(req.tape.answer.Headers)}
	if s.version < 3 {
		last := list[len(list)-1]
		head.Headers["Last-Modified"] = last.time.Format(http.TimeFormat)
		head.Headers["Etag"] = fmt.Sprintf("W/%d", last.tag)
	}
	s.write(w, head, join(list, req.tape.binary))
}

// writeSilence answers a poll that nothing came for. Version 4 names the
// position asked for, or the newest kept.
func (s *replayServer) writeSilence(w http.ResponseWriter, req replayRequest) {
	newest := req.mid
	if n := len(req.tape.kept); newest == "" && n > 0 {
		newest = req.tape.kept[n-1].mid
	}
	if s.version == 4 && newest != "" {
		w.Header().Set("Last-Message-Id", newest)
	}
	s.write(w, s.silence, nil)
}

// write answers with the head of a recording, and with its body unless another
// is given.
func (s *replayServer) write(w http.ResponseWriter, rec recording, body []byte) {
	for name, value := range rec.Headers {
		if rec.Status == http.StatusNotModified {
			name = strings.ToLower(name) // net/http leaves out the canonical Content-Type
		}
		w.Header()[name] = []string{value}
	}
	w.WriteHeader(rec.Status)
	if body == nil {
		body = rec.body(s.t)
	}
	_, _ = w.Write(body)
}

// serveSocket sends the history asked for, then the live messages, and then
// pings.
func (s *replayServer) serveSocket(w http.ResponseWriter, r *http.Request, req replayRequest) {
	past, _ := s.history(req)
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	ws.SetPingHandler(func(payload string) error {
		s.keepAll()
		if s.version < 3 {
			payload = "" // nginx gives none back
		}
		return ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
	})
	gone := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { s.send(ws, req, past, gone) })
	for err == nil {
		_, _, err = ws.ReadMessage()
	}
	close(gone)
	sending.Wait()
}

func (s *replayServer) send(ws *websocket.Conn, req replayRequest, past []message, gone <-chan struct{}) {
	kind := websocket.TextMessage
	if req.tape.binary {
		kind = websocket.BinaryMessage
	}
	frames := slices.Chunk(past, max(1, len(past))) // one frame
	if s.version < 3 {
		frames = slices.Chunk(past, 1)
	}
	for list := range frames {
		_ = ws.WriteMessage(kind, join(list, req.tape.binary))
	}
	if req.channel != s.channel {
		return
	}
	s.note(func() { s.listening = true })
	select {
	case <-s.live:
	case <-gone:
		return
	}
	for _, f := range req.tape.live.Frames {
		_ = ws.WriteMessage(kind, f.bytes(s.t))
	}
	_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
}
