package page

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// get asks the handler for a path.
func get(t *testing.T, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// TestHandler: each file is served as what it is, under a policy that lets
// nothing in from outside; nothing else is served.
func TestHandler(t *testing.T) {
	for path, media := range map[string]string{
		"/":          "text/html; charset=utf-8",
		"/style.css": "text/css; charset=utf-8",
		"/app.js":    "text/javascript; charset=utf-8",
		"/ru.json":   "application/json",
		"/icon.svg":  "image/svg+xml",
	} {
		res, body := get(t, "GET", path, nil)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != media || body == "" {
			t.Errorf("%s is answered %d %q with %d bytes", path, res.StatusCode, res.Header.Get("Content-Type"), len(body))
		}
		policy := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("the policy of %s lacks %s", path, part)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("the policy of %s is not strict: %s", path, policy)
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be taken for something else", path)
		}
		again, _ := get(t, "GET", path, http.Header{"If-None-Match": {res.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s is answered %d to who has it, want 304", path, again.StatusCode)
		}
	}
	for _, path := range []string{"/none", "/assets/app.js", "/index.html/", "/../page.go", "/page.go", "/app.js/x"} {
		if res, _ := get(t, "GET", path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered %d, want 404", path, res.StatusCode)
		}
	}
	if res, _ := get(t, "POST", "/", nil); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
		t.Errorf("POST is answered %d, want 405 with Allow", res.StatusCode)
	}
	if _, body := get(t, "HEAD", "/", nil); body != "" {
		t.Error("HEAD is answered with a body")
	}
}

// TestAssets: the files keep to the policy: nothing from outside, no inline
// scripts, styles or handlers, no text put in as HTML; and they name only files
// that are there.
func TestAssets(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"an address outside":    regexp.MustCompile(`(?:src|href|url|import|fetch)\s*[=(]?\s*["'(]?\s*(?:https?:)?//`),
		"an inline handler":     regexp.MustCompile(`<[^>]*\son\w+\s*=`),
		"an inline script":      regexp.MustCompile(`<script(?:\s[^>]*)?>[^<]`),
		"an inline style":       regexp.MustCompile(`<style|<[^>]*\sstyle\s*=`),
		"text put in as HTML":   regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|setHTML`),
		"text run as a program": regexp.MustCompile(`\beval\(|new Function|javascript:`),
	}
	named := regexp.MustCompile(`(?:src|href)="([\w.-]+)"|from "\./([\w.-]+)"`)
	assets := load()
	for name, a := range assets {
		for what, pattern := range forbidden {
			if found := pattern.FindString(a.content); found != "" {
				t.Errorf("%s has %s: %s", name, what, found)
			}
		}
		for _, m := range named.FindAllStringSubmatch(a.content, -1) {
			if file := m[1] + m[2]; assets[file].content == "" && file != "openapi.json" {
				t.Errorf("%s names %s, which is not there", name, file)
			}
		}
		if types["."+name[strings.LastIndex(name, ".")+1:]] == "" {
			t.Errorf("%s has no type", name)
		}
	}
}

// table reads the texts of a language.
func table(t *testing.T, language string) map[string]string {
	t.Helper()
	var texts map[string]string
	if err := json.Unmarshal([]byte(load()[language+".json"].content), &texts); err != nil {
		t.Fatalf("%s.json: %v", language, err)
	}
	return texts
}

// TestLanguages: every text is there in both languages, with the same values in
// it; what the page asks for is there, and what is there is asked for.
func TestLanguages(t *testing.T) {
	english, russian := table(t, "en"), table(t, "ru")
	value := regexp.MustCompile(`\{\w+\}`)
	for key, text := range english {
		other, there := russian[key]
		if !there {
			t.Errorf("ru.json lacks %s", key)
			continue
		}
		if text == "" || other == "" {
			t.Errorf("%s is empty", key)
		}
		a, b := value.FindAllString(text, -1), value.FindAllString(other, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%s has the values %v in English and %v in Russian", key, a, b)
		}
	}
	for key := range russian {
		if _, there := english[key]; !there {
			t.Errorf("en.json lacks %s", key)
		}
	}

	asked := regexp.MustCompile("data-t(?:-label)?=\"([^\"]+)\"|\\bt\\(\"([^\"]+)\"|(?:\"|\\? \"|: \")((?:transport|chip|stream|addresses|subscribers)\\.[\\w.]+)\"")
	built := regexp.MustCompile("[tn]\\(`([a-z]+)\\.\\$\\{") // t(`stat.${name}`), known(`stat.${name}`)
	keys, rooms := map[string]bool{}, map[string]bool{"reason": true}
	for name, a := range load() {
		if !strings.HasSuffix(name, ".js") && !strings.HasSuffix(name, ".html") {
			continue
		}
		for _, m := range asked.FindAllStringSubmatch(a.content, -1) {
			key := m[1] + m[2] + m[3]
			if keys[key] = true; english[key] == "" {
				t.Errorf("%s asks for %s, and there is no such text", name, key)
			}
		}
		for _, m := range built.FindAllStringSubmatch(a.content, -1) {
			rooms[m[1]] = true
		}
	}
	if len(keys) < 80 || len(rooms) < 8 {
		t.Errorf("only %d keys and %d rooms were found", len(keys), len(rooms))
	}
	for key := range english {
		if room, _, _ := strings.Cut(key, "."); !keys[key] && !rooms[room] {
			t.Errorf("nothing asks for %s", key)
		}
	}
}
