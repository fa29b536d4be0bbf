package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within half a minute", what)
		}
	}
}

// TestStrangers_CrowdOfInstallations: the authorization server hangs, and few of those
// who forge installations are waiting for it. Those who hang up are forgotten.
// A portal that has installed the application is heard all the while.
func TestStrangers_CrowdOfInstallations(t *testing.T) {
	t.Parallel()
	const crowd = 200
	w := newWorld(t, 1)
	portal := w.portals[0]
	r, app := w.run()
	if err := portal.InstallByEvent(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(helloed)
	release := w.stall()
	ctx, hangUp := context.WithCancel(t.Context())
	wait, answered := w.crowd(ctx, crowd, func(i int) *http.Request {
		form := url.Values{"event": {"ONAPPINSTALL"}, "auth[member_id]": {fmt.Sprintf("m%d", i)}, "auth[access_token]": {"a"}, "auth[refresh_token]": {"r"},
			"auth[application_token]": {"guess"}}
		req, err := http.NewRequest(http.MethodPost, app+"/install", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req
	})
	eventually(t, "most are sent away", func() bool { return answered()[http.StatusServiceUnavailable] >= crowd-72 })
	// Eight, but for those that share a lock with another.
	eventually(t, "some are asked about", func() bool { now, _ := w.asking(); return now >= 5 })
	portal.Emit(pulltest.Message{Command: helloCommand, Params: hello{"in the crowd"}, To: pulltest.Shared})
	r.says(`text="in the crowd"`)
	if err := portal.Open(t.Context(), app+"/open"); err != nil {
		t.Errorf("an installed portal is opened: %v", err)
	}
	hangUp()
	wait()
	if left, err := filepath.Glob(filepath.Join(w.folder, "m*.lock")); err != nil || len(left) > 2 {
		t.Errorf("%q for the one portal that there is: %v", left, err)
	}
	release()
	eventually(t, "nobody is asked about", func() bool { now, _ := w.asking(); return now == 0 })
	if _, most := w.asking(); most < 5 || most > 8 {
		t.Errorf("%d asked at once", most)
	}
	r.stop()
	w.checkSecrets(r)
}

// TestStrangers_CrowdOfCodes: anybody can bring a code that is none.
func TestStrangers_CrowdOfCodes(t *testing.T) {
	t.Parallel()
	const crowd = 100
	w := newWorld(t, 1)
	r, app := w.run()
	sent, _ := w.get(app+"/authorize?portal=portal.bitrix24.com", nil)
	cookies := sent.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	back := app + "/redirect?code=x&domain=portal.bitrix24.com&state=" + cookies[0].Value
	release := w.stall()
	wait, answered := w.crowd(t.Context(), crowd, func(int) *http.Request {
		req, err := http.NewRequest(http.MethodGet, back, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			req.AddCookie(c)
		}
		return req
	})
	eventually(t, "most are sent away", func() bool { return answered()[http.StatusServiceUnavailable] >= crowd-8 })
	eventually(t, "eight are asked about", func() bool { now, _ := w.asking(); return now == 8 })
	release()
	wait()
	if _, most := w.asking(); most != 8 || answered()[http.StatusOK] > 1 {
		t.Errorf("%d asked at once; %v", most, answered())
	}
	eventually(t, "codes are refused for their number, one at a time", func() bool {
		resp, _ := w.get(back, cookies)
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	r.stop()
}

// TestStrangers_FormsBeginNothingAnew: a subscription that the portal has ended for good
// is not begun again for each form that anybody sends.
func TestStrangers_FormsBeginNothingAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	portal := w.portals[0]
	r, app := w.run()
	if err := portal.Install(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(helloed)
	portal.Misbehave(pulltest.REST, pulltest.RESTError(401, "insufficient_scope"))
	portal.ExpireChannel(pulltest.Private, "get_config")
	r.says("the subscription has ended")
	calls := portal.Stats().Configs
	for range 20 {
		form := url.Values{"member_id": {portal.MemberID()}, "AUTH_ID": {"garbage"}, "REFRESH_ID": {"garbage"}, "DOMAIN": {"portal.bitrix24.com"}}
		resp, err := http.PostForm(app+"/open", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	r.stop() // waits for all subscriptions
	if n := strings.Count(r.out.String(), "the subscription has ended"); n != 1 || portal.Stats().Configs != calls {
		t.Errorf("%d subscriptions have ended, %d configs were fetched", n, portal.Stats().Configs-calls)
	}
}

// An endless body counts what is taken of it.
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

// TestStrangers_EndlessBodies: no route reads a body beyond its bound, or keeps it on
// disk.
func TestStrangers_EndlessBodies(t *testing.T) {
	w := newWorld(t, 1)
	r, app := w.run()
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	const all, most = 256 << 20, 32 << 20 // what is beyond the bound is in the buffers of both sides
	for _, route := range []string{"GET /authorize?portal=portal.bitrix24.com", "GET /authorize", "GET /redirect", "POST /install", "POST /open", "POST /event", "POST /", "PUT /install"} {
		for kind, head := range map[string]string{
			"multipart/form-data; boundary=b":   "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n",
			"application/x-www-form-urlencoded": "event=ONX&x=",
		} {
			method, path, _ := strings.Cut(route, " ")
			body := &endlessBody{head: strings.NewReader(head), most: all}
			req, err := http.NewRequestWithContext(t.Context(), method, app+path, body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", kind)
			transport := &http.Transport{}
			resp, err := transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			transport.CloseIdleConnections()
			files, err := os.ReadDir(temporary)
			if err != nil {
				t.Fatal(err)
			}
			if taken := body.taken.Load(); taken > most || len(files) > 0 {
				t.Errorf("%s with %s: %d MiB were taken, and %d files written", route, kind, taken>>20, len(files))
			}
		}
	}
	r.stop()
}

// TestStrangers_PublicOnly: what a stranger names is not connected to where it leads
// inward.
func TestStrangers_PublicOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.client = nil
	r, app := w.run()
	if err := w.portals[0].InstallByEvent(t.Context(), app+"/install"); err == nil {
		t.Error("the authorization server was reached")
	}
	r.says("path=/install", "is not a public address")
	r.stop()
}
