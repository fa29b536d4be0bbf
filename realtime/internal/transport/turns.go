package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
)

// A turnConn is a connection of HTTP/1.1 over which the sides take turns: its
// reader gets the bytes of one answer for each request that is written, and
// nothing that a server sends behind an answer or before a request. net/http
// would print that with the process's own logger. Such a connection comes to its
// end, and so does one after an answer with a status other than 200.
//
// What cannot be followed for sure is an error: an answer that says its length
// twice, say.
type turnConn struct {
	net.Conn

	mu      sync.Mutex
	over    bool // nothing more is read or written
	request turnRequest
	answer  turnAnswer
}

var (
	// errTurnOver is the end between answers. After it net/http makes a request
	// of which nothing was written over another connection; after io.EOF it
	// gives one up that must not be made twice.
	errTurnOver = errors.New("the connection has come to its end")
	errOddHead  = errors.New("the header of the answer has a form that is not understood")
)

// Read reads of the answer that is due.
func (c *turnConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	over, between := c.over, c.answer.ended()
	c.mu.Unlock()
	switch {
	case over && between:
		return 0, errTurnOver
	case over:
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 && err == io.EOF && c.answer.ended() {
		c.over = true
		return 0, errTurnOver
	}
	given, odd := c.answer.follow(p[:n])
	switch {
	case odd != nil:
		c.over = true
		return 0, odd
	case given < n:
		c.over = true
		err = nil // of the next read
		if given == 0 {
			err = errTurnOver
		}
	}
	if n > 0 && c.answer.ended() && (c.answer.status != 200 || !c.request.whole()) {
		c.over = true
	}
	return given, err
}

// Write writes of a request. The first bytes after an answer begin the next one.
func (c *turnConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return 0, errTurnOver
	}
	if c.answer.ended() && c.request.whole() && len(p) > 0 {
		c.request, c.answer = turnRequest{begun: true}, turnAnswer{stage: atHead}
	}
	c.request.follow(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// turnRequest follows a request, to know when it is whole.
type turnRequest struct {
	begun bool
	head  []byte // until it is whole
	body  bool   // it is
	left  int    // bytes of the body; below 0 where that is not known
}

// whole reports whether all of it has been written.
func (r *turnRequest) whole() bool { return !r.begun || r.body && r.left == 0 }

func (r *turnRequest) follow(p []byte) {
	if r.body {
		r.left -= len(p)
		return
	}
	r.head = append(r.head, p...)
	head, body, whole := bytes.Cut(r.head, []byte("\r\n\r\n"))
	switch {
	case whole:
		r.body, r.left = true, contentLength(head)-len(body)
		r.head = nil
	case len(r.head) > maxHeader:
		r.head, r.body, r.left = nil, true, -1
	}
}

// contentLength is what the header of a request of ours says; below 0 if the
// body is chunked.
func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, _ := strings.Cut(string(line), ":")
		switch textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)) {
		case "Content-Length":
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				return n
			}
			return -1
		case "Transfer-Encoding":
			return -1
		}
	}
	return 0
}

// Where a turnAnswer is. The zero stage is between answers.
type turnStage uint8

const (
	atEnd turnStage = iota
	atHead
	atBody
	atChunkSize
	atChunk
	atChunkEnd
	atTrailer
	atRest // until the connection ends
)

// turnAnswer follows an answer, to know where it ends.
type turnAnswer struct {
	stage   turnStage
	line    []byte // what there is of one
	size    int    // of the header or trailer so far
	left    uint64 // of the body or chunk
	status  int    // 0: the status line has not been read
	minor   byte   // of the version
	length  string // Content-Length
	chunked bool
	keep    bool // an old server says that it keeps the connection
}

func (a *turnAnswer) ended() bool { return a.stage == atEnd }

// follow returns how many of the bytes belong to the answer.
func (a *turnAnswer) follow(p []byte) (given int, err error) {
	for given < len(p) && a.stage != atEnd {
		rest := p[given:]
		switch a.stage {
		case atRest:
			return len(p), nil
		case atBody, atChunk:
			n := min(a.left, uint64(len(rest)))
			given += int(n)
			a.left -= n
			switch {
			case a.left > 0:
			case a.stage == atBody:
				a.stage = atEnd
			default:
				a.stage = atChunkEnd
			}
			continue
		}
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		given += n
		a.line = append(a.line, rest[:n]...)
		if a.size += n; a.size > maxHeader {
			return given, errOddHead
		}
		if a.line[len(a.line)-1] != '\n' {
			continue
		}
		if !a.takeLine(strings.TrimSuffix(strings.TrimSuffix(string(a.line), "\n"), "\r")) {
			return given, errOddHead
		}
		a.line = a.line[:0]
	}
	return given, nil
}

// takeLine takes a line of what is read by lines. It reports false for one that
// it does not understand.
func (a *turnAnswer) takeLine(line string) bool {
	switch a.stage {
	case atHead:
		switch {
		case a.status == 0:
			return a.takeStatus(line)
		case line != "":
			return a.takeField(line)
		}
		return a.begin()
	case atChunkSize:
		n, err := strconv.ParseUint(line, 16, 63)
		if err != nil || line == "" || strings.ContainsAny(line, "+_") {
			return false
		}
		a.left, a.stage, a.size = n, atChunk, 0
		if n == 0 {
			a.stage = atTrailer
		}
	case atChunkEnd:
		a.stage = atChunkSize
		return line == ""
	case atTrailer:
		if line == "" {
			a.stage = atEnd
		}
	}
	return true
}

func (a *turnAnswer) takeStatus(line string) bool {
	version, status, _ := strings.Cut(line, " ")
	status, _, _ = strings.Cut(status, " ")
	if version != "HTTP/1.1" && version != "HTTP/1.0" || len(status) != 3 {
		return false
	}
	n, err := strconv.Atoi(status)
	a.status, a.minor = n, version[len(version)-1]
	return err == nil && n >= 100
}

func (a *turnAnswer) takeField(line string) bool {
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.ContainsAny(name, " \t") {
		return false // also a line that goes on with the one before
	}
	value = strings.TrimSpace(value)
	switch strings.ToLower(name) {
	case "content-length":
		if a.length != "" || value == "" || strings.Trim(value, "0123456789") != "" {
			return false
		}
		a.length = value
	case "transfer-encoding":
		if a.chunked || !strings.EqualFold(value, "chunked") {
			return false
		}
		a.chunked = true
	case "connection":
		a.keep = a.keep || strings.Contains(strings.ToLower(value), "keep-alive")
	}
	return true
}

// begin says what follows a header.
func (a *turnAnswer) begin() bool {
	switch {
	case a.status == 101 || a.chunked && a.length != "" || a.minor == '0' && (a.chunked || a.keep):
		return false
	case a.status < 200:
		*a = turnAnswer{stage: atHead, size: a.size}
	case a.status == 204 || a.status == 304:
		a.stage = atEnd
	case a.chunked:
		a.stage, a.size = atChunkSize, 0
	case a.length == "":
		a.stage = atRest
	default:
		n, err := strconv.ParseUint(a.length, 10, 63)
		if err != nil {
			return false
		}
		if a.left, a.stage = n, atBody; n == 0 {
			a.stage = atEnd
		}
	}
	return true
}
