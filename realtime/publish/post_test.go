package publish

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestPost_Fill: a sending of any form becomes requests that the push server
// takes, in which each receiver of each message stands once and in order.
func TestPost_Fill(t *testing.T) {
	for _, tt := range []struct {
		name     string
		messages []int // the receivers of each
		body     int   // bytes
		requests int
	}{
		{"one", []int{1}, 50, 1},
		{"100 messages", repeat(1, 100), 50, 1},
		{"101 messages", repeat(1, 101), 50, 2},
		{"1,000 messages", repeat(2, 1000), 50, 10},
		{"100 receivers", []int{100}, 50, 1},
		{"101 receivers", []int{101}, 50, 1},
		{"5,000 receivers", []int{5000, 3}, 50, 1},
		{"15,000 receivers", []int{15_000, 3}, 50, 2},
		{"half a MiB each", repeat(3, 5), 1<<19 - 1000, 3},
		{"a MiB each", repeat(1, 3), 1<<20 - 80, 3},
		{"a MiB, and many receivers", []int{20}, 1<<20 - 300, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sending{}
			for i, n := range tt.messages {
				s.messages = append(s.messages, checked{body: make([]byte, tt.body), expiry: 86400})
				var all []wire.Receiver
				for j := range n {
					id := binary.BigEndian.AppendUint64(nil, uint64(i))
					all = append(all, wire.Receiver{ID: binary.BigEndian.AppendUint64(id, uint64(j)), Signature: make([]byte, 20)})
				}
				s.receivers = append(s.receivers, all)
			}
			var seen []string
			requests := 0
			for at := (place{}); at.message < len(s.messages); requests++ {
				request, next := s.fill(at)
				if next == at {
					t.Fatalf("it comes to no end at %v", at)
				}
				at = next
				if size := len(wire.AppendPublish(nil, request)); size > maxRequest || len(request) > maxMessages {
					t.Errorf("a request of %d messages and %d bytes", len(request), size)
				}
				for _, m := range request {
					if len(m.Receivers) > maxReceivers {
						t.Errorf("%d receivers", len(m.Receivers))
					}
					for _, r := range m.Receivers {
						seen = append(seen, string(r.ID))
					}
				}
			}
			at := 0
			for _, all := range s.receivers {
				for _, r := range all {
					if at >= len(seen) || seen[at] != string(r.ID) {
						t.Fatalf("receiver %d of all is another one", at)
					}
					at++
				}
			}
			if at != len(seen) || requests != tt.requests {
				t.Errorf("%d receivers of %d in %d requests, want %d", len(seen), at, requests, tt.requests)
			}
		})
	}
}

func repeat(n, times int) (list []int) {
	for range times {
		list = append(list, n)
	}
	return list
}

// TestPost_ManyMessages: all of a long call arrive, those of a request in order.
func TestPost_ManyMessages(t *testing.T) {
	onStage(t, 4, func(t *testing.T, s *stage) {
		in := s.listen(2)
		defer in.close(t)
		p := s.publisher(1)
		defer p.Close()
		var all []Message
		for i := range 250 {
			all = append(all, to(fmt.Sprint(i), 2))
		}
		if err := p.Publish(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		soon()
		got := in.commands()
		if len(got) != 250 || s.asked("publish") != 3 {
			t.Errorf("%d messages by %d requests", len(got), s.asked("publish"))
		}
		last := map[int]int{}
		for _, command := range got {
			n, err := strconv.Atoi(command)
			if err != nil || n < last[n/100] {
				t.Errorf("%d behind %d: %v", n, last[n/100], err)
			}
			last[n/100] = n
		}
	})
}

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

// TestPost_Unanswered: without an answer nobody knows whether a message was
// published. It is sent again only where that is wanted, or where it surely was
// not sent.
func TestPost_Unanswered(t *testing.T) {
	broken := func(left *atomic.Int64, executed bool, next func(r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) != "publish" || left.Add(-1) < 0 {
				return false
			}
			if executed {
				next(r)
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true
		}
	}
	for _, again := range []bool{false, true} {
		onStage(t, 4, func(t *testing.T, s *stage) {
			var opts []Option
			if again {
				opts = append(opts, WithRepeat())
			}
			p := s.publisher(1, opts...)
			defer p.Close()
			var left atomic.Int64
			left.Store(1)
			s.instead(broken(&left, false, nil))
			err := p.Publish(t.Context(), to("one", 2))
			var failed *Error
			switch {
			case again && (err != nil || s.asked("publish") != 2):
				t.Errorf("with repeats: %v after %d requests", err, s.asked("publish"))
			case !again && (!errors.As(err, &failed) || failed.Class() != b24pull.ClassUnavailable || b24pull.ClassOf(err) != b24pull.ClassUnavailable || s.asked("publish") != 1):
				t.Errorf("without: %v after %d requests", err, s.asked("publish"))
			}
		})
	}
	t.Run("late", func(t *testing.T) {
		onStage(t, 4, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			s.instead(func(w http.ResponseWriter, r *http.Request) bool {
				if kindOf(r) != "publish" {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			})
			began := time.Now()
			err := p.Publish(t.Context(), to("one", 2))
			if b24pull.ClassOf(err) != b24pull.ClassUnavailable || time.Since(began) != postWait {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("not reached", func(t *testing.T) {
		onStage(t, 4, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			if err := p.Publish(t.Context(), to("one", 2)); err != nil {
				t.Fatal(err)
			}
			s.portal.Close()
			err := p.Publish(t.Context(), to("two", 2))
			if b24pull.ClassOf(err) != b24pull.ClassNotSent {
				t.Errorf("%v, class %v", err, b24pull.ClassOf(err))
			}
		})
	})
}

// TestPost_Progress: the error tells how far a call has come.
func TestPost_Progress(t *testing.T) {
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		var all []Message
		for i := range 250 {
			all = append(all, to(fmt.Sprint(i), 2))
		}
		posts := 0
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) != "publish" {
				return false
			}
			if posts++; posts < 3 {
				return false
			}
			http.Error(w, "4014: no", http.StatusBadRequest)
			return true
		})
		err := p.Publish(t.Context(), all...)
		var failed *Error
		var refused *RefusedError
		if !errors.As(err, &failed) || failed.Index != 200 || failed.Receivers != 0 || !errors.As(err, &refused) || refused.Code != 4014 || refused.Status != 400 || refused.Reason != "no" {
			t.Errorf("got %+v", err)
		}
	})
}

// TestPost_FalseAnswers: what stands in the place of a push server accepts
// nothing.
func TestPost_FalseAnswers(t *testing.T) {
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

// TestPost_Close ends what is under way.
func TestPost_Close(t *testing.T) {
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		s.instead(func(w http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) == "application.config.get" {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		})
		var calls sync.WaitGroup
		for i := range 3 {
			calls.Go(func() {
				err := p.Publish(t.Context(), to("one", int64(i)+1))
				if !errors.Is(err, ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		calls.Wait()
		if err := p.Publish(t.Context(), to("two", 2)); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if _, err := p.Online(t.Context(), 2); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		_ = pulltest.SecretMark
	})
}
