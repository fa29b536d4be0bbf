package pulltest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Kinds of faults that answers of newer portals, and of what stands before a
// portal, are.
const (
	objectFailure faultKind = 100 + iota
	redirected
)

// loginPath is the page that LoginPage sends to.
const loginPath = "/auth/"

// LoginPage answers every request, again and again, with a 302 to the portal's
// page /auth/, whose query names the address that was asked for, secrets and
// all: so does a portal whose licence has expired, or a gateway that wants a
// login first.
var LoginPage = Fault{name: "login_page", kind: redirected, status: http.StatusFound}

// Redirect answers with a redirect to a location, such as 301 to where a portal
// has moved for good.
func Redirect(status int, location string) Fault {
	return Fault{name: "redirect", kind: redirected, status: status, text: location}
}

// ErrorObject answers with an error as the newer REST does: an object {code,
// message, validation}, the last of which has an object {field, message} for
// each parameter that is not valid, by field and message. Under the addresses
// of [Portal.APIWebhook] all errors are such objects.
func ErrorObject(status int, code string, validation ...[2]string) Fault {
	object := errorObject{Code: code, Message: describeError(code)}
	for _, v := range validation {
		object.Validation = append(object.Validation, invalidField{v[0], v[1]})
	}
	data, err := json.Marshal(object)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	return Fault{name: "error_object", kind: objectFailure, status: status, text: string(data)}
}

// WithRetryAfter adds the header Retry-After, as it is, to what BadGateway,
// Refuse, RESTError, ErrorObject and redirects answer: seconds, or an HTTP date
// by the portal's clock.
func (f Fault) WithRetryAfter(value string) Fault {
	f.retryAfter = value
	return f
}

// WithoutTime leaves the object time out of what RESTError answers, as a portal
// may do past a time limit.
func (f Fault) WithoutTime() Fault {
	f.timeless = true
	return f
}

// errorObject is an error of the newer REST.
type errorObject struct {
	Code       string         `json:"code"`
	Message    string         `json:"message"`
	Validation []invalidField `json:"validation,omitempty"`
}

type invalidField struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// announce says when the client may come again, if the fault refuses it.
func (f *failure) announce(head http.Header) {
	switch f.kind {
	case badGateway, refused, restFailure, objectFailure, redirected:
		if f.retryAfter != "" {
			head.Set("Retry-After", f.retryAfter)
		}
	}
}

// answerRedirect sends the client elsewhere.
func (f *failure) answerRedirect(w http.ResponseWriter, r *http.Request) {
	location := f.text
	if location == "" {
		location = loginPath + "?" + url.Values{"login": {"yes"}, "backurl": {r.URL.RequestURI()}}.Encode()
	}
	w.Header()["Location"] = []string{location}
	w.WriteHeader(f.status)
}

// answerObject tells an error as an object.
func (f *failure) answerObject(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(map[string]any{"error": json.RawMessage(f.text)})
}

// newerAddress cuts from the path of a REST call what marks the newer
// addresses, /rest/api/method and /rest/api/USER/CODE/method, and reports
// whether it did.
func newerAddress(path string) (rest string, newer bool) {
	rest, newer = strings.CutPrefix(path, "/rest/api/")
	if !newer || strings.Trim(rest, "/") == "" {
		return path, false
	}
	return "/rest/" + rest, true
}
