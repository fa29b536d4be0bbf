package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

func TestSecret_ValuesTellNoSecret(t *testing.T) {
	srv := resttest.Portal(t, resttest.Reply(200, `{"result":`+resttest.MarkedConfig+`}`))
	cfg, err := webhookClient(t, srv).GetConfig(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	public, err := cfg.PublicChannels()
	if err != nil || len(public) != 1 {
		t.Fatalf("%d public channels, %v", len(public), err)
	}
	hook := Webhook("https://portal.example/rest/1/" + resttest.HookCode + "/")
	app := OAuth("https://portal.example", resttest.Static(resttest.AccessToken))
	hookClient, appClient := mustNew(t, hook), mustNew(t, app)
	type keeper struct {
		client *Client
		auth   Auth
	}
	values := map[string]any{
		"Webhook": hook, "invalid Webhook": Webhook(resttest.HookCode), "OAuth": app, "invalid OAuth": OAuth("https://x/?"+resttest.Mark, resttest.Static(resttest.AccessToken)),
		"*Client of a webhook": hookClient, "Client of a webhook": *hookClient, "*Client of OAuth": appClient, "Client of OAuth": *appClient,
		"*Config": cfg, "Config": *cfg, "[]Config": []Config{*cfg}, "map of Config": map[string]Config{"a": *cfg}, "struct of Config": struct{ C Config }{*cfg},
		"Server": cfg.Server, "*Server": &cfg.Server, "Channels": cfg.Channels, "Channel": *cfg.Channels.Private, "*Channel": cfg.Channels.Shared,
		"PublicChannels": public, "PublicChannel": public[577],
		"Secret": cfg.JWT, "*Secret": &cfg.JWT, "[]Secret": []Secret{cfg.JWT},
		"unexported fields": keeper{hookClient, hook}, "*unexported fields": &keeper{appClient, app},
		"slog.Value": slog.AnyValue(hookClient), "zero Client": Client{}, "zero Config": Config{},
	}
	for name, v := range values {
		if form := resttest.Leak(v); form != "" {
			t.Errorf("%s tells a secret by %s", name, form)
		}
	}
	inside := struct{ config *Config }{cfg}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if form := fmt.Sprintf(verb, inside); strings.Contains(form, resttest.Mark) {
			t.Errorf("a *Config in an unexported field tells a secret by %s: %s", verb, form)
		}
	}
	if got := fmt.Sprint(hookClient); got != "b24pull.Client(b24pull.Webhook(https://portal.example))" {
		t.Errorf("a client prints as %s", got)
	}
	want := "b24pull.Config(server version 5 shared wss://[redacted]@rt.example/subws/?[redacted] https://rt.example/sub/?[redacted], " +
		"channels private, shared until 2026-03-31T15:05:18Z, jwt [redacted], expires 2026-04-01T14:05:18Z)"
	if got := fmt.Sprintf("%+v", cfg); got != want {
		t.Errorf("a config prints as\n%s, want\n%s", got, want)
	}
}

func TestSecret_Forms(t *testing.T) {
	tests := []struct{ format, full, empty string }{
		{"%v", "[redacted]", ""}, {"%s", "[redacted]", ""}, {"%d", "[redacted]", ""}, {"%x", "[redacted]", ""},
		{"%q", `"[redacted]"`, `""`}, {"%#v", `b24pull.Secret("[redacted]")`, `b24pull.Secret("")`},
	}
	for _, tt := range tests {
		if got := fmt.Sprintf(tt.format, Secret(resttest.Mark)); got != tt.full {
			t.Errorf("%s: got %s", tt.format, got)
		}
		if got := fmt.Sprintf(tt.format, Secret("")); got != tt.empty {
			t.Errorf("%s of an empty secret: got %s", tt.format, got)
		}
	}
	var s Secret
	if err := json.Unmarshal([]byte(`"`+resttest.Mark+`"`), &s); err != nil || string(s) != resttest.Mark {
		t.Errorf("unmarshalled %v", err)
	}
}

// A loudError tells the address in its text and its fields.
type loudError struct {
	Address string
	inner   error
}

