// Package control is the HTTP API that rules the portals of b24pull portal: all
// that a test in Go can do with a portal of package pulltest, for tests in any
// language. openapi.json describes it.
package control

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// mostBody is how long a request's body may be. A message may have a MiB, and
// in JSON that is more.
const mostBody = 8 << 20

// bodyPatience is how long a request may take that changes something. The
// longest, which wait for an application's handler, give up before.
const bodyPatience = time.Minute

// Server answers the requests of the API.
type Server struct {
	portals *Portals
	hosts   []string // names that requests may be for, besides loopback
	mux     *http.ServeMux
	origin  *http.CrossOriginProtection
	// patience is streamPatience; tests have less.
	patience time.Duration
}

// New returns the API over portals. Requests must be for loopback, or for one
// of these host names. What is not of the API goes to the page, which is given
// what answers where it has nothing.
func New(portals *Portals, hosts []string, page func(missing http.Handler) http.Handler) *Server {
	s := &Server{portals: portals, hosts: hosts, patience: streamPatience, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	for _, r := range s.routes() {
		s.mux.HandleFunc(r.method+" "+r.path, r.serve)
	}
	s.mux.HandleFunc("/v1", s.notFound)
	s.mux.HandleFunc("/v1/", s.notFound)
	s.mux.Handle("/", page(http.HandlerFunc(s.notFound)))
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := s.guard(r); err != nil {
		writeError(w, err)
		return
	}
	if r.Method != http.MethodGet {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	s.mux.ServeHTTP(w, r)
}

// guard refuses what a foreign page in a browser on this machine may send: a
// name of its own that leads here (DNS rebinding), and requests that a page may
// make without being asked (CSRF).
func (s *Server) guard(r *http.Request) error {
	if !s.knows(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "foreign_host", "the header Host names %q, which is neither this machine nor a name that -control-host allows", short(r.Host))
	}
	if err := s.origin.Check(r); err != nil {
		return refuse(http.StatusForbidden, "foreign_origin", "%v: only pages of this address may do that", err)
	}
	if ofAPI(r.URL.Path) && isForeign(r) {
		return refuse(http.StatusForbidden, "foreign_origin", "another page asks: only pages of this address may do that")
	}
	return nil
}

// ofAPI reports whether a path is not one of the page, which may be opened by a
// link from anywhere.
func ofAPI(path string) bool {
	return path == "/openapi.json" || path == "/v1" || strings.HasPrefix(path, "/v1/")
}

// isForeign reports whether a browser says that a page of another address asks.
// Those of another port are of the same site to it.
func isForeign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		origin := r.Header.Get("Origin")
		from, err := url.Parse(origin)
		return origin != "" && (err != nil || from.Host != r.Host)
	}
	return true
}

// knows reports whether a request for this host is meant for us.
func (s *Server) knows(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback() || slices.Contains(s.hosts, name)
}

// input is what a request says: the body of a POST, the query of others. What
// stands in the other place is refused.
func input(r *http.Request) ([]byte, error) {
	body, err := readBody(r)
	switch {
	case err != nil:
		return nil, err
	case r.Method == http.MethodPost && r.URL.RawQuery != "":
		return nil, badField("", "the address has a query: POST takes a body")
	case r.Method == http.MethodPost:
		return body, nil
	}
	if err := Decode(body, new(nothing)); err != nil {
		return nil, badField("", "%s takes no body, but a query if any", r.Method)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badField("", "the query: %v", err)
	}
	return fromQuery(query)
}

// nothingGiven refuses what a request says that takes nothing.
func nothingGiven(r *http.Request) error {
	said, err := input(r)
	if err == nil {
		err = Decode(said, new(nothing))
	}
	return err
}

// fromQuery is a query as a JSON object. What looks like a number is one.
func fromQuery(query url.Values) ([]byte, error) {
	all := make(map[string]any)
	for name, values := range query {
		if len(values) > 1 {
			return nil, badField(short(name), "is given %d times", len(values))
		}
		if !utf8.ValidString(name + values[0]) {
			return nil, badField("", "the query is not UTF-8")
		}
		all[name] = values[0]
		if n := json.Number(values[0]); json.Valid([]byte(n)) {
			if _, err := n.Float64(); err == nil {
				all[name] = n
			}
		}
	}
	return json.Marshal(all)
}

// readBody returns the body of a POST.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	switch tooLong := new(http.MaxBytesError); {
	case errors.As(err, &tooLong):
		return nil, refuse(http.StatusRequestEntityTooLarge, "too_large", "the body is longer than %d bytes", tooLong.Limit)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "bad_request", "cannot read the body: %v", err)
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if len(body) > 0 && !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return nil, refuse(http.StatusUnsupportedMediaType, "not_json", "a body must have the header Content-Type: application/json")
	}
	return body, nil
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/v1" && pattern != "/v1/" && pattern != "/" {
			w.Header().Add("Allow", method)
		}
	}
	if allowed := w.Header().Values("Allow"); len(allowed) > 0 {
		writeError(w, refuse(http.StatusMethodNotAllowed, "wrong_method", "use %s here", strings.Join(allowed, " or ")))
		return
	}
	writeError(w, refuse(http.StatusNotFound, "no_such_path", "there is nothing at %q; see /openapi.json", short(r.URL.Path)))
}
