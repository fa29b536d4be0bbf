package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestDirectory_UnknownUsers: users without a public channel are named, and
// nothing is sent of the whole call.
func TestDirectory_UnknownUsers(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		err := p.Publish(t.Context(), to("one", 2), to("two", 902, 1, 901, 2), to("three", 903))
		var wrong *MessageError
		var missing *UnknownUsersError
		if !errors.As(err, &wrong) || wrong.Index != 1 || !errors.As(err, &missing) || fmt.Sprint(missing.Users) != "[901 902]" {
			t.Errorf("got %v", err)
		}
		if err.Error() != "publish: message 1: no public channel for users 901, 902: unknown on the portal, not active, or never there yet" {
			t.Errorf("got %v", err)
		}
		if s.asked("publish") != 0 {
			t.Error("something was sent")
		}
		var many []int64
		for u := range int64(50) {
			many = append(many, 1000+u)
		}
		err = p.Publish(t.Context(), to("many", many...))
		if !strings.HasSuffix(err.Error(), ", 1018, 1019 and 30 more: unknown on the portal, not active, or never there yet") {
			t.Errorf("got %v", err)
		}
	})
}

// A listed is a directory of the test's own.
type listed struct {
	mu       sync.Mutex
	calls    [][]int64
	as       bool // for the application
	channels map[int64]b24pull.PublicChannel
	wait     time.Duration
	err      error
}

func (d *listed) ListPublicChannels(ctx context.Context, users []int64, owner b24pull.ChannelOwner) (map[int64]b24pull.PublicChannel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls, d.as = append(d.calls, users), owner == b24pull.ApplicationChannels
	select {
	case <-time.After(d.wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return maps.Clone(d.channels), d.err
}

// directoryOf knows the channels of the portal's application.
func directoryOf(t *testing.T, s *stage) *listed {
	t.Helper()
	channels, err := s.client(1).ListPublicChannels(t.Context(), []int64{1, 2}, b24pull.ApplicationChannels)
	if err != nil {
		t.Fatal(err)
	}
	return &listed{channels: channels}
}

// TestDirectory_NoPublicID: a user whose public_id is null, empty, over or of
// another length has no channel: a push server takes what is for an id of
// another length, and nobody hears it.
func TestDirectory_NoPublicID(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		ended := d.channels[1]
		ended.End = time.Now().Add(-time.Minute)
		unsigned := d.channels[1]
		unsigned.Signature = ""
		maps.Copy(d.channels, map[int64]b24pull.PublicChannel{3: {UserID: 3}, 4: ended, 5: unsigned, 6: {UserID: 6, PublicID: "abc", Signature: "ab"}, 7: {UserID: 7, PublicID: "abcdef0123456789", Signature: "ab"}})
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		var missing *UnknownUsersError
		if err := p.Publish(t.Context(), to("one", 2, 3, 4, 5, 6, 7)); !errors.As(err, &missing) || fmt.Sprint(missing.Users) != "[3 4 5 6 7]" {
			t.Errorf("got %v", err)
		}
		online, err := p.Online(t.Context(), 2, 3)
		if err != nil || len(online) != 2 {
			t.Errorf("got %v, %v", online, err)
		}
	})
}

// TestDirectory_OneRequestForAll: whoever waits for users waits for the same
// request, or for the next one; and what is known is not asked for until its
// end.
func TestDirectory_OneRequestForAll(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		d.wait = time.Second
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		publish := func(n int) {
			var calls sync.WaitGroup
			for i := range n {
				calls.Go(func() {
					if err := p.Publish(t.Context(), to(fmt.Sprint(i), 1, 2)); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
		}
		publish(100)
		if len(d.calls) > 2 || s.asked("application.config.get") != 1 {
			t.Errorf("%d requests for 100 who wait, %d configs", len(d.calls), s.asked("application.config.get"))
		}
		before := len(d.calls)
		for range 11 { // eleven hours
			time.Sleep(time.Hour)
			publish(2)
		}
		if len(d.calls) != before {
			t.Errorf("%d requests for what is known", len(d.calls)-before)
		}
		if got := len(d.calls[0]); got != 2 {
			t.Errorf("asked for %d users", got)
		}
	}, pulltest.WithConfigLife(100*time.Hour), pulltest.WithAccessTokenLife(100*time.Hour))
}

// TestDirectory_Ends: channels, and the config, are asked for anew when they
// have come to their end.
func TestDirectory_Ends(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		for range 4 {
			in := s.listen(2)
			if err := p.Publish(t.Context(), to("hello", 2)); err != nil {
				t.Error(err)
			}
			soon()
			if got := in.commands(); len(got) != 1 {
				t.Errorf("got %v", got)
			}
			in.close(t)
			time.Sleep(time.Hour)
		}
		if n := s.asked("channel.public.list"); n != 4 {
			t.Errorf("%d requests for channels that live half an hour, in four hours", n)
		}
	}, pulltest.WithChannelLife(30*time.Minute), pulltest.WithAccessTokenLife(100*time.Hour))
}

