package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// checkPush looks at the way to the push server.
func (x *examination) checkPush(ctx context.Context) {
	if x.server == nil {
		x.skipped("there is no push server to look at", namePush, namePushCert)
		return
	}
	x.checkHosts(ctx, namePush, namePushCert, x.server.hosts)
}

// heads are the headers of answers, of which clocks and gateways are told.
type heads struct {
	mu     sync.Mutex
	header http.Header   // the last one
	shift  time.Duration // of the push server's clock, as far as is certain
	known  bool
}

// note takes a header that has just come; the request was made at asked. An
// answer can have got its date at any time in between.
func (h *heads) note(answer *http.Response, asked time.Time) {
	if answer == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.header = answer.Header
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		h.shift, h.known = 0, true
		const second = time.Second // a date has no fractions of it
		if behind := date.Add(second).Sub(asked); behind < 0 {
			h.shift = behind
		} else if ahead := time.Until(date); ahead > 0 {
			h.shift = ahead
		}
	}
}

// named is what has answered, by its own words: « (Server: nginx)».
func (h *heads) named() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, name := range []string{"Server", "Via", "X-Powered-By", "X-Cache"} {
		if v := h.header.Get(name); v != "" {
			names = append(names, name+": "+quote.Text(v, 40))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// noting is a RoundTripper that notes the headers of answers.
type noting struct {
	base  http.RoundTripper
	heads *heads
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	answer, err := n.base.RoundTrip(r)
	n.heads.note(answer, asked)
	return answer, err
}

// A socketState is what the websocket has come to.
type socketState struct{ works bool }

// socket makes what opens websockets, and notes what answers.
func (x *examination) socket(h *heads) *transport.Socket {
	dial := transport.DialOver(x.own)
	return &transport.Socket{Header: x.header, Dial: func(ctx context.Context, url string, header http.Header) (*websocket.Conn, *http.Response, error) {
		asked := time.Now()
		ws, answer, err := dial(ctx, url, header)
		h.note(answer, asked)
		return ws, answer, err
	}}
}

// checkSocket opens a websocket, and pings over it: a server that takes one
// only to close it does so before it answers.
func (x *examination) checkSocket(ctx context.Context) (state socketState) {
	switch {
	case x.server == nil:
		x.skipped("there is no push server to look at", nameSocket)
		return state
	case x.server.socket.URL == "":
		x.skipped("the config has none, or they are turned off there", nameSocket)
		return state
	}
	x.timed(ctx, nameSocket, func(ctx context.Context) finding {
		var h heads
		f := x.trySocket(ctx, &h)
		state.works = f.status == Pass
		if f.status != Fail {
			return f
		}
		f.detail += h.named()
		if x.server.poll.URL != "" {
			f.status = Warn
			f.advice = strings.TrimPrefix(f.advice+"; until then long polling stands in, if it works", "; ")
		}
		return f
	})
	return state
}

func (x *examination) trySocket(ctx context.Context, h *heads) finding {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	pongs := &ponged{at: make(chan time.Time, 1)}
	c, err := x.socket(h).Open(ctx, x.server.socket, pongs)
	if err != nil {
		f := failed(err)
		var refused *transport.StatusError
		if errors.As(err, &refused) && refused.Status == http.StatusBadRequest && !refusesChannels(refused) {
			f.advice += "; or " + adviseSwitch
		}
		return f
	}
	opened, asked := time.Since(began), time.Now()
	ended := make(chan error, 1)
	go func() { ended <- drain(c) }()
	_ = c.Ping() // that this fails is told by reading
	defer func() {
		c.Close(transport.CloseNormal)
		cancel()
		if ended != nil {
			<-ended
		}
	}()
	select {
	case at := <-pongs.at:
		x.answered = true
		return pass("open in %s, a ping answered in %s", short(opened), short(at.Sub(asked)))
	case err := <-ended:
		ended = nil
		f := failed(err)
		f.detail = "opened, and then: " + f.detail
		return f
	case <-ctx.Done():
		return finding{Fail, "opened, but a ping is not answered", adviseBetween}
	}
}

// drain reads a connection to its end, which it returns.
func drain(c transport.Conn) error {
	for {
		frame, err := c.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, frame)
		}
		if err != nil {
			return err
		}
	}
}

// ponged is a sink that waits for a pong.
type ponged struct{ at chan time.Time }

func (p *ponged) Sent()      {}
func (p *ponged) Pinged()    {}
func (p *ponged) Heartbeat() {}
func (p *ponged) Ponged() {
	select {
	case p.at <- time.Now():
	default:
	}
}