func (e *loudError) Error() string { return "calling " + e.Address }
func (e *loudError) Unwrap() error { return e.inner }

func TestSecret_ErrorsTellNoSecret(t *testing.T) {
	echo := func(status int, kind, format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Auth string }
			json.NewDecoder(r.Body).Decode(&body)
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprintf(w, format, r.URL.Path+" "+body.Auth+" "+url.QueryEscape(body.Auth))
		}
	}
	redirect := func(location string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Location"] = []string{location}
			w.WriteHeader(302)
		}
	}
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, text)
				conn.Close()
			}
		}
	}
	withSecret := func(answer func(http.ResponseWriter, string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { answer(w, secretOf(r)) }
	}
	tests := map[string]http.HandlerFunc{
		"HTML that echoes":         echo(502, "text/html", "<html>%s"),
		"bad JSON that echoes":     echo(200, "application/json", `{"result": %s}`),
		"content type that echoes": withSecret(func(w http.ResponseWriter, secret string) { w.Header().Set("Content-Type", "text/"+secret) }),
		"description that echoes":  echo(400, "application/json", `{"error":"NEW","error_description":"%s"}`),
		"code that echoes":         echo(400, "application/json", `{"error":"%s"}`),
		"code that is a secret": withSecret(func(w http.ResponseWriter, secret string) {
			fmt.Fprintf(w, `{"error":"%s","error_description":"%s%[1]s"}`, secret, strings.Repeat("x", 295))
		}),
		"error object that echoes":  echo(400, "application/json", `{"error":{"a":"%s"},"error_description":["%[1]s"]}`),
		"expired":                   echo(401, "application/json", `{"error":"expired_token","error_description":"%s"}`),
		"redirect":                  redirect("https://new.example/rest/1/" + resttest.HookCode + "/?auth=" + resttest.Mark),
		"redirect, unparsable":      redirect("http://[" + resttest.HookCode + "%zz"),
		"redirect, control":         redirect(":" + resttest.HookCode + "\x01"),
		"malformed answer":          raw("/rest/1/" + resttest.HookCode + "/ x y\r\n\r\n"),
		"malformed header":          raw("HTTP/1.1 200 OK\r\n" + resttest.HookCode + "\r\n\r\n"),
		"malformed length":          raw("HTTP/1.1 200 OK\r\nContent-Length: " + resttest.HookCode + "\r\n\r\n"),
		"malformed encoding":        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + resttest.HookCode + "\r\n\r\n"),
		"malformed status":          raw("HTTP/1.1 " + resttest.HookCode + "\r\n\r\n"),
		"malformed version":         raw(resttest.HookCode + " 200 OK\r\n\r\n"),
		"cut answer":                raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
		"no answer":                 raw(""),
		"config with wrong types":   resttest.Reply(200, `{"result":{"server":"`+resttest.Mark+`"}}`),
		"config with a bad time":    resttest.Reply(200, strings.Replace(`{"result":`+resttest.MarkedConfig+`}`, "1775052318", `"`+resttest.Mark+`"`, 1)),
		"config with a bad boolean": resttest.Reply(200, strings.Replace(`{"result":`+resttest.MarkedConfig+`}`, "true", `"`+resttest.Mark+`"`, 1)),
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			srv := resttest.Portal(t, handler)
			checkBoth(t, srv.URL, srv.Client())
		})
	}
	t.Run("public channels of a bad user", func(t *testing.T) {
		srv := resttest.Portal(t, resttest.Reply(200, strings.Replace(`{"result":`+resttest.MarkedConfig+`}`, `"577"`, `"`+resttest.Mark+`"`, 1)))
		resttest.CheckError(t, publicChannelsError(t, srv))
	})
}

// publicChannelsError is the error of the public channels in a portal's config,
// which are decoded when they are asked for.
func publicChannelsError(t *testing.T, srv *httptest.Server) error {
	t.Helper()
	cfg, err := webhookClient(t, srv).GetConfig(context.Background(), true)
	if err != nil {
		t.Fatal("the config is refused whole")
	}
	_, err = cfg.PublicChannels()
	return err
}

