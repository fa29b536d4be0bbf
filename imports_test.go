package b24pull

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImports: imports go one way, so that a package can be read, and used,
// without those above it. Tests may import what they like.
func TestImports(t *testing.T) {
	const module = "github.com/b24pull/b24pull"
	// What of the module each package, by the beginning of its path, may
	// import.
	allowed := []struct {
		dir  string
		only []string
	}{
		{"pulltest/storetest", []string{"", "oauth", "realtime"}},
		{"pulltest", []string{"pulltest"}},
		{"realtime/internal/wire", []string{"internal"}},
		{"realtime/internal/transport", []string{"internal"}},
		{"realtime/internal/rpc", []string{"realtime/internal/wire", "internal"}},
		{"realtime/internal/delivery", []string{"realtime/internal/wire", "internal/fifo"}},
		{"realtime/internal/shared", []string{"realtime/internal/delivery", "internal"}},
		{"realtime/doctor", []string{"", "php", "realtime", "internal"}},
		{"realtime/publish", []string{"", "php", "realtime", "internal"}},
		{"realtime/fleet", []string{"", "oauth", "realtime", "realtime/internal/shared", "internal"}},
		{"realtime", []string{"", "realtime/internal/config", "realtime/internal/delivery", "realtime/internal/rpc", "realtime/internal/senders", "realtime/internal/shared", "realtime/internal/transport", "realtime/internal/wire", "internal"}},
		{"oauth/sqlstore", []string{"", "oauth", "realtime"}},
		{"oauth", []string{"", "internal"}},
		{"otel", []string{"realtime"}},
		{"php", []string{"internal"}},
		{"internal", []string{"internal"}},
		{"examples", []string{"", "oauth", "otel", "php", "realtime", "pulltest", "examples"}},
		{"cmd", []string{"", "oauth", "php", "realtime", "pulltest", "cmd"}},
		{".", []string{"php", "internal"}},
	}
	dirs := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") {
			dirs[filepath.ToSlash(filepath.Dir(path))] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for dir := range dirs {
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			if _, none := err.(*build.NoGoError); none {
				continue
			}
			t.Fatal(err)
		}
		i := slices.IndexFunc(allowed, func(a struct {
			dir  string
			only []string
		}) bool {
			return dir == a.dir || strings.HasPrefix(dir, a.dir+"/")
		})
		if i < 0 {
			t.Errorf("%s is in no room that this test knows", dir)
			continue
		}
		for _, path := range p.Imports {
			rest, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			looked++
			rest = strings.TrimPrefix(rest, "/")
			room, _, _ := strings.Cut(rest, "/")
			if !slices.Contains(allowed[i].only, room) && !slices.Contains(allowed[i].only, rest) {
				t.Errorf("%s imports %s: against the order of docs/architecture.md", dir, path)
			}
		}
	}
	if looked < 20 {
		t.Errorf("only %d imports were looked at", looked)
	}
}