const (
	adviseChannels = "fetch a new config; if that is refused, too, the portal and its push server have different keys: compare the signature key in the portal's settings of Push & Pull with the server's"
	adviseSwitch   = "have the gateway pass websockets on: for nginx proxy_http_version 1.1, and the headers Upgrade and Connection"
)

// explainAnswer explains what a push server, or something in its place, has
// answered.
func explainAnswer(err error) (detail, advice string) {
	var status *transport.StatusError
	var closed *transport.CloseError
	var answer *transport.AnswerError
	reason := func(text string) string {
		if text == "" {
			return ""
		}
		return ", «" + quote.Name(text) + "»"
	}
	err = ofTransport(err)
	switch {
	case errors.As(err, &answer):
		detail = fmt.Sprintf("not a push server's answer: %s", statusText(answer.Status))
		if answer.ContentType != "" {
			detail += ", " + quote.Name(answer.ContentType)
		}
		if answer.Start != "" {
			detail += ", begins " + fmt.Sprintf("%q", quote.Text(answer.Start, 60))
		}
		return detail + ": " + quote.Error(answer.Err).Error(), adviseBetween
	case errors.As(err, &closed):
		return fmt.Sprintf("closed with code %d%s", closed.Code, reason(closed.Reason)), adviceOfClose(closed.Code)
	case errors.As(err, &status):
		return statusText(status.Status) + reason(status.Reason), adviceOfStatus(status)
	}
	return "", ""
}

// ofTransport takes an error of a subscription for what it was.
func ofTransport(err error) error {
	var status *realtime.StatusError
	var closed *realtime.CloseError
	var answer *realtime.AnswerError
	switch {
	case errors.As(err, &answer):
		return &transport.AnswerError{Status: answer.Status, ContentType: answer.ContentType, Start: answer.Start, Err: answer.Err}
	case errors.As(err, &closed):
		return &transport.CloseError{Code: closed.Code, Reason: closed.Reason}
	case errors.As(err, &status):
		return &transport.StatusError{Status: status.Status, Reason: status.Reason}
	}
	return err
}

func adviceOfClose(code int) string {
	switch code {
	case transport.CloseWrongChannel, transport.CloseInvalidChannel, transport.CloseInvalidSignature, transport.ClosePublicIDRequired:
		return adviseChannels
	case transport.CloseWrongClientID:
		return "fetch a new config: the push server does not know this portal's clientId"
	case transport.CloseTooManyConnections, transport.CloseTooManyChannels:
		return "close other connections of these channels: a channel holds 100, and the newest ends the oldest"
	case transport.CloseNoChannels:
		return "the query is lost on the way: look at the gateway's rules for the address"
	default:
		return "look at the push server's log, and at what stands before it"
	}
}

// codeOf is the close code that the reason of an answer begins with: «4010:
// Wrong Channel Id.»; 0: none.
func codeOf(e *transport.StatusError) int {
	digits, _, _ := strings.Cut(e.Reason, ":")
	code, err := strconv.Atoi(digits)
	if err != nil || code < 4000 {
		return 0
	}
	return code
}

// refusesChannels reports whether an answer is about the channels.
func refusesChannels(e *transport.StatusError) bool {
	return e.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(e.Reason), "channel id")
}

func adviceOfStatus(e *transport.StatusError) string {
	switch {
	case e.Status == http.StatusBadRequest && codeOf(e) != 0:
		return adviceOfClose(codeOf(e))
	case refusesChannels(e), e.Status == http.StatusBadRequest:
		return adviseChannels
	case e.Status == http.StatusOK:
		return adviseSwitch
	case e.Status == http.StatusTooManyRequests:
		return adviceOfClose(transport.CloseTooManyConnections)
	case e.Status == http.StatusProxyAuthRequired:
		return "give the proxy its user and password, in HTTPS_PROXY or Proxy of the transport"
	case e.Status >= 300 && e.Status < 400:
		return adviseBetween + "; it leads to a login page, or to another address"
	case e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized:
		return "a gateway lets nobody in, or the push server refuses the channels: " + adviseChannels
	case e.Status == http.StatusNotFound:
		return "no push server is at this address: check it in the portal's settings of Push & Pull, and the gateway's rules for it"
	case e.Status >= 500:
		return "the gateway has no push server behind it: have that started, and look at its log"
	default:
		return adviseBetween
	}
}
