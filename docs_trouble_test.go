package b24pull_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs_Troubleshooting: what docs/troubleshooting.md says that errors say is
// what they say.
func TestDocs_Troubleshooting(t *testing.T) {
	var said strings.Builder
	for _, name := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(source)
	}
	for _, pattern := range []string{"testdata/beginners/*", "*/testdata/beginners*", "oauth/testdata/beginners/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if text, err := os.ReadFile(name); err == nil {
				said.Write(text)
			}
		}
	}
	page := documents(t)["docs/troubleshooting.md"]
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(page, -1)
	for _, row := range rows {
		if !strings.Contains(said.String(), row[1]) {
			t.Errorf("nothing says %q", row[1])
		}
	}
	if len(rows) < 20 {
		t.Errorf("there are %d messages", len(rows))
	}
}