// secretOf returns the secret of a call: the token, or else the webhook's code.
func secretOf(r *http.Request) string {
	var body struct{ Auth string }
	if json.NewDecoder(r.Body).Decode(&body); body.Auth != "" {
		return body.Auth
	}
	return resttest.HookCode
}

// checkBoth calls with both kinds of authorization.
func checkBoth(t *testing.T, address string, hc *http.Client, opts ...Option) {
	t.Helper()
	opts = append(opts, WithHTTPClient(hc))
	_, err := mustNew(t, Webhook(address+"/rest/1/"+resttest.HookCode+"/"), opts...).GetConfig(context.Background(), true)
	resttest.CheckError(t, err)
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: resttest.AccessToken, RefreshToken: resttest.RefreshToken})
	_, err = mustNew(t, OAuth(address, tokens), opts...).GetApplicationConfig(context.Background(), true)
	resttest.CheckError(t, err)
}

func TestSecret_TransportErrorsTellNoSecret(t *testing.T) {
	t.Run("refused connection", func(t *testing.T) {
		srv := httptest.NewTLSServer(http.NotFoundHandler())
		srv.Close()
		checkBoth(t, srv.URL, srv.Client())
		_, err := webhookClient(t, srv).GetConfig(context.Background(), true)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("the network's error is out of reach of %v", err)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		checkBoth(t, resttest.Portal(t, http.NotFound).URL, &http.Client{Transport: &http.Transport{}})
	})
	t.Run("timeout", func(t *testing.T) {
		srv := resttest.Portal(t, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
		checkBoth(t, srv.URL, srv.Client(), WithTimeout(20*time.Millisecond))
		own := srv.Client()
		own.Timeout = 20 * time.Millisecond
		checkBoth(t, srv.URL, own)
	})
	t.Run("transport that tells the address", func(t *testing.T) {
		wrong := errors.New("wrong")
		for i, inner := range []func(secret string) error{
			func(string) error { return nil },
			func(string) error { return wrong },
			func(secret string) error { return &url.Error{Op: "Get", URL: secret, Err: wrong} },
			func(secret string) error { return errors.Join(wrong, errors.New(secret)) },
		} {
			hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
				secret := secretOf(r)
				return nil, &loudError{r.URL.String() + secret, inner(secret)}
			})}
			checkBoth(t, "https://portal.example", hc)
			_, err := mustNew(t, Webhook("https://portal.example/rest/1/"+resttest.HookCode), WithHTTPClient(hc)).GetConfig(context.Background(), true)
			if i > 0 && !errors.Is(err, wrong) {
				t.Errorf("the cause is out of reach of %v", err)
			}
		}
	})
}

func TestSecret_TokenErrorsTellNoSecret(t *testing.T) {
	answer := &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, Body: []byte(resttest.ClientSecret), ErrorCode: resttest.Mark + " is no code", ErrorDescription: resttest.ClientSecret}
	address := &url.Error{Op: "Get", URL: "https://oauth.example/?client_secret=" + resttest.ClientSecret, Err: io.ErrUnexpectedEOF}
	for name, failure := range map[string]error{
		"answer": answer, "wrapped answer": fmt.Errorf("getting a token: %w", answer), "joined": errors.Join(io.EOF, answer, address),
		"address": address, "wrapped address": fmt.Errorf("getting: %w", fmt.Errorf("a token: %w", address)), "empty address": &url.Error{URL: resttest.ClientSecret},
	} {
		t.Run(name, func(t *testing.T) {
			srv := resttest.Portal(t, resttest.Reply(401, `{"error":"expired_token"}`))
			_, err := oauthClient(t, srv, sourceFunc(func() (*oauth2.Token, error) { return nil, failure })).GetApplicationConfig(context.Background(), true)
			resttest.CheckError(t, err)
			_, err = oauthClient(t, srv, &refresher{tokens: []string{resttest.AccessToken}, err: failure}).GetApplicationConfig(context.Background(), true)
			resttest.CheckError(t, err)
			if strings.Contains(name, "address") && name != "empty address" && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the cause is out of reach of %v", err)
			}
		})
	}
}
