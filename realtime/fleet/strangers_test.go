package fleet

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// stalled has the authorization server answer nobody until release.
func (w *world) stalled() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stall := make(chan struct{})
	w.stall = stall
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stall = nil
		close(stall)
	}
}

func (w *world) askedOf() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// crowd sends so many requests at once, and counts the statuses.
func (r *running) crowd(ctx context.Context, n int, request func(i int) *http.Request) (wait func(), answered func(status int) int) {
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range n {
		all.Go(func() {
			resp, err := r.w.portals[0].HTTPClient().Transport.RoundTrip(request(i).WithContext(ctx))
			status := 0
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				status = resp.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	return all.Wait, func(status int) int {
		mu.Lock()
		defer mu.Unlock()
		return statuses[status]
	}
}

// TestStrangers_CrowdOfInstallations: the authorization server hangs, and few
// of those who forge installations are waiting for it. A portal that has
// installed the application is heard all the while, nobody else is in the
// fleet, and the log says so once a second.
func TestStrangers_CrowdOfInstallations(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		crowd := resttest.Rounds(1000)
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		asked := w.askedOf()
		release := w.stalled()
		ctx, hangUp := context.WithCancel(t.Context())
		wait, answered := r.crowd(ctx, crowd, func(i int) *http.Request {
			form := url.Values{"event": {"ONAPPINSTALL"}, "auth[member_id]": {fmt.Sprintf("m%d", i)}, "auth[access_token]": {"a"}, "auth[refresh_token]": {"r"},
				"auth[application_token]": {"guess"}}
			req, err := http.NewRequest(http.MethodPost, r.at+"/install", strings.NewReader(form.Encode()))
			if err != nil {
				panic(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return req
		})
		synctest.Wait()
		if n := answered(http.StatusServiceUnavailable); n < crowd-72 {
			t.Errorf("%d were sent away", n)
		}
		if n := w.askedOf() - asked; n > 8 {
			t.Errorf("the authorization server is asked by %d", n)
		}
		emit(p, 1, 1)
		w.eventually("heard in the crowd", func() bool { return w.heard.has(p, "n1") })
		w.must(p.Open(t.Context(), r.at+"/open"))
		hangUp()
		wait()
		release()
		if keys := r.app.Fleet().Keys(); len(keys) != 1 {
			t.Errorf("%d keys", len(keys))
		}
		if n := strings.Count(w.out.String(), "msg=refused"); n < 1 || n > refusalsAtOnce+10 {
			t.Errorf("%d lines", n)
		}
		r.stop()
		w.wantNoSecrets()
	})
}

// TestStrangers_CrowdOfCodes: anybody can bring a code that is none.
func TestStrangers_CrowdOfCodes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		const crowd = 100
		w := newWorld(t, 1, n)
		r := w.run()
		sent, _ := r.get(r.at + "/authorize?portal=portal.bitrix24.com")
		cookies := sent.Cookies()
		if len(cookies) != 1 {
			t.Fatalf("cookies %d", len(cookies))
		}
		back := r.at + "/redirect?code=x&member_id=m&domain=portal.bitrix24.com&state=" + cookies[0].Value
		release := w.stalled()
		wait, answered := r.crowd(t.Context(), crowd, func(int) *http.Request {
			req, err := http.NewRequest(http.MethodGet, back, nil)
			if err != nil {
				panic(err)
			}
			req.AddCookie(cookies[0])
			return req
		})
		synctest.Wait()
		if n := w.askedOf(); n != 8 || answered(http.StatusServiceUnavailable) != crowd-8 {
			t.Errorf("%d are asked about, %d were sent away", n, answered(http.StatusServiceUnavailable))
		}
		release()
		wait()
		for range 200 {
			r.get(back, cookies[0])
		}
		if n := w.askedOf(); n < 60 || n > 70 {
			t.Errorf("%d of 208 codes were asked about", n)
		}
		time.Sleep(time.Minute)
		before := w.askedOf()
		r.get(back, cookies[0])
		if w.askedOf() != before+1 {
			t.Error("a minute later none is asked about")
		}
		r.stop()
	})
}

// An endlessBody counts what is taken of it.
type endlessBody struct {
	head  io.Reader
	taken atomic.Int64
	most  int64
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.taken.Load() > b.most {
		return 0, io.EOF
	}
	n, err := b.head.Read(p)
	if err == io.EOF {
		for i := range p {
			p[i] = 'x'
		}
		n = len(p)
	}
	b.taken.Add(int64(n))
	return n, nil
}

// TestStrangers_EndlessBodies: no route reads a body beyond its bound, or keeps
// it on disk.
func TestStrangers_EndlessBodies(t *testing.T) {
	w := newWorld(t, 1, nil)
	r := w.run()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	const all, most = 256 << 20, 32 << 20 // what is beyond the bound is in the buffers of both sides
	for _, route := range []string{"GET /authorize?portal=portal.bitrix24.com", "GET /authorize", "GET /redirect", "POST /install", "POST /open", "POST /event", "POST /redirect", "PUT /install"} {
		for kind, head := range map[string]string{
			"multipart/form-data; boundary=b":   "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n",
			"application/x-www-form-urlencoded": "event=ONX&x=",
		} {
			method, path, _ := strings.Cut(route, " ")
			body := &endlessBody{head: strings.NewReader(head), most: all}
			req, err := http.NewRequestWithContext(t.Context(), method, r.at+path, body)
			w.must(err)
			req.Header.Set("Content-Type", kind)
			transport := &http.Transport{}
			resp, err := transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			transport.CloseIdleConnections()
			files, err := os.ReadDir(temporary)
			w.must(err)
			if taken := body.taken.Load(); taken > most || len(files) > 0 {
				t.Errorf("%s with %s: %d MiB were taken, and %d files written", route, kind, taken>>20, len(files))
			}
		}
	}
	r.stop()
}

// TestStrangers_LongNames: what is logged of an address that anybody has made up
// is short.
func TestStrangers_LongNames(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		r := w.run()
		long := strings.Repeat("x", 50_000)
		if resp, _ := r.get(r.at + "/authorize?portal=" + long + ".example"); resp.StatusCode/100 != 4 {
			t.Errorf("it is answered %s", resp.Status)
		}
		rec := httptest.NewRecorder()
		r.app.Callback(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/"+long, nil))
		if rec.Code != http.StatusBadRequest {
			t.Errorf("it is answered %d", rec.Code)
		}
		if size := len(w.out.String()); size == 0 || size > 4000 {
			t.Errorf("%d bytes are logged", size)
		}
		r.stop()
	})
}
