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
)

// receiptServer takes what is confirmed.
type receiptServer struct {
	took   time.Duration // for an answer
	status int

	mu     sync.Mutex
	at     []time.Time
	bodies map[string][]string // by path
	open   int
	most   int
}

func (s *receiptServer) RoundTrip(r *http.Request) (*http.Response, error) {
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
func (s *receiptServer) set(took time.Duration, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took, s.status = took, status
}

// receipts are those of a test, which ends them.
func (s *receiptServer) receipts(t *testing.T) (r *Receipts, failures *[]error) {
	failures = new([]error)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &Receipts{
		Context: ctx, Go: running.Go,
		Posting: Posting{Client: &http.Client{Transport: s}, Wait: 10 * time.Second},
		Failed:  func(_ int, err error) { *failures = append(*failures, err) },
	}, failures
}

func receiptIDs(from, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%026d", from+i))
	}
	return ids
}

func at(path string) Address { return Address{URL: "https://rt.example" + path} }

// TestReceipts_Requests: as few as they can be, of a bounded size, one at a
// time, in order.
func TestReceipts_Requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &receiptServer{took: time.Second, status: 200}
		r, failures := s.receipts(t)
		r.Add(at("/one"), receiptIDs(0, 1))
		synctest.Wait()
		r.Add(at("/one"), append(receiptIDs(1, 600), "", "two\nlines", "two\rlines"))
		r.Add(at("/one"), receiptIDs(601, 100))
		r.Add(at("/two"), receiptIDs(701, 2))
		time.Sleep(time.Minute)
		synctest.Wait()
		var lines []int
		var all []string
		for _, body := range append(s.bodies["/one"], s.bodies["/two"]...) {
			ids := strings.Split(body, "\n")
			lines = append(lines, len(ids))
			all = append(all, ids...)
		}
		want := receiptIDs(0, 703)
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

// TestReceipts_Bound: a server that takes its time, or nothing, has a bounded
// number wait.
func TestReceipts_Bound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &receiptServer{took: time.Hour, status: 200}
		r, failures := s.receipts(t)
		for i := range 100 {
			r.Add(at("/"), receiptIDs(1000*i, 1000))
			synctest.Wait()
		}
		r.mu.Lock()
		if n := len(r.pending); n != maxPending || r.pending[n-1].id != receiptIDs(99_999, 1)[0] {
			t.Errorf("%d wait", n)
		}
		r.mu.Unlock()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		s.set(0, 200)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.bodies["/"]); len(*failures) != 2 || n != 2+(maxPending-500+499)/500 || r.posting {
			t.Errorf("%d requests, failed %v", n, *failures)
		}
	})
}

// TestReceipts_Failures: those of a request that fails are left out; the next
// one comes after a pause.
func TestReceipts_Failures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &receiptServer{status: 502}
		r, failures := s.receipts(t)
		began := time.Now()
		for i := range 600 {
			r.Add(at("/"), receiptIDs(i, 1))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		var waits []time.Duration
		for i, at := range s.at[1:] {
			waits = append(waits, at.Sub(s.at[i]))
		}
		if len(waits) < 12 || waits[0] != time.Second || waits[3] != 8*time.Second || slices.Max(waits) != maxReceiptsPause || s.at[0] != began {
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
		r.Add(at("/"), receiptIDs(0, 1))
		synctest.Wait()
		if len(s.at) != n+1 {
			t.Error("in the end nothing is confirmed")
		}
	})
}

// TestReceipts_End: the end of the run is the end of it.
func TestReceipts_End(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &receiptServer{took: time.Hour, status: 200}
		r, failures := s.receipts(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.Context = ctx
		r.Add(at("/"), receiptIDs(0, 2000))
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		if len(s.at) != 1 || r.posting || len(r.pending) > 0 || len(*failures) > 0 {
			t.Errorf("%d requests, failed %v", len(s.at), *failures)
		}
		r.Add(at("/"), receiptIDs(0, 1))
		synctest.Wait()
		if len(s.at) != 1 {
			t.Error("posted after the end")
		}
	})
}
