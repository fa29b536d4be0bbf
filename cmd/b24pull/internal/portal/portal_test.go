package portal

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// TestDocs_Flags: docs/portal.md names every flag.
func TestDocs_Flags(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/portal.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults().flags().VisitAll(func(f *flag.Flag) {
		if !strings.Contains(string(text), "`-"+f.Name+"`") && !strings.Contains(string(text), "`-"+f.Name+" ") {
			t.Errorf("docs/portal.md does not tell of -%s", f.Name)
		}
	})
}
