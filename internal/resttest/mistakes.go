package resttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A Mistake is one that a beginner makes, by its name, since an input can hold
// secrets, and what is said of it.
type Mistake struct {
	Name string
	Err  error
}

// CheckMistakes compares whole messages with a golden file, which
// B24PULL_UPDATE=1 has written anew. They tell no secret.
func CheckMistakes(t *testing.T, golden string, mistakes []Mistake) {
	t.Helper()
	var b strings.Builder
	for _, m := range mistakes {
		if m.Err == nil {
			t.Errorf("%s: no error", m.Name)
			continue
		}
		if form := Leak(m.Err); form != "" {
			t.Fatalf("%s: a secret is told", m.Name)
		}
		CheckError(t, m.Err)
		fmt.Fprintf(&b, "%s\n    %v\n", m.Name, m.Err)
	}
	golden = filepath.FromSlash(golden)
	if os.Getenv("B24PULL_UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(want), "\r\n", "\n")
	if diff := cmp.Diff(strings.Split(text, "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}
