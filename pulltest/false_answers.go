package pulltest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Kinds of faults that are no refusals.
const (
	falsified faultKind = 200 + iota
	compressed
	stale
)

// What stands between a client and a push server answers in its place, with an
// HTTP status that says that all is well. These faults are for [Polls] above
// all; the other services know them too, but for Compressed and StaleCache.
var (
	// WebPage is a web server's page: HTTP 200 and HTML.
	WebPage = FalseAnswer(http.StatusOK, "text/html; charset=utf-8", "<!DOCTYPE html>\n<html>\n<head><title>Welcome to nginx!</title></head>\n<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n").named("web_page")

	// LoginForm is a captive portal, which asks for a password whatever is
	// wanted.
	LoginForm = FalseAnswer(http.StatusOK, "text/html", "\n\n<html><body><form method=\"post\" action=\"/login\">\n<input name=\"user\"><input type=\"password\" name=\"password\">\n</form></body></html>\n").named("login_form")

	// ForeignJSON is the answer of another application.
	ForeignJSON = FalseAnswer(http.StatusOK, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}`).named("foreign_json")

	// EmptyAnswer is HTTP 200 without a body.
	EmptyAnswer = FalseAnswer(http.StatusOK, "", "").named("empty_answer")

	// InstantNotModified is HTTP 304 at once, as a cache answers it; a push
	// server says that only after it has held the poll.
	InstantNotModified = FalseAnswer(http.StatusNotModified, "", "").named("instant_not_modified")

	// StaleCache answers every poll as the first one was answered that had an
	// answer of 200 since the fault began, whatever is asked.
	StaleCache = Fault{name: "stale_cache", kind: stale}
)

// FalseAnswer answers at once with a status, a Content-Type, none if it is
// empty, and a body, in place of the service.
func FalseAnswer(status int, contentType, body string) Fault {
	return Fault{name: "false_answer", kind: falsified, status: status, media: contentType, text: body}
}

// Compressed serves polls, but compresses the answers, whether the client has
// asked for that or not. The coding is "gzip", "deflate", "raw deflate" (sent
// as deflate, without the zlib header that belongs to it), or any other: then
// the answer only says so.
func Compressed(coding string) Fault {
	return Fault{name: "compressed", kind: compressed, code: coding}
}

// falsify writes the false answer.
func (f *failure) falsify(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = nil // else net/http would guess one
	if f.media != "" {
		h.Set("Content-Type", f.media)
	}
	w.WriteHeader(f.status)
	if f.status != http.StatusNotModified && f.status != http.StatusNoContent {
		io.WriteString(w, f.text)
	}
}

// alter serves a poll, but not as it was answered.
func (f *failure) alter(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if f.kind == stale {
		f.serveStale(w, r, next)
		return
	}
	f.compress(w, r, next)
}

// recorded takes an answer.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(next http.Handler, r *http.Request) *recorded {
	a := &recorded{header: make(http.Header), status: http.StatusOK}
	next.ServeHTTP(a, r)
	return a
}

func (a *recorded) Header() http.Header         { return a.header }
func (a *recorded) WriteHeader(status int)      { a.status = status }
func (a *recorded) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *recorded) replay(w http.ResponseWriter, body []byte) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	if a.status != http.StatusNotModified {
		w.Write(body)
	}
}

// compress writes the answer of a poll in another coding.
func (f *failure) compress(w http.ResponseWriter, r *http.Request, next http.Handler) {
	a := record(next, r)
	if r.Context().Err() != nil {
		return
	}
	body := a.body.Bytes()
	if a.status == http.StatusOK {
		coding := strings.TrimPrefix(f.code, "raw ")
		a.header.Set("Content-Encoding", coding)
		body = encode(f.code, body)
		a.header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	a.replay(w, body)
}

func encode(coding string, body []byte) []byte {
	var out bytes.Buffer
	var in io.WriteCloser
	switch coding {
	case "gzip":
		in = gzip.NewWriter(&out)
	case "deflate":
		in = zlib.NewWriter(&out)
	case "raw deflate":
		in, _ = flate.NewWriter(&out, flate.DefaultCompression) // the level is one
	default:
		return body
	}
	in.Write(body)
	in.Close()
	return out.Bytes()
}

// staleAnswer is what a cache has stored.
type staleAnswer struct {
	mu     sync.Mutex
	answer *recorded
}

// serveStale answers from the cache once there is something in it.
func (f *failure) serveStale(w http.ResponseWriter, r *http.Request, next http.Handler) {
	f.cache.mu.Lock()
	a := f.cache.answer
	f.cache.mu.Unlock()
	if a == nil {
		a = record(next, r)
		if r.Context().Err() != nil {
			return
		}
		f.cache.mu.Lock()
		if f.cache.answer == nil && a.status == http.StatusOK {
			f.cache.answer = a
		}
		f.cache.mu.Unlock()
	}
	a.replay(w, a.body.Bytes())
}
