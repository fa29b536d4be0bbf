package pulltest_test

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// False answers come at once, with their status and type, while the other
// services are well.
func TestFalseAnswers(t *testing.T) {
	tests := []struct {
		name        string
		fault       pulltest.Fault
		status      int
		media, body string
	}{
		{"web page", pulltest.WebPage, 200, "text/html; charset=utf-8", "<!DOCTYPE html>"},
		{"login form", pulltest.LoginForm, 200, "text/html", "\n\n<html><body><form"},
		{"foreign JSON", pulltest.ForeignJSON, 200, "application/json", `{"jsonrpc"`},
		{"empty", pulltest.EmptyAnswer, 200, "", ""},
		{"instant 304", pulltest.InstantNotModified, 304, "", ""},
		{"any", pulltest.FalseAnswer(http.StatusPartialContent, "text/plain", "part"), 206, "text/plain", "part"},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		for _, tt := range tests {
			p.Misbehave(pulltest.Polls, tt.fault)
			answers := ask(t, p)
			got := answers[pulltest.Polls]
			if got.status != tt.status || got.header.Get("Content-Type") != tt.media || !strings.HasPrefix(string(got.body), tt.body) || tt.body == "" && len(got.body) > 0 {
				t.Errorf("%s: %d %q %q", tt.name, got.status, got.header.Get("Content-Type"), got.body)
			}
			if answers[pulltest.REST].status != 200 || answers[pulltest.WebSockets].status != 101 {
				t.Errorf("%s: another service misbehaves", tt.name)
			}
		}
		p.Behave(pulltest.Polls)
		if got := pollMid(t, p, zeros); got.status != 200 || !strings.Contains(string(got.body), "kept") {
			t.Errorf("afterwards %d %q", got.status, got.body)
		}
	})
}

// Answers are compressed although the client has not asked for that.
func TestFalseAnswers_Compressed(t *testing.T) {
	codings := map[string]func(io.Reader) (io.Reader, error){
		"gzip":        func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate":     func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"raw deflate": func(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil },
		"br":          func(r io.Reader) (io.Reader, error) { return r, nil },
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		want := string(pollMid(t, p, zeros).body)
		for coding, open := range codings {
			p.Misbehave(pulltest.Polls, pulltest.Compressed(coding))
			req, err := http.NewRequest(http.MethodGet, subURL(t, p, zeros), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "identity")
			resp, err := p.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body []byte
			in, err := open(resp.Body)
			if err == nil {
				body, err = io.ReadAll(in)
			}
			resp.Body.Close()
			if err != nil || string(body) != want || resp.Header.Get("Content-Encoding") != strings.TrimPrefix(coding, "raw ") {
				t.Errorf("%s: %q of %q, %v", coding, body, resp.Header.Get("Content-Encoding"), err)
			}
		}
	})
}

// A stale cache goes on with the first answer, whatever is asked.
func TestFalseAnswers_StaleCache(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		mid := p.Emit(text("one"))
		p.Misbehave(pulltest.Polls, pulltest.StaleCache)
		first := string(pollMid(t, p, zeros).body)
		p.Emit(text("two"))
		if again := string(pollMid(t, p, mid).body); again != first || !strings.Contains(first, "one") {
			t.Errorf("first %q, then %q", first, again)
		}
		p.Behave(pulltest.Polls)
		if now := string(pollMid(t, p, mid).body); !strings.Contains(now, "two") {
			t.Errorf("in the end %q", now)
		}
	})
}
