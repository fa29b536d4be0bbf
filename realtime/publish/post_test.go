package publish

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
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
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestPost_Fill: a sending of any form becomes requests that the push server
// takes, in which each receiver of each message stands once and in order.
func TestPost_Fill(t *testing.T) {
	t.Parallel()
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
			for at := (progress{}); at.message < len(s.messages); requests++ {
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
	t.Parallel()
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

// TestPost_Unanswered: without an answer nobody knows whether a message was
// published. It is sent again only where that is wanted, or where it surely was
// not sent.
func TestPost_Unanswered(t *testing.T) {
	t.Parallel()
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
				panic(http.ErrAbortHandler) // an answer now might still be read
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
	t.Parallel()
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

// TestPost_Close ends what is under way.
func TestPost_Close(t *testing.T) {
	t.Parallel()
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
	})
}

// TestPost_NamedTwice: a receiver who is named by his id and by his channel gets
// a message once.
func TestPost_NamedTwice(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		var body []byte
		s.instead(func(_ http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) == "publish" {
				body, _ = io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			return false
		})
		m := to("one", 2)
		m.Channels = []b24pull.PublicChannel{d.channels[1], d.channels[2]}
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		for user, c := range d.channels {
			text, _, _ := strings.Cut(string(c.PublicID), ".")
			id, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(body, id); n != 1 {
				t.Errorf("user %d is named %d times in the request", user, n)
			}
		}
	})
}

// TestPost_Longest: a request of 1 MiB is made, and none of a byte more,
// whatever the signature of a receiver is like.
func TestPost_Longest(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		sizes := []int{}
		s.instead(func(_ http.ResponseWriter, r *http.Request) bool {
			if kindOf(r) != "publish" {
				return false
			}
			body, _ := io.ReadAll(r.Body)
			sizes = append(sizes, len(body))
			return true
		})
		d := directoryOf(t, s)
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		signatures := []int{20, 64}
		if testing.Short() {
			signatures = signatures[1:]
		}
		for _, signature := range signatures {
			c := d.channels[2]
			id, _, _ := strings.Cut(string(c.PublicID), ".")
			c.PublicID = b24pull.Secret(id)
			c.Signature = b24pull.Secret(strings.Repeat("ab", signature))
			m := Message{Channels: []b24pull.PublicChannel{c}, Module: "a", Command: "b"}
			const short = 300
			m.Params = map[string]string{"text": strings.Repeat("x", short)}
			if err := p.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			// of four lengths in it each takes a byte more in a long one
			room := maxRequest - sizes[len(sizes)-1] - 4 + short
			for _, more := range []int{0, 1} {
				m.Params = map[string]string{"text": strings.Repeat("x", room+more)}
				err := p.Publish(t.Context(), m)
				var wrong *MessageError
				if more == 0 && err != nil || more == 1 && !errors.As(err, &wrong) {
					t.Errorf("signatures of %d bytes, %d bytes more: %v", signature, more, err)
				}
			}
		}
		if n := len(sizes); n != 2*len(signatures) || sizes[1] != maxRequest || sizes[n-1] != maxRequest {
			t.Errorf("requests of %d bytes", sizes)
		}
	})
}
