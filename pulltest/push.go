package pulltest

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

var midPattern = regexp.MustCompile(`^[0-9]{26}$`)

// pushServer is the HTTP side of one push server process. Its paths are
// relative to the push server's base URL:
//
//	sub          subscribers: websockets and long polls
//	subws        subscribers: websockets
//	rest         clients publish, untrusted
//	pub          the portal publishes, trusted
//	server-stat  the portal asks for the state of the processes
type pushServer struct {
	hub     *hub
	dialect *dialect
	signer  signer
	book    *configBook // the channels that a jwt stands for, and whose they are
	opts    *options
	started time.Time
}

func newPushServer(o *options) *pushServer {
	return &pushServer{
		hub:     newHub(o),
		dialect: o.dialect,
		signer:  signer{key: []byte(o.key)},
		opts:    o,
		started: time.Now(),
	}
}

func (s *pushServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.hub.isDown() {
		rawConn(r).abort()
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	path := strings.Trim(r.URL.Path, "/")
	switch {
	case path == "sub" && r.Method == http.MethodOptions:
		s.serveOptions(w)
	case (path == "sub" || path == "subws") && r.Method == http.MethodGet:
		s.serveSub(w, r)
	case path == "rest" && s.dialect.publicIDs && r.Method == http.MethodPost:
		s.serveRest(w, r)
	case path == "pub" && r.Method == http.MethodPost:
		s.servePub(w, r)
	case path == "pub" && r.Method == http.MethodGet:
		s.serveInfos(w, r)
	case path == "server-stat" && r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		w.Write(s.serverStats())
	default:
		writeText(w, http.StatusNotFound, "Not Found")
	}
}

func (s *pushServer) serveOptions(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "If-Modified-Since, If-None-Match")
	h.Set("Access-Control-Expose-Headers", "Last-Message-Id")
	writeText(w, http.StatusOK, "")
}

// subscription is what a subscriber asked for.
type subscription struct {
	dialect  *dialect
	channels []channelID
	client   publisher
	from     position
	framing  *framing
	refused  *pushError // if set, a websocket is closed at once
}

// textMode reports whether what is sent to the subscriber is stamped when it is
// sent.
func (s *subscription) textMode() bool { return s.framing.stamps }

func (s *pushServer) serveSub(w http.ResponseWriter, r *http.Request) {
	upgrade := websocket.IsWebSocketUpgrade(r)
	switch path := r.URL.Path; {
	case upgrade && (s.opts.noSockets || path != "/sub/" && path != "/subws/"),
		!upgrade && strings.HasPrefix(path, "/subws"):
		writeText(w, http.StatusBadRequest, "Bad Request")
		return
	case !upgrade && s.opts.noPolls:
		writeText(w, http.StatusNotFound, "Not Found")
		return
	}
	sub, err := s.subscribe(r, !upgrade)
	if err != nil || sub.refused != nil {
		s.hub.count(func(st *Stats) { st.Refused++ })
	}
	switch {
	case err != nil:
		s.dialect.refuseChannel(w, upgrade)
	case upgrade:
		s.serveSocket(w, r, sub)
	case sub.refused != nil:
		refuse(w, sub.refused)
	default:
		s.impatient(s.opts.idleTimeout, func(w http.ResponseWriter, r *http.Request) { s.servePoll(w, r, sub) })(w, r)
	}
}

func (s *pushServer) subscribe(r *http.Request, poll bool) (sub subscription, err error) {
	query := r.URL.Query()
	sub = subscription{
		dialect: s.dialect,
		from:    s.dialect.position(r.URL.RawQuery),
		framing: s.dialect.framing(query, poll),
	}
	if id := s.opts.clientID; id != "" && query.Get("clientId") != id {
		sub.refused = errWrongClient
		return sub, nil
	}
	sub.channels, err = s.dialect.parseChannels(s, query)
	sub.client = s.clientOf(sub.channels)
	return sub, err
}

// serveRest takes what a client sends: a RequestBatch, or from version 5 on
// JSON-RPC. The query says whose client it is; one without a public id, whatever
// the reason, is told so before anything else.
func (s *pushServer) serveRest(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		s.hub.refuseRequest()
		return
	}
	var from publisher
	if channels, err := s.dialect.parseChannels(s, r.URL.Query()); err == nil {
		from = s.clientOf(channels)
	}
	if s.dialect.rpc && from.publicID != "" && isRPC(body) {
		s.serveRPC(w, body, from)
		return
	}
	s.serveBatch(w, body, from)
}

// servePub takes what the portal publishes: a RequestBatch, or a body that is
// the message itself, for the channels of CHANNEL_ID.
func (s *pushServer) servePub(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	query := r.URL.Query()
	if s.dialect.publicIDs && query.Get("binaryMode") == "true" {
		s.serveBatch(w, body, backend)
		return
	}
	accept(w)
	channels, err := s.dialect.parsePub(s.signer, query.Get("CHANNEL_ID"))
	if err != nil {
		return
	}
	var keys []channelKey
	for _, c := range channels {
		keys = append(keys, channelKey{c.private, true})
	}
	seconds, _ := strconv.Atoi(r.Header.Get("Message-Expiry"))
	expiry := time.Duration(min(seconds, int(maxExpiry/time.Second))) * time.Second
	s.hub.publish(keys, string(body), expiry, backend.sender())
}

// serveBatch checks a batch, answers, and executes it only then: an accepted
// message is stored after its publisher was told so.
func (s *pushServer) serveBatch(w http.ResponseWriter, body []byte, from publisher) {
	call, refused := s.prepare(body, from)
	switch {
	case refused != nil:
		if !from.trusted {
			s.hub.refuseRequest()
		}
		refuse(w, refused)
	case call.answers:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(call.run())
	default:
		accept(w)
		call.run()
	}
}

// serveInfos names the channels of CHANNEL_ID that are online.
func (s *pushServer) serveInfos(w http.ResponseWriter, r *http.Request) {
	type info struct {
		Channel     string `json:"channel"`
		Subscribers int    `json:"subscribers"`
	}
	infos := []info{}
	if channels, err := s.dialect.parsePub(s.signer, r.URL.Query().Get("CHANNEL_ID")); err == nil {
		s.hub.mu.Lock()
		for _, c := range channels {
			if n := s.hub.online(channelKey{c.private, true}); n > 0 {
				infos = append(infos, info{c.private, n})
			}
		}
		s.hub.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"infos": infos})
}

// readBody answers 413 to a body that is too large and cuts the connection.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	switch {
	case err != nil:
		return nil, false
	case len(body) > maxRequest:
		w.Header().Set("Connection", "close")
		writeText(w, http.StatusRequestEntityTooLarge, "")
		return nil, false
	}
	return body, true
}

func refuse(w http.ResponseWriter, e *pushError) {
	writeText(w, e.status(), e.Error())
}

// accept sends the whole answer, so that it comes before what is done next.
func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "0")
	writeText(w, http.StatusOK, "")
	http.NewResponseController(w).Flush()
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(status)
	io.WriteString(w, body)
}
