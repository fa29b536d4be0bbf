package b24pull

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// tokenAnswerLimit is what x/oauth2 reads of an answer.
const tokenAnswerLimit = 1 << 20

// tidy is a transport for x/oauth2. Its answers are JSON, whatever they say they
// are: x/oauth2 would read text/plain as a form, and the new token would be lost.
// What breaks off while it is read is an error of the network.
type tidy struct{ base http.RoundTripper }

func (t tidy) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.Body == nil {
		return resp, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, tokenAnswerLimit))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	body = told(body)
	resp.Header.Set("Content-Type", "application/json")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// readable reads the fields of an answer of the authorization server that no token
// may be lost for. access_token and refresh_token are not among them.
var readable = map[string]func(o object, name string){
	"client_endpoint": asText, "server_endpoint": asText, "scope": asText, "status": asText, "token_type": asText,
	"error": asText, "error_description": asText, "error_uri": asText,
	"member_id": func(o object, name string) { o.textOrNumber(name) },
	"user_id":   func(o object, name string) { o.number(name) },
	"expires":   func(o object, name string) { o.moment(name) },
}

func asText(o object, name string) { o.text(name) }

// told leaves out of an answer the fields that are not what they have to be: they
// count as not told.
func told(answer []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(answer, &fields) != nil || fields == nil {
		return answer
	}
	if code, _, _ := parts(fields["error"]); kindOf(fields["error"]) == kindObject {
		fields["error"] = code // nil: none that can be read
	}
	for name, read := range readable {
		var odd error
		if read(object{fields: fields, err: &odd}, name); odd != nil {
			delete(fields, name)
		}
	}
	if life, ok := seconds(fields["expires_in"]); ok {
		fields["expires_in"] = strconv.AppendInt(nil, life, 10)
	} else {
		delete(fields, "expires_in")
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return answer
	}
	return data
}

// seconds reads how long a token lives: a number, or a string that is one, with a
// fraction or without.
func seconds(raw json.RawMessage) (int64, bool) {
	n := node{raw: raw}
	if kindOf(raw) == kindBool {
		return 0, false
	}
	life, err := strconv.ParseFloat(n.scalar(), 64)
	if err != nil || !(life > 0 && life < longestLife) {
		return 0, false
	}
	return int64(life), true
}
