// Package page is what b24pull portal shows to people in a browser: one page,
// written by hand, that needs nothing from elsewhere. All it knows comes from
// the control API, which is to be served beside it, under /v1/.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var embedded embed.FS

// policy lets the page load its own files and talk to its own server, and
// nothing else. With trusted types a browser refuses any text put in as HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// types are those of the page's files. The system's table is not asked: some
// have no entry for .js, or a wrong one.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
}

// asset is a file of the page.
type asset struct {
	content string
	etag    string
}

// Handler serves the page at / and its files beside it. Anything else is for
// missing.
func Handler(missing http.Handler) http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		a, ok := assets[name]
		if !ok {
			missing.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			header.Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusMethodNotAllowed)
			io.WriteString(w, `{"error":{"code":"wrong_method","message":"the page can only be read: use GET"}}`+"\n")
			return
		}
		header.Set("Content-Type", types[path.Ext(name)])
		header.Set("Cache-Control", "no-cache") // asked for again each time, and answered 304
		header.Set("ETag", a.etag)
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(a.content))
	})
}

// load reads the embedded files, by their names below assets.
func load() map[string]asset {
	assets := make(map[string]asset)
	entries, err := fs.ReadDir(embedded, "assets")
	if err != nil {
		panic(err) // they are compiled in
	}
	for _, e := range entries {
		content, err := embedded.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		assets[e.Name()] = asset{string(content), `"` + hex.EncodeToString(sum[:16]) + `"`}
	}
	return assets
}
