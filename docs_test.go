package b24pull_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// documents are the texts for humans, by their paths from here.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "testdata/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.ToSlash(name)] = string(text)
		}
	}
	if texts["docs/architecture.md"] == "" || texts["README.md"] == "" {
		t.Fatal("there are no documents here")
	}
	return texts
}

// goFiles are all files of Go source, by their paths from here.
func goFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch base := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(base, ".go"):
			files = append(files, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDocs_Tests: every test, example, fuzz target and benchmark that a document names
// is there. CHANGELOG.md may name what once was.
func TestDocs_Tests(t *testing.T) {
	function := regexp.MustCompile(`^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
	there := make(map[string]bool)
	for _, name := range goFiles(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(source) {
			if bytes.HasPrefix(line, []byte("func ")) {
				if found := function.FindSubmatch(line); found != nil {
					there[string(found[1])] = true
				}
			}
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z_]\w*`)
	seen := 0
	for document, text := range documents(t) {
		if document == "CHANGELOG.md" {
			continue
		}
		for _, test := range named.FindAllString(withoutCode(text), -1) {
			seen++
			if !there[test] {
				t.Errorf("%s names %s, and there is no such test", document, test)
			}
		}
	}
	if seen == 0 {
		t.Error("no document names a test")
	}
}

// TestDocs_FileMap: the file map of docs/architecture.md has every file that is
// no test, each in its folder and once, and no other; and every source file
// that a document names elsewhere is there.
func TestDocs_FileMap(t *testing.T) {
	texts := documents(t)
	_, fileMap, found := strings.Cut(texts["docs/architecture.md"], "\n## File map\n")
	if !found {
		t.Fatal("docs/architecture.md has no file map")
	}
	folder := regexp.MustCompile("^### `([^`]+)`")
	row := regexp.MustCompile("^\\| `([^`]+\\.go)` \\| \\S.* \\|$")
	mapped := make(map[string]bool)
	at := ""
	for line := range strings.Lines(fileMap) {
		line = strings.TrimSpace(line)
		if m := folder.FindStringSubmatch(line); m != nil {
			at = m[1]
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, ".go`") {
				t.Errorf("the file map has a line that is not «| `name.go` | what is in it |»: %s", line)
			}
			continue
		}
		name := path.Join(at, m[1])
		if mapped[name] {
			t.Errorf("the file map has %s twice", name)
		}
		mapped[name] = true
	}
	there := make(map[string]bool)
	for _, name := range goFiles(t) {
		there[name] = true
		there[path.Base(name)] = true
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if !mapped[name] {
			t.Errorf("%s is not in the file map of docs/architecture.md: add a line that says what is in it", name)
		}
		delete(mapped, name)
	}
	for name := range mapped {
		t.Errorf("the file map of docs/architecture.md has %s, and there is no such file", name)
	}
	source := regexp.MustCompile("`([\\w./-]+\\.go)`")
	for document, text := range texts {
		if document == "CHANGELOG.md" {
			continue
		}
		for _, m := range source.FindAllStringSubmatch(text, -1) {
			if !there[m[1]] {
				t.Errorf("%s names %s, and there is no such file", document, m[1])
			}
		}
	}
}

// TestDocs_Links: what a document links to within the repository is there, and
// so is the heading.
func TestDocs_Links(t *testing.T) {
	texts := documents(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for document, text := range texts {
		for _, m := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			name := document
			if target != "" {
				name = path.Join(path.Dir(document), target)
			}
			if _, err := os.Stat(filepath.FromSlash(name)); err != nil {
				t.Errorf("%s links to %s: %v", document, m[1], err)
				continue
			}
			if anchor != "" && !headings(texts[name])[anchor] {
				t.Errorf("%s links to %s, which has no such heading", document, m[1])
			}
		}
	}
}

// headings are the anchors that GitHub makes of a document's headings.
func headings(text string) map[string]bool {
	anchors := make(map[string]bool)
	for line := range strings.Lines(withoutCode(text)) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))] = true
	}
	return anchors
}

// withoutCode is a document without its fenced blocks.
func withoutCode(text string) string {
	var kept strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
			continue
		}
		if !code {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
