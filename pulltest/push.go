package pulltest

import (
	"io"
	"net/http"
	"regexp"
	"strings"
)

var midPattern = regexp.MustCompile(`^[0-9]{26}$`)

// pushServer is the HTTP side of one push server process. Its paths, relative to
// the push server's base URL, are matched by their beginning, and need their
// slash:
//
//	sub/          subscribers: long polls; websockets at this very path
//	subws/        the same in shared mode; websockets in versions 1 and 2
//	rest/         clients publish, untrusted
//	pub/          the portal publishes, trusted
//	server-stat/  the portal asks for the state of the processes
type pushServer struct {
	hub     *hub
	dialect *dialect
	signer  signer
	book    *configBook // the channels that a jwt stands for, and whose they are
	opts    *options
}

func newPushServer(o *options) *pushServer {
	return &pushServer{
		hub:     newHub(o),
		dialect: o.dialect,
		signer:  signer{key: []byte(o.key)},
		opts:    o,
	}
}

func (s *pushServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.hub.isDown():
		reset(w, r)
	case s.dialect.serve != nil:
		s.dialect.serve(s, w, r)
	case headSize(r) > maxHead:
		w.Header()["Content-Type"] = nil
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	case upgrades(r):
		s.serveUpgrade(w, r)
	default:
		s.serveRequest(w, r)
	}
}

// maxHead is how large the head of a request may be.
const maxHead = 16 << 10

func headSize(r *http.Request) int {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// subPath is where subscribers connect.
func (s *pushServer) subPath() string {
	if s.opts.shared {
		return "/subws/"
	}
	return "/sub/"
}

func (s *pushServer) serveRequest(w http.ResponseWriter, r *http.Request) {
	path, get, post := r.URL.EscapedPath(), r.Method == http.MethodGet, r.Method == http.MethodPost
	public := func() { w.Header().Set("Access-Control-Allow-Origin", "*") }
	switch {
	case strings.HasPrefix(path, s.subPath()) && r.Method == http.MethodOptions:
		public()
		w.Header().Set("Access-Control-Allow-Methods", "POST, GET, DELETE, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "If-Modified-Since, If-None-Match")
		writeText(w, http.StatusOK, "")
	case strings.HasPrefix(path, s.subPath()) && get && !s.opts.noPolls:
		public()
		s.serveSub(w, r)
	case strings.HasPrefix(path, "/rest/") && s.dialect.publicIDs && post:
		public()
		s.serveRest(w, r)
	case strings.HasPrefix(path, "/pub/") && (get || post):
		if s.dialect.publicIDs {
			public()
		}
		if post {
			s.servePub(w, r)
		} else {
			s.serveInfos(w, r)
		}
	case strings.HasPrefix(path, "/server-stat/") && get:
		if s.dialect.publicIDs {
			public()
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Write(s.serverStats())
	default:
		public()
		writeText(w, http.StatusNotFound, "")
	}
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

// serveSub serves a poll.
func (s *pushServer) serveSub(w http.ResponseWriter, r *http.Request) {
	sub, err := s.subscribe(r, true)
	if err != nil || sub.refused != nil {
		s.hub.count(func(st *Stats) { st.Refused++ })
	}
	switch {
	case err != nil:
		s.dialect.refuseChannel(w, err)
	case sub.refused != nil:
		s.dialect.exposes(w.Header())
		refuse(w, sub.refused)
	default:
		s.impatient(s.opts.idleTimeout, func(w http.ResponseWriter, r *http.Request) { s.servePoll(w, r, sub) })(w, r)
	}
}

// serveUpgrade serves what wants to be a websocket.
func (s *pushServer) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.opts.noSockets:
		refuseUpgrade(w, "Bad Request")
		return
	case r.URL.EscapedPath() != s.subPath() && s.dialect.hangsOffPath:
		<-r.Context().Done()
		return
	case r.URL.EscapedPath() != s.subPath(), r.Method != http.MethodGet && s.dialect.publicIDs, !wellFormed(r):
		refuseUpgrade(w, s.dialect.badUpgrade)
		return
	}
	sub, err := s.subscribe(r, false)
	if err != nil || sub.refused != nil {
		s.hub.count(func(st *Stats) { st.Refused++ })
	}
	if err != nil {
		s.dialect.refuseSocket(w)
		return
	}
	s.serveSocket(w, r, sub)
}

// refuseUpgrade closes the connection behind its answer.
func refuseUpgrade(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusBadRequest)
	io.WriteString(w, body)
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
	if sub.channels, err = s.dialect.parseChannels(s, query); err == nil && s.book.knowsLost(sub.channels) {
		return sub, errLost
	}
	sub.client = s.clientOf(sub.channels)
	return sub, err
}

// serveRest takes what a client sends: a RequestBatch, or from version 5 on
// JSON-RPC. The query says whose client it is; one without a public id, whatever
// the reason, is told so before anything else.
func (s *pushServer) serveRest(w http.ResponseWriter, r *http.Request) {
	body, ok := s.readBody(w, r, s.hub.refuseRequest)
	if !ok {
		return
	}
	var from publisher
	if channels, err := s.dialect.parseChannels(s, r.URL.Query()); err == nil {
		from = s.clientOf(channels)
	}
	if s.dialect.rpc && from.publicID != "" && isRPC(body) {
		s.serveRPC(w, r, body, from)
		return
	}
	s.serveBatch(w, body, from)
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
