package b24pull

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
)

// An answer is what came back from a call.
type answer struct {
	method      string
	status      int
	contentType string
	body        []byte
	raw         json.RawMessage // the result in body, once it has been found
	known       redact.Redactor
	location    string        // where a redirect leads; a secret
	retryAfter  time.Duration // how long the answer wants to be waited for
	received    time.Time     // by our clock
	took        time.Duration
}

func (a answer) fail(problem string) *APIError {
	return &APIError{Status: a.status, Method: a.method, Description: problem, Time: a.time(), RetryAfter: a.retryAfter}
}

// minShift is the least difference between two clocks that is taken for one: a
// portal may tell its time in whole seconds.
const minShift = 2 * time.Second

// shift returns how far the portal's clock is ahead of ours. Its clock is what the
// result says, or else the envelope.
func (a answer) shift(clock time.Time) time.Duration {
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
func (a answer) clock() time.Time {
	t := a.time()
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
func (a answer) result() (json.RawMessage, error) {
	if !json.Valid(a.body) {
		return nil, a.fail(fmt.Sprintf("the answer is not JSON (%s, %d bytes)", a.mediaType(), len(a.body)))
	}
	var envelope map[string]json.RawMessage
	if kind := phpjson.KindOf(a.body); kind != phpjson.KindObject || json.Unmarshal(a.body, &envelope) != nil {
		return nil, a.fail(fmt.Sprintf("want an object as the answer, got %s (%d bytes)", kind, len(a.body)))
	}
	result, has := envelope["result"]
	if code, found := envelope["error"]; found && !(has && blank(code)) {
		return nil, a.refusal(code, envelope["error_description"])
	}
	if !has {
		return nil, a.fail(fmt.Sprintf("the answer has neither result nor error (%d bytes)", len(a.body)))
	}
	if a.status != http.StatusOK {
		return nil, a.fail("the answer has a result and a status that is not 200")
	}
	return result, nil
}

const mediaTypeLimit = 64

func (a answer) mediaType() string {
	media, _, err := mime.ParseMediaType(a.contentType)
	if err != nil || media == "" || len(media) > mediaTypeLimit {
		return "of no known type"
	}
	return a.known.Line(media, mediaTypeLimit)
}
