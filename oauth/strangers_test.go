package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// A watcher sees how many requests the authorization server is asked at once,
// and how many descriptors are open meanwhile.
type watcher struct {
	base http.RoundTripper

	mu                 sync.Mutex
	now, most, all     int
	descriptors, start int
}

func watch(client *http.Client) (*watcher, *http.Client) {
	w := &watcher{base: client.Transport, start: descriptors()}
	return w, &http.Client{Transport: w}
}

func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.now, w.all = w.now+1, w.all+1
	w.most = max(w.most, w.now)
	w.descriptors = max(w.descriptors, descriptors()-w.start)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	return w.base.RoundTrip(r)
}

// descriptors is how many files the process has open, 0 where the system does
// not tell.
func descriptors() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(files)
}

// forgery is an ONAPPINSTALL of somebody who knows no more than a member_id.
func forgery(n int, member string) url.Values {
	form := installOf(fmt.Sprintf("garbage%d", n), "forged")
	form.Set("auth[member_id]", member)
	return form
}

// garbage has the authorization server refuse forgeries, after two seconds.
func (d *desk) garbage() {
	for i := range crowd {
		name := fmt.Sprintf("garbage%d", i)
		d.server.took[name], d.server.dead[name] = 2*time.Second, true
	}
}

// flood handles so many callbacks at once, and counts their errors.
func (d *desk) flood(ctx context.Context, n int, form func(int) url.Values) (wait func() map[string]int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	errs := map[string]int{}
	for i := range n {
		c := mustParse(d.t, form(i))
		wg.Go(func() {
			err := d.tokens.Handle(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			errs[kindOfRefusal(err)]++
		})
	}
	return func() map[string]int {
		wg.Wait()
		return errs
	}
}

func kindOfRefusal(err error) string {
	for name, is := range map[string]error{"invalid_grant": b24pull.ErrInvalidGrant, "application_token": ErrApplicationToken, "undecided": ErrUndecided,
		"busy": ErrBusy, "cancelled": context.Canceled} {
		if errors.Is(err, is) {
			return name
		}
	}
	return fmt.Sprint(err)
}

const crowd = 2000

// many is how many come where they are no more than a crowd.
func many() int { return resttest.Rounds(crowd) }

// TestStrangers_Flood: however many installations are forged at once, few of
// them reach the authorization server, and few files are open.
func TestStrangers_Flood(t *testing.T) {
	for name, test := range map[string]struct {
		member func(int) string
		most   int
	}{
		"of one portal":      {func(int) string { return "member1" }, 1},
		"of as many portals": {func(n int) string { return fmt.Sprintf("m%d", n) }, 8},
	} {
		t.Run(name, func(t *testing.T) {
			store := fileStore(t)
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, store)
				d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
				d.garbage()
				w, client := watch(d.tokens.app.HTTPClient)
				d.tokens.app.HTTPClient = client
				errs := d.flood(t.Context(), many(), func(n int) url.Values { return forgery(n, test.member(n)) })()
				if w.most > test.most || w.descriptors > 40 {
					t.Errorf("%d requests at once and %d descriptors, want %d and 40", w.most, w.descriptors, test.most)
				}
				if errs["busy"]+errs["invalid_grant"] != many() || errs["invalid_grant"] != w.all {
					t.Errorf("%v for %d requests", errs, w.all)
				}
				d.want("at the end", nil, nil, "first-1 app")
			})
		})
	}
}

// TestStrangers_Refresh: an installed portal's token is refreshed while
// strangers send callbacks for it, after one of them at most.
func TestStrangers_Refresh(t *testing.T) {
	for name, test := range map[string]struct {
		first url.Values
		form  func(int) url.Values
		most  time.Duration
	}{
		"forged installations":   {installOf("first", "app"), func(n int) url.Values { return forgery(n, "member1") }, 0},
		"forged uninstallations": {formOf("first"), func(int) url.Values { return uninstallEvent(resttest.Mark + "forged") }, 5 * time.Second},
		"both": {formOf("first"), func(n int) url.Values {
			if n%2 == 0 {
				return uninstallEvent(resttest.Mark + "forged")
			}
			return forgery(n, "member1")
		}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			resttest.Sample(t)
			store := fileStore(t)
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, store)
				if err := d.handle(test.first); err != nil {
					t.Fatal(err)
				}
				source := d.tokens.Source("member1")
				refused, err := source.Token()
				if err != nil {
					t.Fatal(err)
				}
				d.garbage()
				d.server.took["first"] = 5 * time.Second
				wait := d.flood(t.Context(), many(), test.form)
				synctest.Wait()
				began := time.Now()
				next, err := source.Refresh(t.Context(), refused)
				took := time.Since(began)
				if err != nil || next.AccessToken == refused.AccessToken || took > test.most+5*time.Second+100*time.Millisecond {
					t.Errorf("the refresh took %v: %v", took, err)
				}
				wait()
			})
		})
	}
}

// TestStrangers_RefreshElsewhere: nor are they in the way of another process.
func TestStrangers_RefreshElsewhere(t *testing.T) {
	store := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, store)
		d.want("installed", d.handle(formOf("first")), nil, "first-1 ")
		elsewhere, err := NewTokenFolder(store.folder)
		if err != nil {
			t.Fatal(err)
		}
		other, err := NewTokens(testApp(d.server.client()), elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		d.server.took["first"] = 30 * time.Second
		d.server.refuse = "temporarily_unavailable" // so that each asks again
		ctx, cancel := context.WithCancel(t.Context())
		wait := d.flood(ctx, many(), func(int) url.Values { return uninstallEvent(resttest.Mark + "forged") })
		synctest.Wait()
		began := time.Now()
		_, _ = other.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-first-1"})
		took := time.Since(began)
		if took > time.Minute+time.Second {
			t.Errorf("the refresh of the other process took %v", took)
		}
		cancel()
		wait()
	})
}
