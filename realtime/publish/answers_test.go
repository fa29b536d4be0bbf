package publish

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// refuseWith answers publishing with a status and a text, as long as left.
func refuseWith(left *atomic.Int64, status int, text string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if kindOf(r) != "publish" || left.Add(-1) < 0 {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return true
	}
}

// TestPost_Answers: what the push server, or something in its place, answers is
// a clear error of a class; a subscription beside notices nothing.
func TestPost_Answers(t *testing.T) {
	t.Parallel()
	const always = 1 << 30
	for _, tt := range []struct {
		name   string
		times  int64 // that it is answered so
		status int
		text   string
		header []string
		want   string // the error; "" for none
		class  b24pull.Class
		posts  int // requests to publish
	}{
		{"413", always, 413, "", nil, "the push server refused: HTTP 413; something before the push server takes less than 1 MiB; make the messages shorter", b24pull.ClassFinal, 1},
		{"4014", always, 400, "4014: Request command is not allowed.", nil, "the push server refused: HTTP 400, 4014: Request command is not allowed.; the push server does not let clients do this", b24pull.ClassFinal, 1},
		{"4013", always, 400, "4013: Wrong Request Data.", nil, "the push server refused: HTTP 400, 4013: Wrong Request Data.", b24pull.ClassFinal, 1},
		{"4021, always", always, 400, "4021: Channel has an invalid signature.", nil, "the push server refused: HTTP 400, 4021: Channel has an invalid signature.", b24pull.ClassFinal, 2},
		{"4021, once", 1, 400, "4021: Channel has an invalid signature.", nil, "", 0, 2},
		{"4010, once", 1, 400, "4010: Wrong Channel Id.", nil, "", 0, 2},
		{"4012, once", 1, 400, "4012: Public Channel Id is Required.", nil, "", 0, 2},
		{"4019, once", 1, 400, "4019: Request has an invalid channel id.", nil, "", 0, 2},
		{"4036, once", 1, 400, "4036: Wrong client id.", nil, "", 0, 2},
		{"429 without more", 2, 429, "4029: Too many connections", nil, "", 0, 3},
		{"429, always", always, 429, "slow down", nil, "the push server refused: HTTP 429: slow down", b24pull.ClassThrottled, 4},
		{"429 for seconds", 1, 429, "", []string{"Retry-After", "7"}, "", 0, 2},
		{"429 for an hour", always, 429, "", []string{"Retry-After", "3600"}, "the push server refused: HTTP 429", b24pull.ClassThrottled, 1},
		{"502", always, 502, "<html>", nil, "the push server refused: HTTP 502", b24pull.ClassUnavailable, 1},
		{"404", always, 404, "Not Found", nil, "the push server refused: HTTP 404: Not Found", b24pull.ClassFinal, 1},
		{"a redirect", always, 302, "", []string{"Location", "/auth/"}, "the push server refused: HTTP 302: a redirect to its page /auth/: a login page stands there, or that of an expired licence", b24pull.ClassFinal, 1},
		{"a page", always, 200, "<!DOCTYPE html><html>Welcome", []string{"Content-Type", "text/html; charset=utf-8"}, `not a push server's answer: it is a web page: HTTP 200 text/html; charset=utf-8 "<!DOCTYPE html><html>Welcome"`, b24pull.ClassUnavailable, 1},
		{"foreign JSON", always, 200, `{"ok":true}`, []string{"Content-Type", "application/json"}, `not a push server's answer: a push server accepts with an empty answer: HTTP 200 "{\"ok\":true}"`, b24pull.ClassUnavailable, 1},
		{"204", always, 204, "", nil, "not a push server's answer: a push server answers 200: HTTP 204", b24pull.ClassUnavailable, 1},
		{"long", always, 200, strings.Repeat("x ", 4000), []string{"Content-Type", "text/plain"}, "not a push server's answer: it has more than 1024 bytes: HTTP 200 text/plain", b24pull.ClassUnavailable, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onStage(t, 4, func(t *testing.T, s *stage) {
				in := s.listen(2)
				defer in.close(t)
				p := s.publisher(1)
				defer p.Close()
				var left atomic.Int64
				left.Store(tt.times)
				s.instead(refuseWith(&left, tt.status, tt.text, tt.header...))
				began := time.Now()
				err := p.Publish(t.Context(), to("first", 2), to("second", 2))
				switch {
				case tt.want == "" && err != nil, tt.want != "" && err == nil:
					t.Errorf("got %v, want %q", err, tt.want)
				case err != nil && !strings.HasPrefix(err.Error(), "publish: message 0: "+tt.want):
					t.Errorf("got  %v\nwant %s", err, tt.want)
				case err != nil && b24pull.ClassOf(err) != tt.class:
					t.Errorf("class %v, want %v", b24pull.ClassOf(err), tt.class)
				}
				if n := s.asked("publish"); n != tt.posts {
					t.Errorf("%d requests to publish, want %d", n, tt.posts)
				}
				if tt.name == "429 for seconds" && time.Since(began) < 7*time.Second {
					t.Errorf("sent again after %v", time.Since(began))
				}
				s.instead(nil)
				soon() // what was accepted may be stored later
				if err := p.Publish(t.Context(), to("last", 2)); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				soon()
				want := "first second last"
				if tt.want != "" {
					want = "last"
				}
				if got := strings.Join(in.commands(), " "); got != want || s.asked("websocket") != 1 {
					t.Errorf("got %s over %d websockets, want %s", got, s.asked("websocket"), want)
				}
			})
		})
	}
}

