package publish

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestSecrets_NothingIsTold: no channel, signature or token is told by errors
// or by what is printed, whatever a server repeats of a request.
func TestSecrets_NothingIsTold(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		onStage(t, version, func(t *testing.T, s *stage) {
			client := s.client(1)
			cfg, err := client.GetApplicationConfig(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			channels, err := client.ListPublicChannels(t.Context(), []int64{1, 2}, b24pull.ApplicationChannels)
			if err != nil {
				t.Fatal(err)
			}
			secrets := []string{string(cfg.JWT), string(cfg.Channels.Private.ID), string(cfg.Channels.Private.PublicID), s.portal.Token(1).AccessToken}
			for _, c := range channels {
				secrets = append(secrets, string(c.PublicID), string(c.Signature))
			}
			p := s.publisher(1, WithHeader(http.Header{"X-Gateway": {"gat3way-s3cr3t"}}))
			defer p.Close()
			var told strings.Builder
			tell := func(v any) {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
					fmt.Fprintf(&told, verb+"\n", v)
				}
			}
			message := to("one", 2)
			message.Channels = []b24pull.PublicChannel{channels[1]}
			tell(p)
			tell(message)
			tell([]Message{message})
			for mode := range 5 {
				s.instead(echo(mode))
				tell(p.Publish(t.Context(), message))
				_, err := p.Online(t.Context(), 2)
				tell(err)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				for _, err := range p.WatchPresence(ctx, 2) {
					tell(err)
					break
				}
				cancel()
				time.Sleep(time.Minute)
			}
			s.portal.Close()
			tell(p.Publish(t.Context(), message))
			if told.Len() < 2000 || !strings.Contains(told.String(), "refused") {
				t.Errorf("hardly anything was told: %s", told.String())
			}
			for _, secret := range append(secrets, "gat3way-s3cr3t") {
				for _, part := range strings.FieldsFunc(secret, func(r rune) bool { return r == ':' || r == '.' }) {
					if len(part) < 12 || strings.HasPrefix(part, "eyJhbGci") {
						continue
					}
					for _, piece := range []string{part[:12], part[len(part)-12:]} {
						if strings.Contains(told.String(), piece) {
							t.Errorf("version %d: a secret is told", version)
							return
						}
					}
				}
			}
		})
	}
}

// TestSecrets_RefusedCalls: a refusal of version 5 that names a receiver tells
// neither his channel nor its signature.
func TestSecrets_RefusedCalls(t *testing.T) {
	t.Parallel()
	eachOf5(t, func(t *testing.T, s *stage, publisher func(...Option) *Publisher) {
		channels, err := s.client(1).ListPublicChannels(t.Context(), []int64{2}, b24pull.ApplicationChannels)
		if err != nil {
			t.Fatal(err)
		}
		p := publisher()
		defer p.Close()
		message := Message{Channels: []b24pull.PublicChannel{channels[2]}, Module: "application", Command: "one"}
		id, signature, _ := strings.Cut(string(channels[2].PublicID), ".")
		signature += string(channels[2].Signature)
		// the ends of both, whose lengths are no sign of a secret
		words := []string{id[len(id)-14:], signature[len(signature)-14:]}
		s.portal.Misbehave(pulltest.Publishing, pulltest.RPCError(-32602, "no such channel "+strings.Join(words, " ")))
		told := fmt.Sprint(p.Publish(t.Context(), message))
		if !strings.Contains(told, "no such channel") {
			t.Error("the refusal is not told")
		}
		for _, word := range words {
			if strings.Contains(told, word) {
				t.Error("a secret is told")
			}
		}
	})
}

// echo answers with what was asked, in several ways.
func echo(mode int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if kind := kindOf(r); kind != "publish" && kind != "websocket" {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		// the ends of the ids in it, as words of a length that is no sign of a
		// secret; their beginnings are alike
		var words strings.Builder
		for _, id := range strings.Split(hex.EncodeToString(body), pulltest.SecretMark)[1:] {
			words.WriteString(" " + id[32-len(pulltest.SecretMark)-14:][:14])
		}
		asked := r.URL.RequestURI() + " " + r.Header.Get("X-Gateway")
		switch mode {
		case 0:
			http.Error(w, "refused "+asked, http.StatusForbidden)
		case 1:
			http.Error(w, "4014: refused "+words.String(), http.StatusBadRequest)
		case 2:
			w.Header().Set("Location", asked)
			w.WriteHeader(http.StatusFound)
		case 3:
			_, _ = io.WriteString(w, "thanks for "+asked+words.String())
		case 4:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "%s\r\n\r\n", asked) // no HTTP
				_ = conn.Close()
			}
		}
		return true
	}
}
