package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// ways are the versions of push servers, with and without a subscription.
type way struct {
	version int
	sub     bool
}

func (w way) String() string {
	if w.sub {
		return fmt.Sprintf("version %d, with a subscription", w.version)
	}
	return fmt.Sprintf("version %d, without", w.version)
}

var ways = []way{{3, false}, {3, true}, {4, false}, {4, true}, {5, false}, {5, true}}

// eachWay runs a test for all of them. mine is what user 1 hears, if he
// listens.
func eachWay(t *testing.T, test func(t *testing.T, s *stage, w way, p *Publisher, mine *inbox), opts ...pulltest.Option) {
	for _, w := range ways {
		t.Run(w.String(), func(t *testing.T) {
			onStage(t, w.version, func(t *testing.T, s *stage) {
				var popts []Option
				var mine *inbox
				if w.sub {
					mine = s.listen(1)
					defer mine.close(t)
					popts = append(popts, WithSubscription(mine.sub))
				}
				p := s.publisher(1, popts...)
				defer p.Close()
				test(t, s, w, p, mine)
			}, opts...)
		})
	}
}

// TestVersions_Publish: two users, from one to the other.
func TestVersions_Publish(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *stage, w way, p *Publisher, mine *inbox) {
		in := s.listen(2)
		defer in.close(t)
		err := p.Publish(t.Context(), to("one", 2), to("two", 1, 2), Message{Users: []int64{2}, Module: "Application", Command: "three", Expiry: time.Minute})
		if w.version == 3 {
			if !errors.Is(err, ErrUnavailable) || err.Error() != "publish: not available on this portal: its push server is of version 3, and clients can publish from version 4 on" {
				t.Errorf("got %v", err)
			}
			if s.asked("publish") > 0 || b24pull.ClassOf(err) != b24pull.ClassFinal {
				t.Errorf("class %v, %v", b24pull.ClassOf(err), s.requests)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		soon() // what was accepted may be stored later
		channels, err := s.client(2).ListPublicChannels(t.Context(), []int64{2}, b24pull.ApplicationChannels)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(t.Context(), Message{Channels: []b24pull.PublicChannel{channels[2]}, Module: "application", Command: "four", Params: map[string]int{"n": 4}}); err != nil {
			t.Fatal(err)
		}
		soon()
		if got := strings.Join(in.commands(), " "); got != "one two three four" {
			t.Errorf("got %s", got)
		}
		for _, m := range in.messages() {
			if m.Sender.Type != realtime.SenderClient || m.Module != "application" {
				t.Errorf("%v of %v", m, m.Sender)
			}
		}
		if mine != nil && strings.Join(mine.commands(), " ") != "two" {
			t.Errorf("user 1 got %v", mine.commands())
		}
		sockets := map[way]int{{4, false}: 1, {4, true}: 2, {5, false}: 2, {5, true}: 2}[w]
		if n := s.asked("websocket"); n != sockets {
			t.Errorf("%d websockets, want %d", n, sockets)
		}
	})
}

// TestVersions_Online: who is connected, and when the others were.
func TestVersions_Online(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *stage, w way, p *Publisher, mine *inbox) {
		in := s.listen(2)
		online, err := p.Online(t.Context(), 1, 2, 2, 99)
		if w.version == 3 {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			in.close(t)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		own := w.sub || w.version == 5 // by the connection of the publisher itself
		if len(online) != 3 || !online[2].Online || online[1].Online != own || online[99] != (Presence{}) {
			t.Errorf("got %+v", online)
		}
		in.close(t)
		time.Sleep(10 * time.Minute)
		online, err = p.Online(t.Context(), 2)
		if err != nil || online[2].Online {
			t.Errorf("got %+v, %v", online, err)
		}
		ago := time.Since(online[2].LastSeen).Round(time.Minute)
		if w.version == 5 && ago != 10*time.Minute || w.version == 4 && !online[2].LastSeen.IsZero() {
			t.Errorf("last seen %v ago", ago)
		}
		if _, err := p.Online(t.Context(), 2, 0); err == nil || err.Error() != "publish: Online: user 0: want a positive id" {
			t.Errorf("got %v", err)
		}
	})
}

// TestVersions_SeenByThePortal: on version 5 the portal is asked for those whom
// its push server has never seen.
func TestVersions_SeenByThePortal(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		if _, err := s.client(2).GetApplicationConfig(t.Context(), true); err != nil { // the portal sees him
			t.Fatal(err)
		}
		p := s.publisher(1)
		defer p.Close()
		time.Sleep(time.Hour / 2)
		online, err := p.Online(t.Context(), 2, 1)
		if err != nil || online[2].Online || time.Since(online[2].LastSeen).Round(time.Minute) != 30*time.Minute || !online[1].Online {
			t.Errorf("got %+v, %v", online, err)
		}
		if s.asked("api.user.getlastseen") != 1 {
			t.Errorf("requests: %v", s.requests)
		}
	})
}

