package pulltest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// Kinds of faults that leave the answer what it is, and of those that change a
// field of it.
const (
	surrounded faultKind = 300 + iota
	oddField
	insecureEndpoint
)

// What a portal's PHP writes around its answers, and what else the
// authorization server may answer. The first three are for [REST], [OAuth] and
// [Polls].
var (
	// ByteOrderMark puts one before every answer, as a PHP file does that is
	// saved with it.
	ByteOrderMark = Surround("\ufeff", "").named("byte_order_mark")

	// PHPNotice puts a notice of PHP before every answer, as HTML, as a server
	// does that has display_errors on.
	PHPNotice = Surround(notice("Notice", "Undefined index: {\"scope\"}"), "").named("php_notice")

	// PHPWarnings puts warnings on both sides of every answer.
	PHPWarnings = Surround(notice("Warning", "count(): Parameter must be an array [0]")+notice("Deprecated", "{closure}"), notice("Warning", "Unknown: {1}")).named("php_warnings")

	// InsecureEndpoint has the authorization server tell a client_endpoint that
	// begins with http://, as real answers do, though the portal has https.
	InsecureEndpoint = Fault{name: "insecure_endpoint", kind: insecureEndpoint}

	// AuthorizationError is a refusal of the authorization server that passes,
	// 401 authorization_error; neither a code nor a refresh token is spent. See
	// [Fault.Times].
	AuthorizationError = RESTError(http.StatusUnauthorized, "authorization_error").named("authorization_error")
)

func notice(kind, text string) string {
	return "<br />\n<b>" + kind + "</b>:  " + text + " in <b>/home/bitrix/www/bitrix/modules/rest/lib/server.php</b> on line <b>42</b><br />\n"
}

// Surround puts texts before and after the answers of REST, the authorization
// server and polls that have a body.
func Surround(before, after string) Fault {
	return Fault{name: "surround", kind: surrounded, text: before, after: after}
}

// TokenField has the authorization server answer a token with another value of
// one field, such as "client_endpoint" or "expires_in"; nil leaves it out. The
// tokens are given out as they would be. It panics if value cannot be
// marshalled.
func TokenField(name string, value any) Fault {
	data, err := json.Marshal(value)
	if err != nil {
		panic("pulltest: TokenField: " + err.Error())
	}
	if value == nil {
		data = nil
	}
	return Fault{name: "token_field", kind: oddField, code: name, text: string(data)}
}

// Times has the fault met by n requests, and not by later ones; 0 is no bound.
func (f Fault) Times(n int) Fault {
	f.times = n
	return f
}

// past reports whether as many requests have met the fault as are to.
func (f *failure) past() bool { return f.times > 0 && f.met.Add(1) > int64(f.times) }

// dress serves a request and answers it otherwise.
func (f *failure) dress(w http.ResponseWriter, r *http.Request, service Service, next http.Handler) {
	a := record(next, r)
	if r.Context().Err() != nil {
		return
	}
	body := a.body.Bytes()
	switch {
	case f.kind == surrounded && len(body) > 0:
		body = []byte(f.text + string(body) + f.after)
	case f.kind != surrounded && service == OAuth && a.status == http.StatusOK:
		body = f.change(body)
	}
	maps.Copy(w.Header(), a.header)
	if w.Header().Get("Content-Length") != "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.status)
	if len(body) > 0 {
		w.Write(body)
	}
}

// change changes a field of a token's answer.
func (f *failure) change(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	switch {
	case f.kind == insecureEndpoint:
		fields["client_endpoint"] = json.RawMessage(strings.Replace(string(fields["client_endpoint"]), "https://", "http://", 1))
	case f.text == "":
		delete(fields, f.code)
	default:
		fields[f.code] = json.RawMessage(f.text)
	}
	changed, err := json.Marshal(fields)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	return changed
}
