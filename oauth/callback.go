package oauth

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

const (
	eventInstall   = "ONAPPINSTALL"
	eventUninstall = "ONAPPUNINSTALL"

	callbackLimit = 1 << 20
)

var memberForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ErrApplicationToken is the error of a callback that does not prove that it
// comes from the portal.
var ErrApplicationToken = errors.New("b24pull: the application_token is missing or not the portal's")

// ErrCallback is the error, by errors.Is, of a request that is no callback of a
// portal, or one that brings what no portal sends.
var ErrCallback = errors.New("b24pull: the request is no callback of a portal")

// badCallback says what is wrong with a callback.
type badCallback string

func (e badCallback) Error() string { return string(e) }

func (e badCallback) Is(target error) bool { return target == ErrCallback }

// AuthCode is what the portal sends the user's browser back with.
type AuthCode struct {
	// Code is to be exchanged within 30 seconds.
	Code b24pull.Secret
	// Portal is the portal's scheme and host; the scheme is https.
	Portal string
	// MemberID names the portal.
	MemberID string
	// Scope is what the application may use.
	Scope string
	// Server is the host of the authorization server that knows the code.
	Server string
}

// ParseRedirect reads the request that comes to the application's redirect
// address after AuthCodeURL. state is the one that was kept in the user's
// session; another one is an error.
func ParseRedirect(r *http.Request, state string) (AuthCode, error) {
	q := r.URL.Query()
	code := AuthCode{Code: b24pull.Secret(q.Get("code")), MemberID: q.Get("member_id"), Scope: q.Get("scope"), Server: q.Get("server_domain")}
	if !memberForm.MatchString(code.MemberID) {
		code.MemberID = "" // none that a portal has
	}
	if state == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
		return AuthCode{}, errors.New("b24pull: redirect: " + wrongState(state, q.Get("state")))
	}
	if refusal := q.Get("error"); refusal != "" {
		return AuthCode{}, &b24pull.TokenError{Code: redact.Redactor{}.Code(refusal, nil)}
	}
	code.Portal = addr.Portal(q.Get("domain"))
	switch {
	case addr.HasUser(q.Get("domain")), addr.HasUser(code.Server):
		return AuthCode{}, errors.New("b24pull: redirect: domain or server_domain has a user or a password before the host")
	case code.Portal == "":
		return AuthCode{}, errors.New("b24pull: redirect: domain: it is missing, or names no host")
	case code.Code == "":
		return AuthCode{}, errors.New("b24pull: redirect: no code: want the request that the portal sends the browser back with")
	}
	return code, nil
}

// wrongState says what is wrong with the state of a redirect.
func wrongState(kept, came string) string {
	switch {
	case kept == "":
		return "the state of the user's session is empty: give the one that AuthCodeURL was given"
	case came == "":
		return "there is no state: want the request that the portal sends the browser back with, after AuthCodeURL"
	}
	return "the state is not that of the user's session"
}

// String names the portal and the member.
func (c AuthCode) String() string {
	return fmt.Sprintf("oauth.AuthCode(%s, member %s)", quote.Name(c.Portal), quote.Name(c.MemberID))
}

// Format writes String for every verb.
func (c AuthCode) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c AuthCode) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Callback is a request of a portal to an application: an event, or the form
// that a user's opening or installing it sends. It prints without its secrets.
type Callback struct {
	// Event is the event's name in upper case, like ONAPPINSTALL; "" for a
	// form.
	Event string
	// Token is the token that came; nil if none did, as with ONAPPUNINSTALL.
	Token *Token
	// MemberID names the portal.
	MemberID string
	// ApplicationToken proves that an event is from the portal; see Verify.
	// Forms have none.
	ApplicationToken b24pull.Secret
	// Lang is the user's language, like "en".
	Lang string
	// Placement is where in the portal a form was opened, like "DEFAULT".
	Placement string

	form func() url.Values // a function, which fmt prints as an address
}

