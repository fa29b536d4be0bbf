package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// hostile is what a server may write to play tricks on a terminal, or to forge
// a line of a log; short enough for a name, and long enough to need a bound.
const hostile = "a\x1b[2J\u202e\u200b\u009b31m\x7f\u2028\nlevel=ERROR forged\r\a"

// endless is longer than any error may be.
func endless() string { return strings.Repeat(hostile, resttest.Rounds(4000)) }

const longestText = 20_000

// trick returns the way of printing v that would play a trick, "" if none does.
func trick(v any) string {
	forms := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%#v"} {
		forms[verb] = fmt.Sprintf(verb, v)
	}
	if err, ok := v.(error); ok {
		forms["Error"] = err.Error()
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	forms["slog text"], forms["slog json"] = strings.TrimSuffix(text.String(), "\n"), strings.TrimSuffix(js.String(), "\n")
	for name, form := range forms {
		switch {
		case len(form) > longestText && name != "%#v": // which prints all fields as they are
			return fmt.Sprintf("%s, by %d bytes", name, len(form))
		case !utf8.ValidString(form) || strings.ContainsFunc(form, func(r rune) bool { return !unicode.IsPrint(r) }):
			return fmt.Sprintf("%s: %.300q", name, form)
		}
	}
	return ""
}

func TestHostile_TrickFinds(t *testing.T) {
	for _, v := range []any{errors.New(hostile), "\u202e", "\xff", errors.New(strings.Repeat("x", longestText)), struct{ S string }{"\u009b"}} {
		if trick(v) == "" {
			t.Errorf("%T: nothing found", v)
		}
	}
}

// quoted writes a string as JSON.
func quoted(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// TestHostile_ErrorsPlayNoTricks: whatever a portal, an authorization server or a proxy
// writes, no error prints what does not print.
func TestHostile_ErrorsPlayNoTricks(t *testing.T) {
	t.Parallel()
	for _, s := range []string{hostile, endless(), "\xff\xfe" + hostile} {
		for name, handler := range map[string]http.HandlerFunc{
			"description":       resttest.Reply(400, `{"error":"NEW","error_description":`+quoted(s)+`}`),
			"code":              resttest.Reply(400, `{"error":`+quoted(s)+`}`),
			"error object":      resttest.Reply(400, `{"error":{"code":`+quoted(s)+`,"message":`+quoted(s)+`,"validation":[{"field":`+quoted(s)+`,"message":`+quoted(s)+`}]}}`),
			"validation by key": resttest.Reply(400, `{"error":{"code":"X","validation":{`+quoted(s)+`:`+quoted(s)+`}}}`),
			"result":            resttest.Reply(200, `{"result":{"server":`+quoted(s)+`,`+quoted(s)+`:1}}`),
			"no JSON":           resttest.Reply(200, s),
			"content type": func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{"text/\u202e\u009b" + strings.Repeat("x", min(len(s), 1000))}
			},
			"status text": func(w http.ResponseWriter, _ *http.Request) {
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					fmt.Fprintf(conn, "HTTP/1.1 500 %.1000s\r\n\r\n", strings.ReplaceAll(s, "\n", ""))
					conn.Close()
				}
			},
			"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					io.WriteString(conn, s[:min(len(s), 3000)]+"\r\n\r\n")
					conn.Close()
				}
			},
			"redirect": func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{"https://\u202ehost\u200b.example/rest/" + url.PathEscape(s[:min(len(s), 1000)])}
				w.WriteHeader(302)
			},
			"redirect for good": func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{"https://\u202ehost\u200b.example/"}
				w.WriteHeader(301)
			},
		} {
			t.Run(name, func(t *testing.T) {
				resttest.Sample(t)
				srv := resttest.Portal(t, handler)
				cfg, err := webhookClient(t, srv).GetConfig(context.Background(), true)
				if err == nil {
					_, err = cfg.PublicChannels()
				}
				checkTrick(t, err)
				var into struct{ Server int }
				if _, err = webhookClient(t, srv).Call(context.Background(), "app.info", nil, &into); err != nil {
					checkTrick(t, err)
				}
				app := &Application{ClientID: "app", ClientSecret: resttest.ClientSecret, AuthServer: srv.URL, HTTPClient: srv.Client()}
				_, err = app.Exchange(context.Background(), AuthCode{Code: "code"})
				checkTrick(t, err)
			})
		}
		t.Run("public channels", func(t *testing.T) {
			srv := resttest.Portal(t, resttest.Reply(200, strings.Replace(`{"result":`+resttest.MarkedConfig+`}`, `"577"`, quoted(s), 1)))
			checkTrick(t, publicChannelsError(t, srv))
		})
	}
}