// TestVersions_Unavailable: where clients cannot publish the error says why,
// and the push server is not asked.
func TestVersions_Unavailable(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		onStage(t, version, func(t *testing.T, s *stage) {
			for name, tt := range map[string]struct {
				edit func(cfg map[string]any)
				want string // "" where it is no matter
			}{
				"turned off": {func(cfg map[string]any) { cfg["server"].(map[string]any)["publish_enabled"] = false }, "its push server does not let clients publish (publish_enabled)"},
				"version 2":  {func(cfg map[string]any) { cfg["server"].(map[string]any)["version"] = 2 }, "its push server is of version 2"},
				"no address": {func(cfg map[string]any) {
					delete(cfg["server"].(map[string]any), "publish")
					delete(cfg["server"].(map[string]any), "publish_secure")
				}, map[int]string{4: "its push server has no address for publishing"}[version]},
				"a bad address": {func(cfg map[string]any) {
					cfg["server"].(map[string]any)["publish"], cfg["server"].(map[string]any)["publish_secure"] = "", "ftp://rt.example/s3cr3t"
				}, map[int]string{4: "its push server has no address for publishing; publish_secure: its scheme is not https or http"}[version]},
				"no private":     {func(cfg map[string]any) { delete(cfg["channels"].(map[string]any), "private") }, map[int]string{4: "the user has no private channel to publish from"}[version]},
				"no public id":   {func(cfg map[string]any) { withoutPublicID(cfg) }, map[int]string{4: "the user's private channel has no public id to publish from"}[version]},
				"websockets off": {func(cfg map[string]any) { cfg["server"].(map[string]any)["websocket_enabled"] = false }, map[int]string{5: "clients of version 5 publish over a websocket, and there are none"}[version]},
			} {
				if tt.want == "" {
					continue
				}
				var raw map[string]any
				if err := json.Unmarshal(s.portal.ConfigJSON(), &raw); err != nil {
					t.Fatal(err)
				}
				tt.edit(raw)
				data, err := json.Marshal(raw)
				if err != nil {
					t.Fatal(err)
				}
				cfg := new(b24pull.Config)
				if err := json.Unmarshal(data, cfg); err != nil {
					t.Fatal(err)
				}
				p, err := New(realtime.FromConfig(cfg), WithHTTPClient(s.portal.HTTPClient()))
				if err != nil {
					t.Fatal(err)
				}
				check := func(err error) {
					if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cr3t") {
						t.Errorf("%d, %s: got %v, want %s", version, name, err, tt.want)
					}
				}
				check(p.Publish(t.Context(), to("one", 1)))
				time.Sleep(time.Hour) // and still
				check(p.Publish(t.Context(), to("one", 1)))
				_, err = p.Online(t.Context(), 1)
				check(err)
				for _, err := range p.WatchPresence(t.Context(), 1) {
					check(err)
				}
				p.Close()
			}
			if s.asked("publish")+s.asked("websocket") > 0 {
				t.Errorf("the push server was asked: %v", s.requests)
			}
		})
	}
}

func withoutPublicID(cfg map[string]any) {
	private := cfg["channels"].(map[string]any)["private"].(map[string]any)
	id, _, _ := strings.Cut(private["id"].(string), ":")
	private["id"] = id + ".00ff"
	delete(private, "public_id")
}

// TestVersions_Cuts: publishing goes on while connections are cut; what was
// accepted arrives once.
func TestVersions_Cuts(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *stage, w way, p *Publisher, mine *inbox) {
		if w.version == 3 {
			return
		}
		in := s.listen(2, realtime.WithBackoff(func(int) time.Duration { return 20 * time.Millisecond }))
		defer in.close(t)
		stop := make(chan struct{})
		var tasks sync.WaitGroup
		tasks.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(300 * time.Millisecond):
					s.portal.Cut()
				}
			}
		})
		var mu sync.Mutex
		fate := map[string]error{}
		each, pause := 100, 7*time.Millisecond
		if testing.Short() {
			each, pause = 40, 17*time.Millisecond
		}
		var calls sync.WaitGroup
		for worker := range 5 {
			calls.Go(func() {
				for i := range each {
					command := fmt.Sprintf("%d.%d", worker, i)
					err := p.Publish(t.Context(), to(command, 2))
					mu.Lock()
					fate[command] = err
					mu.Unlock()
					time.Sleep(pause)
				}
			})
		}
		calls.Wait()
		close(stop)
		tasks.Wait()
		time.Sleep(5 * time.Minute)
		got := map[string]int{}
		for _, c := range in.commands() {
			got[c]++
		}
		unknown := 0
		for command, err := range fate {
			switch {
			case err == nil && got[command] != 1:
				t.Errorf("%s was accepted, and arrived %d times", command, got[command])
			case err != nil && b24pull.ClassOf(err) == b24pull.ClassUnavailable && got[command] <= 1:
				unknown++
			case err != nil:
				t.Errorf("%s: %v, and arrived %d times", command, err, got[command])
			}
		}
		t.Logf("%d calls, %d of unknown fate", len(fate), unknown)
	})
}