// TestPost_Renewal: after a refusal of channels another config is asked for,
// and other public channels, but not for each refusal.
func TestPost_Renewal(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		if err := p.Publish(t.Context(), to("one", 2)); err != nil {
			t.Fatal(err)
		}
		configs, lists := s.asked("application.config.get"), s.asked("channel.public.list")
		var left atomic.Int64
		left.Store(1)
		s.instead(refuseWith(&left, 400, "4021: Channel has an invalid signature."))
		if err := p.Publish(t.Context(), to("two", 2)); err != nil {
			t.Fatal(err)
		}
		if c, l := s.asked("application.config.get"), s.asked("channel.public.list"); c != configs+1 || l != lists+1 {
			t.Errorf("%d configs and %d lists more", c-configs, l-lists)
		}
		left.Store(1 << 30)
		for range 20 {
			if err := p.Publish(t.Context(), to("refused", 2)); err == nil {
				t.Fatal("accepted")
			}
		}
		if c := s.asked("application.config.get"); c > configs+6 {
			t.Errorf("%d configs for 20 refusals", c-configs)
		}
	})
}

// TestPost_FalseAnswers: what stands in the place of a push server accepts
// nothing.
func TestPost_FalseAnswers(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		for _, page := range []string{"<html>", "{}", "ok", "\x0a\x00", "\x0a\x02\x12\x00"} {
			s.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if kindOf(r) != "publish" {
					return false
				}
				_, _ = io.WriteString(w, page)
				return true
			})
			var odd *realtime.AnswerError
			if err := p.Publish(t.Context(), to("one", 2)); !errors.As(err, &odd) {
				t.Errorf("%q: got %v", page, err)
			}
			if online, err := p.Online(t.Context(), 2); !errors.As(err, &odd) {
				t.Errorf("%q: got %v, %v", page, online, err)
			}
		}
	})
}

// TestPost_Recorded: what a real push server has answered to requests of
// clients.
func TestPost_Recorded(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ status, code int }{
		"rest_publish": {}, "rest_publish_unsigned": {400, 4012}, "rest_private_receiver": {400, 4020}, "rest_garbage": {400, 4013},
		"rest_too_large": {413, 0}, "pub_101_messages": {400, 4016}, "pub_101_receivers": {400, 4018}, "pub_no_receivers": {400, 4017},
	} {
		recorded := wiretest.Load(t, name)
		onStage(t, 4, func(t *testing.T, s *stage) {
			s.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if kindOf(r) != "publish" {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(recorded.Status)
				for _, f := range recorded.Frames {
					_, _ = w.Write(f.Bytes(t))
				}
				return true
			})
			p := s.publisher(1)
			defer p.Close()
			err := p.Publish(t.Context(), to("one", 2))
			var refused *RefusedError
			if errors.As(err, &refused) != (want.status != 0) || (err != nil) != (want.status != 0) {
				t.Fatalf("%s: got %v", name, err)
			}
			if refused != nil && (refused.Status != want.status || refused.Code != want.code) {
				t.Errorf("%s: got %+v", name, refused)
			}
		})
	}
}