// TestDirectory_Kinds: which channels users are reached by.
func TestDirectory_Kinds(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		source := s.client(1)
		fixed := configOf(t, s.portal)
		for _, tt := range []struct {
			name        string
			source      realtime.ConfigSource
			opts        []Option
			application bool
		}{
			{"a client", source, nil, true},
			{"a client, for the portal", source, []Option{WithPortalChannels()}, false},
			{"a webhook", realtime.PortalConfig(source), nil, false},
			{"a config", realtime.FromConfig(fixed), nil, false},
		} {
			p, err := New(tt.source, append(tt.opts, WithDirectory(d), WithHTTPClient(s.portal.HTTPClient()))...)
			if err != nil {
				t.Fatal(err)
			}
			a := &account{cfg: fixed, public: func() map[int64]b24pull.PublicChannel { return nil }}
			if _, err := p.users.find(t.Context(), a, []int64{2}); err != nil || d.as != tt.application {
				t.Errorf("%s: application is %t, %v", tt.name, d.as, err)
			}
			p.Close()
		}
	})
}

// TestDirectory_OfTheConfig: the portal's own channels are known from the
// config, where it names them.
func TestDirectory_OfTheConfig(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		webhook, err := b24pull.New(b24pull.Webhook(s.portal.Webhook()), b24pull.WithHTTPClient(s.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(realtime.PortalConfig(webhook))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Publish(t.Context(), to("to myself", 1)); err != nil {
			t.Error(err)
		}
		if s.asked("channel.public.list") != 0 {
			t.Errorf("asked for a user whom the config names: %v", s.requests)
		}
		if err := p.Publish(t.Context(), to("to the other", 2)); err != nil {
			t.Error(err)
		}
	})
}

// TestDirectory_Fails: an error of the directory is that of all who wait, and
// the next one asks again.
func TestDirectory_Fails(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		broken := errors.New("broken")
		d.err, d.wait = broken, time.Minute
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Publish(ctx, to("one", 2)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own time: %v", err)
		}
		if err := p.Publish(t.Context(), to("one", 2)); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
		if err := p.Publish(t.Context(), to("one", 2)); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestDirectory_Bounded: what is kept is bounded in number.
func TestDirectory_Bounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := New(realtime.FromConfig(new(b24pull.Config)), WithDirectory(&listed{}), WithHTTPClient(http.DefaultClient))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		a := &account{cfg: new(b24pull.Config), public: func() map[int64]b24pull.PublicChannel { return nil }}
		asked := int64(5 * maxKnown)
		if testing.Short() {
			asked = maxKnown + 10*maxAsked
		}
		for from := int64(1); from < asked; from += maxAsked {
			b := &batch{account: a, found: map[int64]target{}}
			channels := make(map[int64]b24pull.PublicChannel)
			var users []int64
			for u := from; u < from+maxAsked; u++ {
				users = append(users, u)
				c := channel("aa")
				c.UserID = u
				channels[u] = c
			}
			p.users.keep(b, users, channels)
			if len(b.found) != maxAsked || len(p.users.known) > maxKnown {
				t.Fatalf("%d found, %d kept", len(b.found), len(p.users.known))
			}
		}
	})
}

// TestDirectory_GoneMeanwhile: a user who has no channel any more when they are
// asked for anew is named beside the refusal.
func TestDirectory_GoneMeanwhile(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		if err := p.Publish(t.Context(), to("one", 2)); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		delete(d.channels, 2)
		d.mu.Unlock()
		var left atomic.Int64
		left.Store(1)
		s.instead(refuseWith(&left, 400, "4021: Channel has an invalid signature."))
		err := p.Publish(t.Context(), to("two", 2))
		var refused *RefusedError
		var missing *UnknownUsersError
		if !errors.As(err, &refused) || !errors.As(err, &missing) || strings.Contains(err.Error(), `\n`) || b24pull.ClassOf(err) != b24pull.ClassFinal {
			t.Errorf("got %v", err)
		}
	})
}

// TestDirectory_SoonOver: a channel that is nearly over is good until it is,
// and asked for anew each time.
func TestDirectory_SoonOver(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		d := directoryOf(t, s)
		soonOver := d.channels[2]
		soonOver.End = time.Now().Add(spare / 2)
		d.channels[2] = soonOver
		p := s.publisher(1, WithDirectory(d))
		defer p.Close()
		for range 2 {
			if err := p.Publish(t.Context(), to("one", 2)); err != nil {
				t.Error(err)
			}
		}
		if len(d.calls) != 2 {
			t.Errorf("asked %d times", len(d.calls))
		}
	})
}
