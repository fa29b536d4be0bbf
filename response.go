package b24pull

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
)

// An answer is what came back from a call.
type response struct {
	method      string
	portal      *url.URL // that was asked, nil where that does not help
	status      int
	contentType string
	body        []byte
	raw         json.RawMessage // the result in body, once it has been found
	redactor    redact.Redactor
	location    string        // where a redirect leads; a secret
	retryAfter  time.Duration // how long the answer wants to be waited for
	received    time.Time     // by our clock
	took        time.Duration
}

func (a response) fail(problem string) *APIError {
	return &APIError{Status: a.status, Method: a.method, Description: problem, Timing: a.timing(), RetryAfter: a.retryAfter, page: !a.isJSON() && len(a.body) > 0, half: a.isJSON() && !json.Valid(a.body)}
}

// minShift is the least difference between two clocks that is taken for one: a
// portal may tell its time in whole seconds.
const minShift = 2 * time.Second

// shift returns how far the portal's clock is ahead of ours. Its clock is what
// the result says, or else the envelope.
func (a response) shift(clock time.Time) time.Duration {
	if clock.IsZero() {
		clock = a.clock()
	}
	if clock.IsZero() {
		return 0
	}
	shift := clock.Sub(a.received)
	if shift.Abs() < max(a.took, minShift) {
		return 0
	}
	return shift
}

// clock returns the portal's time when it answered, zero if it tells none that
// can be read.
func (a response) clock() time.Time {
	t := a.timing()
	if t.Finish.IsZero() {
		return t.DateFinish
	}
	return t.Finish
}

// isEnvelope reports whether an object is the whole of an answer.
func isEnvelope(fields map[string]json.RawMessage) bool {
	return fields["result"] != nil || fields["error"] != nil
}

// result returns the envelope's result, or the error it holds. The body's text
// goes into no error: a proxy's page can repeat the address.
func (a response) result() (json.RawMessage, error) {
	if !json.Valid(a.body) {
		hint := a.portalHint()
		if bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{")) { // it has been cut off
			hint = ""
		}
		return nil, a.fail(fmt.Sprintf("the answer is not JSON (%s, %d bytes)", a.mediaType(), len(a.body)) + hint)
	}
	var envelope map[string]json.RawMessage
	if kind := phpjson.KindOf(a.body); kind != phpjson.KindObject || json.Unmarshal(a.body, &envelope) != nil {
		return nil, a.fail(fmt.Sprintf("want an object as the answer, got %s (%d bytes)", kind, len(a.body)) + a.portalHint())
	}
	result, has := envelope["result"]
	if code, found := envelope["error"]; found && !(has && blank(code)) {
		return nil, a.refusal(code, envelope["error_description"])
	}
	if !has {
		return nil, a.fail(fmt.Sprintf("the answer has neither result nor error (%d bytes)", len(a.body)) + a.portalHint())
	}
	if a.status != http.StatusOK {
		return nil, a.fail("the answer has a result and a status that is not 200")
	}
	return result, nil
}

// portalHint asks whether what has answered is a portal at all. A gateway before
// one answers 500 and above, or 429.
func (a response) portalHint() string {
	if a.portal == nil || a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests {
		return ""
	}
	hint := ": is " + a.redactor.Text(portalOf(a.portal)) + " really the portal's address"
	if a.portal.Scheme == "http" && a.status == http.StatusBadRequest {
		hint += ", and not that with https://"
	}
	return hint + "?"
}

const mediaTypeLimit = 64

// isJSON reports whether the answer calls itself JSON.
func (a response) isJSON() bool {
	media, _, err := mime.ParseMediaType(a.contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func (a response) mediaType() string {
	media, _, err := mime.ParseMediaType(a.contentType)
	if err != nil || media == "" || len(media) > mediaTypeLimit {
		return "of no known type"
	}
	return a.redactor.Line(media, mediaTypeLimit)
}

// Timing is what an answer tells about time, by the portal's clock. What the
// answer does not have, or what cannot be read, is zero.
type Timing struct {
	// Start and Finish are when the portal began and ended the call.
	Start, Finish time.Time
	// DateStart and DateFinish are the same in whole seconds.
	DateStart, DateFinish time.Time
	// Duration is how long the call took, Processing how long the method did.
	Duration, Processing time.Duration
	// Operating is the method's time used up within ten minutes; past the
	// portal's limit follows ErrOperationTimeLimit.
	Operating time.Duration
	// OperatingResetAt is when some of it is given back.
	OperatingResetAt time.Time
}

// time reads the envelope's time.
func (a response) timing() Timing {
	var ignored error
	o := phpjson.Node{Raw: a.body}.Object(&ignored).Object("time")
	if len(o.Fields) == 0 {
		return Timing{}
	}
	return Timing{
		Start: o.Moment("start"), Finish: o.Moment("finish"),
		DateStart: o.Moment("date_start"), DateFinish: o.Moment("date_finish"),
		Duration: o.Seconds("duration"), Processing: o.Seconds("processing"),
		Operating: o.Seconds("operating"), OperatingResetAt: o.Moment("operating_reset_at"),
	}
}
