package control

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocs_Fields: docs/portal.md tells of each field of every action, and of
// each that a portal is described by.
func TestDocs_Fields(t *testing.T) {
	data, err := os.ReadFile("../../../../../docs/portal.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	told := func(where, field string) {
		for _, form := range []string{"`" + field + "`", `"` + field + `":`, "?" + field + "=", "&" + field + "="} {
			if strings.Contains(text, form) {
				return
			}
		}
		t.Errorf("docs/portal.md does not tell of %s of %s", field, where)
	}
	for _, e := range endpoints() {
		for _, field := range fieldNames(e.in) {
			told(e.name, field)
		}
	}
	for _, field := range fieldNames(reflect.TypeFor[Info]()) {
		told("the ready line", field)
	}
}
