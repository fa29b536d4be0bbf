package oauth

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

// Token is an access and a refresh token, and what Bitrix24 tells with them. It
// prints and marshals without its secrets; Raw has what to save. The strings of
// the oauth2.Token in it are plain: printed by themselves they tell all.
type Token struct {
	oauth2.Token

	// Portal is the portal's scheme and host, https://portal.bitrix24.com, as
	// b24pull.OAuth takes it; "" where nothing that came with the token names a
	// host.
	Portal string
	// ServerEndpoint is the address of the authorization server's REST. Its
	// host refreshes the token, if it is one that may see the client_secret.
	ServerEndpoint string
	// MemberID names the portal, also after its address has changed.
	MemberID string
	// UserID is the user the token was given for, 0 where nothing told it.
	UserID int64
	// Scope is what the application may use.
	Scope []string
	// Status is the application's: "F" free, "D" demo, "T" trial, "P" paid, "L"
	// local, "S" subscription.
	Status string
	// ApplicationToken comes with the portal's events and proves that they are
	// from there; "" until one has come.
	ApplicationToken b24pull.Secret
	// Revoked says that the authorization server has refused the refresh token
	// for good (b24pull.ErrInvalidGrant). Tokens sets it; Tokens.Handle puts
	// the token of the next callback in its place.
	Revoked bool

	// kept: the ApplicationToken came with a token before, from an installation
	// that may have been another one.
	inherited bool
}

// clone shares nothing with t.
func (t *Token) clone() *Token {
	c := *t
	c.Scope = slices.Clone(t.Scope)
	return &c
}

// keep is told which token t replaces, and finds out whether its
// ApplicationToken is kept.
func (t *Token) keep(before *Token) {
	switch {
	case before == nil || t.ApplicationToken == "":
	case t.ApplicationToken != before.ApplicationToken:
		t.inherited = false
	default:
		t.inherited = t.inherited || before.inherited || t.identity() != before.identity()
	}
}

func (t *Token) secrets() []string {
	return []string{t.AccessToken, t.RefreshToken, string(t.ApplicationToken)}
}

// String names the portal and the member.
func (t Token) String() string {
	text := "oauth.Token(" + quote.Name(t.Portal)
	if t.MemberID != "" {
		text += ", member " + quote.Name(t.MemberID)
	}
	if !t.Expiry.IsZero() {
		text += ", expires " + t.Expiry.UTC().Format(time.RFC3339)
	}
	return text + ")"
}

// Format writes String for every verb.
func (t Token) Format(f fmt.State, verb rune) { redact.Format(f, verb, t.String()) }

// LogValue is String for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String for encoding/json: a marshalled Token cannot be loaded
// again. Raw has what to save.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// savedToken is the form of Raw: an answer of the authorization server, and
// more.
type savedToken struct {
	AccessToken      string `json:"access_token"`
	RefreshToken     string `json:"refresh_token,omitempty"`
	Expires          int64  `json:"expires,omitempty"`
	Portal           string `json:"portal,omitempty"`
	ServerEndpoint   string `json:"server_endpoint,omitempty"`
	MemberID         string `json:"member_id,omitempty"`
	UserID           int64  `json:"user_id,omitempty"`
	Scope            string `json:"scope,omitempty"`
	Status           string `json:"status,omitempty"`
	ApplicationToken string `json:"application_token,omitempty"`
	Inherited        bool   `json:"application_token_kept,omitempty"`
	Revoked          bool   `json:"revoked,omitempty"`
}

// Raw returns the token as JSON, to be saved and loaded again with
// UnmarshalJSON. It holds secrets.
func (t *Token) Raw() json.RawMessage {
	saved := savedToken{
		AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, Portal: t.Portal, ServerEndpoint: t.ServerEndpoint,
		MemberID: t.MemberID, UserID: t.UserID, Scope: strings.Join(t.Scope, ","),
		Status: t.Status, ApplicationToken: string(t.ApplicationToken), Inherited: t.inherited, Revoked: t.Revoked,
	}
	if !t.Expiry.IsZero() {
		saved.Expires = t.Expiry.Unix()
	}
	data, err := json.Marshal(saved)
	if err != nil {
		panic("b24pull: a token is strings and numbers: " + err.Error())
	}
	return data
}

// UnmarshalJSON decodes what Raw returned, also that of earlier versions, or an
// answer of the authorization server. It wants the access_token, and that those
// strings and flags are what they have to be which nothing else can tell;
// anything else is an error that is b24pull.ErrInvalidConfig and tells no
// value. All other fields are left zero where they cannot be read. Portal is
// https on the host that portal, client_endpoint or domain names, whatever
// scheme stands there. t is changed only without an error.
func (t *Token) UnmarshalJSON(data []byte) error {
	root, err := phpjson.Root("token", data)
	if err != nil {
		return err
	}
	decoded := decodeToken(root.Object(&err))
	if err != nil {
		return err
	}
	*t = decoded
	return nil
}

// scopes takes a list of scopes apart.
func scopes(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}

func decodeToken(o phpjson.Object) Token {
	t := Token{
		ApplicationToken: b24pull.Secret(o.Text("application_token")), inherited: o.Flag("application_token_kept"), Revoked: o.Flag("revoked"),

		ServerEndpoint: phpjson.Quiet(o, "server_endpoint"), Status: phpjson.Quiet(o, "status"),
		MemberID: phpjson.Readable(o, func(o phpjson.Object) string { return o.TextOrNumber("member_id") }),
		UserID:   phpjson.Readable(o, func(o phpjson.Object) int64 { return o.Number("user_id") }),
		Scope:    scopes(phpjson.Quiet(o, "scope")),
	}
	t.AccessToken, t.RefreshToken, t.TokenType = o.Text("access_token"), o.Text("refresh_token"), "bearer"
	if t.AccessToken == "" {
		o.Fail(o.At("access_token").Wrong("missing"))
	}
	t.Expiry = phpjson.Readable(o, func(o phpjson.Object) time.Time { return o.Moment("expires") })
	if life, ok := seconds(o.Fields["expires_in"]); ok && t.Expiry.IsZero() {
		t.Expiry = time.Now().Add(time.Duration(life) * time.Second).Truncate(time.Second).UTC()
	}
	// The domain in an answer of the authorization server is its own: see take.
	for _, name := range []string{"portal", "client_endpoint", "domain"} {
		if t.Portal == "" {
			t.Portal = addr.Portal(phpjson.Quiet(o, name))
		}
	}
	return t
}