// ParseCallback reads an event or the form of the install or open handler. It
// reads the request's body, up to 1 MiB.
//
// Anybody can send such a request. Before a token of it is kept it has to be
// confirmed, before an event is believed its application_token has to be
// verified: Tokens.Handle does both. Errors are ErrCallback, by errors.Is.
func ParseCallback(r *http.Request) (*Callback, error) {
	if r.Method != http.MethodPost {
		return nil, badCallback("b24pull: callback: want a POST, got " + quote.Name(r.Method) + ": portals post; a browser that opens the address does not")
	}
	r.Body = http.MaxBytesReader(nil, r.Body, callbackLimit)
	if err := r.ParseForm(); err != nil {
		return nil, badCallback("b24pull: callback: " + noForm(err))
	}
	form := r.Form
	c := &Callback{
		Event: strings.ToUpper(form.Get("event")), Placement: form.Get("PLACEMENT"),
		Lang: cmp.Or(form.Get("LANG"), form.Get("data[LANGUAGE_ID]")), form: func() url.Values { return form },
	}
	fields := c.fields()
	c.MemberID, c.ApplicationToken = fields["member_id"], b24pull.Secret(fields["application_token"])
	if !memberForm.MatchString(c.MemberID) {
		return nil, badCallback("b24pull: callback: " + noMember(r, c.MemberID))
	}
	for _, name := range []string{"domain", "client_endpoint", "server_endpoint"} {
		if addr.HasUser(fields[name]) {
			return nil, badCallback("b24pull: callback: " + name + " has a user or a password before the host")
		}
	}
	if fields["access_token"] == "" {
		if c.Event == "" {
			return nil, badCallback("b24pull: callback: neither an event nor a token")
		}
		return c, nil
	}
	maps.DeleteFunc(fields, func(_, v string) bool { return v == "" })
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, badCallback("b24pull: callback: the fields cannot be read")
	}
	c.Token = new(Token)
	if err := c.Token.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("%w%w", badCallback("b24pull: callback: "), err)
	}
	return c, nil
}

// noForm says why a request has no form that can be read. The error itself
// quotes it.
func noForm(err error) string {
	if errors.As(err, new(*http.MaxBytesError)) {
		return fmt.Sprintf("the body has more than %d bytes", callbackLimit)
	}
	return "the body, or the query, is not a form that can be read"
}

const (
	formMedia  = "application/x-www-form-urlencoded"
	mediaLimit = 64
)

// noMember says why there is no member_id, or none that can be.
func noMember(r *http.Request, member string) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case member != "":
		return "its member_id is not one that a portal has"
	case r.Header.Get("Content-Type") == "":
		return "want a form (" + formMedia + "), got no Content-Type"
	case media != formMedia:
		return "want a form (" + formMedia + "), got " + cmp.Or(redact.Redactor{}.Line(media, mediaLimit), "a Content-Type that is none")
	case len(r.PostForm) == 0:
		return "the form is empty: something may have read the body before"
	}
	return "no member_id: want what a portal posts to the install or open handler, or an event"
}

// fields are those of the token, as the authorization server names them.
func (c *Callback) fields() map[string]string {
	form := c.form()
	fields := map[string]string{}
	if c.Event != "" {
		for _, name := range []string{"access_token", "refresh_token", "expires", "expires_in", "domain", "server_endpoint",
			"client_endpoint", "member_id", "user_id", "scope", "status", "application_token"} {
			fields[name] = form.Get("auth[" + name + "]")
		}
		return fields
	}
	for name, as := range map[string]string{"AUTH_ID": "access_token", "REFRESH_ID": "refresh_token", "AUTH_EXPIRES": "expires_in",
		"SERVER_ENDPOINT": "server_endpoint", "member_id": "member_id", "status": "status"} {
		fields[as] = form.Get(name)
	}
	fields["domain"] = form.Get("DOMAIN") // https on it, whatever PROTOCOL says
	return fields
}

// Value returns a field of the request by its full name, like
// "data[FIELDS][ID]" or "PLACEMENT_OPTIONS". Fields that hold tokens are
// secrets.
func (c *Callback) Value(name string) string {
	if c.form == nil {
		return ""
	}
	return c.form().Get(name)
}

// Installed reports whether the portal says that the application was installed.
func (c *Callback) Installed() bool { return c.Event == eventInstall }

// Uninstalled reports whether the portal says that the application was removed.
// Its tokens are dead then.
func (c *Callback) Uninstalled() bool { return c.Event == eventUninstall }

// Verify compares the callback's application_token with the one that is known
// of the portal, in constant time. It returns ErrApplicationToken if they
// differ, or if one of them is empty.
func (c *Callback) Verify(known b24pull.Secret) error {
	known = b24pull.Secret(addr.Trim(string(known)))
	if known == "" || subtle.ConstantTimeCompare([]byte(c.ApplicationToken), []byte(known)) != 1 {
		return ErrApplicationToken
	}
	return nil
}

// String names the event and the portal's member_id.
func (c Callback) String() string {
	return fmt.Sprintf("oauth.Callback(%q, member %s)", quote.Name(cmp.Or(c.Event, "form")), quote.Name(c.MemberID))
}

// Format writes String for every verb.
func (c Callback) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Callback) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String for encoding/json.
func (c Callback) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