// checkTrick looks at an error, and at an APIError within reach: users print
// its description by itself.
func checkTrick(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	if form := trick(err); form != "" {
		t.Errorf("%T plays a trick by %s", err, form)
	}
	var refused *b24pull.APIError
	if errors.As(err, &refused) {
		for _, v := range []any{refused.Code, refused.Description, refused.Method, refused.Validation()} {
			if form := trick(v); form != "" {
				t.Errorf("a field of %T plays a trick by %s", err, form)
			}
		}
	}
}

func TestHostile_NetworkErrorsPlayNoTricks(t *testing.T) {
	for name, failure := range map[string]error{
		"text":        errors.New(hostile),
		"endless":     errors.New(endless()),
		"wrapped":     fmt.Errorf("a: %w", fmt.Errorf("%s: %w", hostile, io.ErrUnexpectedEOF)),
		"joined":      errors.Join(errors.New(hostile), io.ErrUnexpectedEOF),
		"address":     &url.Error{Op: "Post", URL: hostile, Err: errors.New(hostile)},
		"oauth":       &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400, Status: hostile}, Body: []byte(hostile), ErrorCode: hostile, ErrorDescription: hostile},
		"certificate": fmt.Errorf("x509: certificate is valid for %s, not portal.example", hostile),
	} {
		t.Run(name, func(t *testing.T) {
			hc := &http.Client{Transport: resttest.RoundTrip(func(*http.Request) (*http.Response, error) { return nil, failure })}
			_, err := mustNew(t, b24pull.Webhook("https://portal.example/rest/1/"+resttest.HookCode+"/"), b24pull.WithHTTPClient(hc)).GetConfig(context.Background(), true)
			checkTrick(t, err)
			tokens := sourceFunc(func() (*oauth2.Token, error) { return nil, failure })
			_, err = mustNew(t, b24pull.OAuth("https://portal.example", tokens), b24pull.WithHTTPClient(hc)).GetConfig(context.Background(), true)
			checkTrick(t, err)
			if name == "wrapped" && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the cause is out of reach of %v", err)
			}
		})
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			fmt.Fprintf(conn, "HTTP/1.1 407 no\x1b[2J\u202e\u009b\r\n\r\n")
			conn.Close()
		}
	}))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	hc := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	_, err := mustNew(t, b24pull.Webhook("https://portal.example/rest/1/"+resttest.HookCode+"/"), b24pull.WithHTTPClient(hc)).GetConfig(context.Background(), true)
	checkTrick(t, err)
}

// TestHostile_ValuesPlayNoTricks: nor does any value with a text of its own.
func TestHostile_ValuesPlayNoTricks(t *testing.T) {
	for _, s := range []string{hostile, endless()} {
		host := "wss://\u202erb\u009b.example/" + url.PathEscape(hostile)
		channel := b24pull.Channel{ID: b24pull.Secret(s), PublicID: b24pull.Secret(s), Type: s}
		cfg := b24pull.Config{
			Server: b24pull.Server{Version: 5, Mode: s, Hostname: s, WebSocketSecure: host, LongPollingSecure: host}, ClientID: s,
			Channels: b24pull.Channels{Private: &channel},
		}
		for name, v := range map[string]any{
			"Config": cfg, "*Config": &cfg, "Server": cfg.Server, "Channels": cfg.Channels, "Channel": channel, "*Channel": &channel, "PublicChannel": b24pull.PublicChannel{PublicID: b24pull.Secret(s)},
			"Token":    &Token{Portal: s, MemberID: s, Status: s, Scope: []string{s}},
			"Callback": Callback{Event: s, MemberID: s, Lang: s, Placement: s}, "AuthCode": AuthCode{Portal: s, MemberID: s, Scope: s, Server: s},
			"APIError": &b24pull.APIError{Code: s, Description: s, Method: s}, "TokenError": &b24pull.TokenError{Code: s, Status: 400},
			"InvalidField": b24pull.InvalidField{Field: hostile, Message: hostile}, "MoveError": &b24pull.MoveError{Method: "m", From: s, To: s, Err: errors.New(s)},
		} {
			if form := trick(v); form != "" {
				t.Errorf("%s plays a trick by %s", name, form)
			}
		}
	}
	for _, address := range []string{"https://\u202eportal.example", "https://portal\u009b.example", "port\u200bal.example"} {
		if _, err := b24pull.New(b24pull.OAuth(address, resttest.Static("t"))); err == nil {
			t.Errorf("%q is a portal", address)
		}
	}
	r := httptest.NewRequest("GET", "/?state=st4te&code=1&domain=portal.example&member_id="+url.QueryEscape(hostile), nil)
	if code, err := ParseRedirect(r, "st4te"); err != nil || code.MemberID != "" {
		t.Errorf("got the member %q, %v", code.MemberID, err)
	}
	r = httptest.NewRequest("GET", "/?state=st4te&error="+url.QueryEscape(hostile), nil)
	_, err := ParseRedirect(r, "st4te")
	checkTrick(t, err)
}
