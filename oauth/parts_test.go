package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestParts_ErrorsTellNoPartOfASecret: not when a portal or an authorization server
// cuts it, groups it, or leaves out a character, as a code or a description.
func TestParts_ErrorsTellNoPartOfASecret(t *testing.T) {
	const code, token = "k7q2z9x4w8v1b6n3", "9f8e7d6c5b4a39281706f5e4d3c2b1a0918273645546372819"
	group := func(s, between string) string {
		var groups []string
		for ; len(s) > 4; s = s[4:] {
			groups = append(groups, s[:4])
		}
		return strings.Join(append(groups, s), between)
	}
	for name, disguise := range map[string]func(string) string{
		"whole":                func(s string) string { return s },
		"less the first":       func(s string) string { return s[1:] },
		"less the last":        func(s string) string { return s[:len(s)-1] },
		"less one":             func(s string) string { return s[:5] + s[6:] },
		"half":                 func(s string) string { return s[:len(s)/2] },
		"grouped by -":         func(s string) string { return group(s, "-") },
		"grouped by :":         func(s string) string { return group(s, ":") },
		"grouped by .":         func(s string) string { return group(s, ".") },
		"grouped by space":     func(s string) string { return group(s, " ") },
		"grouped by U+200B":    func(s string) string { return group(s, "\u200b") },
		"in capitals":          strings.ToUpper,
		"in the middle of one": func(s string) string { return "id" + s + "z" },
	} {
		t.Run(name, func(t *testing.T) {
			resttest.Sample(t)
			check := func(err error, secret string) {
				t.Helper()
				text := strings.Map(func(r rune) rune {
					if unicode.IsLetter(r) || unicode.IsDigit(r) {
						return unicode.ToLower(r)
					}
					return -1
				}, strings.ReplaceAll(err.Error(), `\u200b`, ""))
				for i := range len(secret) - 7 {
					if strings.Contains(text, secret[i:i+8]) {
						t.Fatalf("a part of the secret is told, by %d bytes of text", len(text))
					}
				}
			}
			for _, shape := range []string{`{"error":"X","error_description":"no § here"}`, `{"error":"§"}`, `{"error":"E_§"}`, `{"error":{"code":"X§","message":"§","validation":[{"field":"§","message":"§"}]}}`} {
				answer := func(secret string) http.HandlerFunc {
					return resttest.Reply(400, strings.ReplaceAll(shape, "§", disguise(secret)))
				}
				srv := resttest.Portal(t, answer(code))
				_, err := mustNew(t, b24pull.Webhook(srv.URL+"/rest/1/"+code+"/"), b24pull.WithHTTPClient(srv.Client())).GetConfig(context.Background(), true)
				check(err, code)
				if strings.Contains(shape, "no §") && !strings.Contains(err.Error(), "here") {
					t.Errorf("the rest of the description is gone: %v", err)
				}
				srv = resttest.Portal(t, answer(token))
				_, err = oauthClient(t, srv, resttest.Static(token)).GetConfig(context.Background(), true)
				check(err, token)
				app := &Application{ClientID: "app", ClientSecret: token, AuthServer: srv.URL, HTTPClient: srv.Client()}
				_, err = app.Exchange(context.Background(), AuthCode{Code: "code"})
				check(err, token)
				var refused *b24pull.TokenError
				if !errors.As(err, &refused) {
					t.Errorf("got %T", err)
				}
			}
		})
	}
}
