package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestReal_TwoClients: two users publish to each other over real sockets while
// connections are cut; what was accepted arrives once.
func TestReal_TwoClients(t *testing.T) {
	n := 300 // of each user
	switch {
	case os.Getenv("B24PULL_LONG") != "":
		n = 5000
	case testing.Short():
		n = 200
	}
	for _, version := range []int{4, 5} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			portal := pulltest.NewPortal(pulltest.WithVersion(version))
			defer portal.Close()
			one, two := newTalker(t, portal, 1), newTalker(t, portal, 2)
			defer one.close(t)
			defer two.close(t)
			stop := make(chan struct{})
			var tasks sync.WaitGroup
			tasks.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(200 * time.Millisecond):
						portal.Cut()
					}
				}
			})
			var calls sync.WaitGroup
			for worker := range 4 {
				calls.Go(func() { one.talk(t, 2, worker, n/4) })
				calls.Go(func() { two.talk(t, 1, worker, n/4) })
			}
			calls.Wait()
			close(stop)
			tasks.Wait()
			for range 600 {
				if one.lacks(two)+two.lacks(one) == 0 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			for _, pair := range [][2]*talker{{one, two}, {two, one}} {
				if lost := pair[0].lacks(pair[1]); lost > 0 {
					t.Errorf("%d of %d that were accepted have not arrived", lost, len(pair[1].accepted))
				}
				pair[0].mu.Lock()
				for m, times := range pair[0].heard {
					if times != 1 {
						t.Errorf("%s arrived %d times", m, times)
					}
				}
				pair[0].mu.Unlock()
				t.Logf("%d accepted, %d of unknown fate", len(pair[1].accepted), pair[1].unknown)
			}
		})
	}
}

// A talker is a user who listens and publishes.
type talker struct {
	sub  *realtime.Subscription
	done chan error
	p    *Publisher

	mu       sync.Mutex
	heard    map[string]int
	accepted map[string]bool
	unknown  int
}

func newTalker(t *testing.T, portal *pulltest.Portal, user int) *talker {
	t.Helper()
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.Token(user).AccessToken})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{done: make(chan error, 1), heard: map[string]int{}, accepted: map[string]bool{}}
	k.sub, err = realtime.Subscribe(client, realtime.WithBackoff(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	if k.p, err = New(client, WithSubscription(k.sub)); err != nil {
		t.Fatal(err)
	}
	go func() {
		k.done <- k.sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			var params struct{ Name string }
			if err := json.Unmarshal(m.Params, &params); err != nil {
				return err
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.heard[params.Name]++
			return nil
		}))
	}()
	<-k.sub.Ready()
	return k
}

// talk publishes n messages to a user.
func (k *talker) talk(t *testing.T, to int64, worker, n int) {
	for i := range n {
		name := fmt.Sprintf("to %d: %d.%d", to, worker, i)
		err := k.p.Publish(t.Context(), Message{
			Users: []int64{to}, Module: "application", Command: "said", Expiry: time.Hour, Params: map[string]string{"name": name},
		})
		k.mu.Lock()
		switch {
		case err == nil:
			k.accepted[name] = true
		case b24pull.ClassOf(err) == b24pull.ClassUnavailable, b24pull.ClassOf(err) == b24pull.ClassNotSent:
			k.unknown++ // or known not to have been sent
		default:
			t.Errorf("%s: %v", name, err)
		}
		k.mu.Unlock()
	}
}

// lacks is how many messages have not arrived that another one knows to be
// accepted.
func (k *talker) lacks(from *talker) (n int) {
	from.mu.Lock()
	defer from.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range from.accepted {
		if k.heard[name] == 0 {
			n++
		}
	}
	return n
}

func (k *talker) close(t *testing.T) {
	t.Helper()
	if err := k.p.Close(); err != nil {
		t.Error(err)
	}
	k.sub.Close()
	if err := <-k.done; err != nil {
		t.Errorf("the subscription ended: %v", err)
	}
}
