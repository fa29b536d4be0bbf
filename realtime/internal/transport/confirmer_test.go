package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// confirmServer takes what is confirmed.
type confirmServer struct {
	took   time.Duration // for an answer
	status int

	mu     sync.Mutex
	at     []time.Time
	bodies map[string][]string // by path
	open   int
	most   int
}

func (s *confirmServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	s.open++
	s.most = max(s.most, s.open)
	if s.bodies == nil {
		s.bodies = make(map[string][]string)
	}
	s.bodies[r.URL.Path] = append(s.bodies[r.URL.Path], string(body))
	took, status := s.took, s.status
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}()
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	answer := httptest.NewRecorder()
	answer.WriteHeader(status)
	return answer.Result(), nil
}

// set sets how long an answer takes, and which it is.
func (s *confirmServer) set(took time.Duration, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took, s.status = took, status
}

// confirmer is that of a test, which ends it.
func (s *confirmServer) confirmer(t *testing.T) (c *Confirmer, failures *[]error) {
	failures = new([]error)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &Confirmer{
		Context: ctx, Go: running.Go,
		Posting: Posting{Client: &http.Client{Transport: s}, Wait: 10 * time.Second},
		Failed:  func(_ int, err error) { *failures = append(*failures, err) },
	}, failures
}

func idsFrom(from, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%026d", from+i))
	}
	return ids
}

func at(path string) Address { return Address{URL: "https://rt.example" + path} }

// TestConfirmer_Requests: as few as they can be, of a bounded size, one at a
// time, in order.
func TestConfirmer_Requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &confirmServer{took: time.Second, status: 200}
		c, failures := s.confirmer(t)
		c.Add(at("/one"), idsFrom(0, 1))
		synctest.Wait()
		c.Add(at("/one"), append(idsFrom(1, 600), "", "two\nlines", "two\rlines"))
		c.Add(at("/one"), idsFrom(601, 100))
		c.Add(at("/two"), idsFrom(701, 2))
		time.Sleep(time.Minute)
		synctest.Wait()
		var lines []int
		var all []string
		for _, body := range append(s.bodies["/one"], s.bodies["/two"]...) {
			ids := strings.Split(body, "\n")
			lines = append(lines, len(ids))
			all = append(all, ids...)
		}
		want := idsFrom(0, 703)
		for i := range want {
			want[i] = "mack:" + want[i]
		}
		if !slices.Equal(lines, []int{1, 500, 200, 2}) || !slices.Equal(all, want) || s.most != 1 || len(*failures) > 0 {
			t.Errorf("requests of %v, %d at once, failed %v", lines, s.most, *failures)
		}
		if s.bodies["/one"][0] != want[0] {
			t.Errorf("one alone is %q", s.bodies["/one"][0])
		}
	})
}

// TestConfirmer_Bound: a server that takes its time, or nothing, has a bounded
// number wait.
func TestConfirmer_Bound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &confirmServer{took: time.Hour, status: 200}
		c, failures := s.confirmer(t)
		thousands := resttest.Rounds(100)
		for i := range thousands {
			c.Add(at("/"), idsFrom(1000*i, 1000))
			synctest.Wait()
		}
		c.mu.Lock()
		if n := len(c.pending); n != maxPending || c.pending[n-1].id != idsFrom(1000*thousands-1, 1)[0] {
			t.Errorf("%d wait", n)
		}
		c.mu.Unlock()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		s.set(0, 200)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.bodies["/"]); len(*failures) != 2 || n != 2+(maxPending-500+499)/500 || c.posting {
			t.Errorf("%d requests, failed %v", n, *failures)
		}
	})
}

// TestConfirmer_Once: what has been confirmed, here or over a websocket, is not
// confirmed again, as far as that is remembered; what has failed is.
func TestConfirmer_Once(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &confirmServer{status: 200}
		c, _ := s.confirmer(t)
		minute := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		c.Confirmed(idsFrom(7, 1)[0])
		for range 3 {
			c.Add(at("/"), idsFrom(5, 5))
			minute()
		}
		s.set(0, 500)
		c.Add(at("/"), idsFrom(8, 3))
		minute()
		s.set(0, 200)
		c.Add(at("/"), idsFrom(8, 3))
		minute()
		var lines []int
		for _, body := range s.bodies["/"] {
			lines = append(lines, strings.Count(body, "mack:"))
		}
		if !slices.Equal(lines, []int{4, 1, 1}) {
			t.Errorf("requests of %v", lines)
		}
		for i := range 10 * maxRecent {
			c.Confirmed(idsFrom(100+i, 1)[0])
		}
		if n := c.recent.Len(); n > maxRecent {
			t.Errorf("%d are remembered", n)
		}
		c.Add(at("/"), idsFrom(5, 1))
		minute()
		if n := len(s.bodies["/"]); n != 4 {
			t.Errorf("%d requests: what is forgotten is not confirmed", n)
		}
	})
}

// TestConfirmer_Failures: those of a request that fails are left out; the next
// one comes after a pause.
func TestConfirmer_Failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &confirmServer{status: 502}
		c, failures := s.confirmer(t)
		began := time.Now()
		for i := range 600 {
			c.Add(at("/"), idsFrom(i, 1))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		var waits []time.Duration
		for i, at := range s.at[1:] {
			waits = append(waits, at.Sub(s.at[i]))
		}
		if len(waits) < 12 || waits[0] != time.Second || waits[3] != 8*time.Second || slices.Max(waits) != maxConfirmPause || s.at[0] != began {
			t.Errorf("pauses %v", waits)
		}
		var status *StatusError
		if !errors.As((*failures)[0], &status) || status.Status != 502 {
			t.Errorf("%v", (*failures)[0])
		}
		s.set(0, 200)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		n := len(s.at)
		c.Add(at("/"), idsFrom(0, 1))
		synctest.Wait()
		if len(s.at) != n+1 {
			t.Error("in the end nothing is confirmed")
		}
	})
}

// TestConfirmer_End: the end of the run is the end of it.
func TestConfirmer_End(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &confirmServer{took: time.Hour, status: 200}
		c, failures := s.confirmer(t)
		ctx, cancel := context.WithCancel(t.Context())
		c.Context = ctx
		c.Add(at("/"), idsFrom(0, 2000))
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		if len(s.at) != 1 || c.posting || len(c.pending) > 0 || len(*failures) > 0 {
			t.Errorf("%d requests, failed %v", len(s.at), *failures)
		}
		c.Add(at("/"), idsFrom(0, 1))
		synctest.Wait()
		if len(s.at) != 1 {
			t.Error("posted after the end")
		}
	})
}
