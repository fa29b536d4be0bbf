package oauth

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/unfold"
)

// tokenAnswerLimit is what x/oauth2 reads of an answer.
const tokenAnswerLimit = 1 << 20

// tolerant is a transport for x/oauth2, which gets answers in which it can find
// nothing wrong but that there are no tokens. Its answers are JSON, whatever
// they say they are: x/oauth2 would read text/plain as a form. An answer with
// both tokens is a good one whatever its status is, and also if it breaks off
// behind them; else what breaks off is an error of the network.
type tolerant struct{ base http.RoundTripper }

func (t tolerant) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.Body == nil {
		return resp, err
	}
	body, err := plain(resp)
	resp.Body.Close()
	fields := tokenFields(body)
	switch {
	case hasTokens(fields):
		body = told(fields)
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
	case err != nil:
		return nil, err
	case fields != nil:
		body = told(fields)
	}
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Del("Content-Encoding")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// plain reads an answer, also one that was compressed though nobody had asked
// for that. What has been read is returned with an error, too.
func plain(resp *http.Response) ([]byte, error) {
	body, err := unfold.Reader(strings.Join(resp.Header.Values("Content-Encoding"), ","), resp.Body)
	if err != nil {
		body = resp.Body // what it says of itself may be wrong
	}
	return io.ReadAll(io.LimitReader(body, tokenAnswerLimit))
}

// tokenFields returns the fields of an answer of the authorization server: of
// the object in it with both tokens, or else, where that is broken or stands
// within another, those that can be read; or of an object with one, or with an
// error. nil: there is none of these.
func tokenFields(body []byte) map[string]json.RawMessage {
	if fields := objectIn(body, hasTokens); fields != nil {
		return fields
	}
	if fields := salvage(body); hasTokens(fields) {
		return fields
	}
	return objectIn(body, func(fields map[string]json.RawMessage) bool {
		return fields["error"] != nil || fields["access_token"] != nil
	})
}

// objectIn returns the fields of the object in body that is reports to be the
// one looked for, nil if there is none.
func objectIn(body []byte, is func(map[string]json.RawMessage) bool) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(phpjson.Find(body, is), &fields) != nil || !is(fields) {
		return nil
	}
	return fields
}

// member matches a field of a token's answer, with a string or a number.
var member = regexp.MustCompile(`"(access_token|refresh_token|expires|expires_in|client_endpoint|server_endpoint|member_id|user_id|scope|status)"` +
	`\s*:\s*(?:("(?:[^"\\]|\\.)*")|([0-9]+(?:\.[0-9]+)?)\s*[,}])`)

// salvage reads what it can of an answer that is not the object it should be.
func salvage(body []byte) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	for _, m := range member.FindAllSubmatch(body, -1) {
		if value := append(m[2], m[3]...); json.Valid(value) {
			fields[string(m[1])] = value
		}
	}
	return fields
}

func hasTokens(fields map[string]json.RawMessage) bool {
	o := phpjson.Object{Fields: fields}
	return phpjson.Quiet(o, "access_token") != "" && phpjson.Quiet(o, "refresh_token") != ""
}

// defaultLife is how long an access token lives where nothing that can be
// believed tells it, longestLife more than any lives; both in seconds.
const (
	defaultLife = 3600
	longestLife = 10 * 365 * 24 * 3600
)

// told writes an answer of which x/oauth2 takes what it needs and fails at
// nothing: the fields that are known, each as it has to be, and no error beside
// the tokens.
func told(fields map[string]json.RawMessage) []byte {
	if phpjson.KindOf(fields["error"]) == phpjson.KindObject {
		fields["error"], _, _ = phpjson.ErrorParts(fields["error"]) // nil: none that can be read
	}
	o := phpjson.Object{Fields: fields}
	clean := map[string]any{}
	texts := []string{"access_token", "refresh_token", "server_endpoint", "scope", "status"}
	if !hasTokens(fields) {
		texts = append(texts, "error", "error_description", "error_uri")
	}
	for _, name := range texts {
		if text := phpjson.Quiet(o, name); text != "" {
			clean[name] = text
		}
	}
	if endpoint := phpjson.Quiet(o, "client_endpoint"); strings.Contains(endpoint, "://") {
		clean["client_endpoint"] = addr.Portal(endpoint)
	}
	if member := phpjson.Readable(o, func(o phpjson.Object) string { return o.TextOrNumber("member_id") }); memberForm.MatchString(member) && member != "0" {
		clean["member_id"] = member
	}
	if user := phpjson.Readable(o, func(o phpjson.Object) int64 { return o.Number("user_id") }); user > 0 {
		clean["user_id"] = strconv.FormatInt(user, 10)
	}
	life, ok := seconds(fields["expires_in"])
	if !ok {
		life = defaultLife
	}
	clean["expires_in"] = life
	now := time.Now()
	if end := phpjson.Readable(o, func(o phpjson.Object) time.Time { return o.Moment("expires") }); end.After(now) && end.Before(now.Add(longestLife*time.Second)) {
		clean["expires"] = end.Unix()
	}
	// What was a token of another type stays as it was, to be refused.
	for _, name := range []string{"access_token", "refresh_token"} {
		if raw := fields[name]; clean[name] == nil && raw != nil {
			clean[name] = raw
		}
	}
	data, err := json.Marshal(clean)
	if err != nil {
		panic("b24pull: an answer is strings and numbers: " + err.Error())
	}
	return data
}

// seconds reads how long a token lives: a number, or a string that is one, with
// a fraction or without.
func seconds(raw json.RawMessage) (int64, bool) {
	n := phpjson.Node{Raw: raw}
	if phpjson.KindOf(raw) == phpjson.KindBool {
		return 0, false
	}
	life, err := strconv.ParseFloat(n.Scalar(), 64)
	if err != nil || !(life >= 1 && life < longestLife) {
		return 0, false
	}
	return int64(life), true
}
