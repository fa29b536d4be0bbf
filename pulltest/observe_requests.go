package pulltest

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// requestNote is what is found out about a request while it is served.
type requestNote struct {
	event      Event
	began      time.Time
	status     int
	unanswered bool // the connection was reset, or taken over
	told       bool
}

type noteKey struct{}

// noteOf is the note of a request; it is never nil, but nobody reads it if
// nobody looks on.
func noteOf(r *http.Request) *requestNote {
	if n, ok := r.Context().Value(noteKey{}).(*requestNote); ok {
		return n
	}
	return new(requestNote)
}

// observed tells of requests when they have been answered.
func (p *Portal) observed(next http.Handler) http.Handler {
	o := p.push.hub.observer
	if o == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &requestNote{began: time.Now(), event: Event{
			Kind:       Requested,
			Service:    p.serviceName(r),
			HTTPMethod: plainMethod(r.Method),
			Path:       plainPath(r.URL.Path),
		}}
		if n.event.Service == "rest" {
			n.event.Method = restMethod(r.URL.Path)
		}
		defer func() { n.tell(o) }()
		next.ServeHTTP(&notedWriter{w, n}, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
		if n.status == 0 && !n.unanswered && r.Context().Err() == nil {
			n.status = http.StatusOK // net/http says it
		}
	})
}

// answered tells of a request that has its answer, though it is still served.
func (n *requestNote) answered(o *observer, status int) {
	n.status = status
	if !n.began.IsZero() {
		n.tell(o)
	}
}

// tell tells of a request once.
func (n *requestNote) tell(o *observer) {
	if n.told {
		return
	}
	n.told = true
	n.event.Status, n.event.Duration = n.status, time.Since(n.began)
	o.add(n.event)
}

// notedWriter notes the status of an answer.
type notedWriter struct {
	http.ResponseWriter
	note *requestNote
}

func (w *notedWriter) WriteHeader(status int) {
	if w.note.status == 0 && status >= http.StatusOK {
		w.note.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *notedWriter) Write(b []byte) (int, error) {
	if w.note.status == 0 {
		w.note.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *notedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush and Hijack are for handlers of WithHandler, which find them at the
// writer of net/http too.

func (w *notedWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

func (w *notedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.note.unanswered = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (p *Portal) serviceName(r *http.Request) string {
	_, push := p.pushRequest(r)
	switch s := p.serviceOf(r); {
	case s == REST:
		return "rest"
	case s == OAuth, !push && r.URL.Path == authorizePath:
		return "oauth"
	case s == WebSockets:
		return overWebSocket
	case s == Polls:
		return overPoll
	case s == Publishing:
		return "publish"
	case push:
		return "push"
	}
	return "other"
}

var (
	plainMethods = regexp.MustCompile(`^[A-Z]{1,10}$`)
	// plainWord is too short for a code or a token, or is made of short words.
	plainWord  = regexp.MustCompile(`^[A-Za-z_-]{1,15}$`)
	dottedName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,23}(\.[A-Za-z0-9_]{1,23}){1,7}$`)
	userNumber = regexp.MustCompile(`^[0-9]{1,10}$`)
)

func plainMethod(method string) string {
	if plainMethods.MatchString(method) {
		return method
	}
	return concealed
}

// plainPath is a path without what may be a secret in it: of what is no short
// word nothing is left.
func plainPath(path string) string {
	parts := strings.Split(path, "/")
	code := codeIn(parts)
	for i, part := range parts {
		if i == code || !isPlain(part) {
			parts[i] = concealed
		}
	}
	return strings.Join(parts, "/")
}

// codeIn is where a path has the code of a webhook; -1 if nowhere.
func codeIn(parts []string) int {
	at := 3 // «», rest, user, code
	if len(parts) > 2 && parts[2] == "api" {
		at++
	}
	if len(parts) > at && parts[1] == "rest" && userNumber.MatchString(parts[at-1]) {
		return at
	}
	return -1
}

func isPlain(part string) bool {
	return part == "" || plainWord.MatchString(part) || userNumber.MatchString(part) || dottedName.MatchString(part)
}

// restMethod is the method that a path of REST names.
func restMethod(path string) string {
	parts := strings.Split(strings.TrimRight(path, "/"), "/")
	last := len(parts) - 1
	if last == codeIn(parts) || !isPlain(parts[last]) || userNumber.MatchString(parts[last]) {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(parts[last]), ".json")
}
