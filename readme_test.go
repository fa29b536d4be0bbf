package b24pull_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadme_Russian: README.ru.md says what README.md does: it has the same
// headings, programs, commands, tables and links in the same order.
func TestReadme_Russian(t *testing.T) {
	english, russian := outline(t, "README.md"), outline(t, "README.ru.md")
	for _, kind := range slices.Sorted(maps.Keys(english)) {
		en, ru := english[kind], russian[kind]
		for i := range max(len(en), len(ru)) {
			switch {
			case i >= len(en):
				t.Errorf("README.ru.md has %s that README.md has not: %s", kind, ru[i])
			case i >= len(ru):
				t.Errorf("README.ru.md lacks %s: %s", kind, en[i])
			case en[i] != ru[i]:
				t.Errorf("%s %d: README.md has %s, README.ru.md %s", kind, i+1, en[i], ru[i])
			default:
				continue
			}
			break
		}
	}
}

// outline is what a document has that does not change with its language.
func outline(t *testing.T, name string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	all := make(map[string][]string)
	all["blocks"] = regexp.MustCompile("(?ms)^```.*?^```").FindAllString(text, -1)
	for line := range strings.Lines(withoutCode(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
			all["headings"] = append(all["headings"], line[:strings.Index(line, " ")])
		case strings.HasPrefix(line, "    "):
			all["commands"] = append(all["commands"], line)
		case strings.HasPrefix(line, "|"):
			all["rows"] = append(all["rows"], strings.Repeat("|", strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")))
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(withoutCode(text), -1) {
		if m[1] != "README.md" && m[1] != "README.ru.md" {
			all["links"] = append(all["links"], m[1])
		}
	}
	slices.Sort(all["links"])
	all["code"] = regexp.MustCompile("`[^`\n]+`").FindAllString(withoutCode(text), -1)
	slices.Sort(all["code"])
	return all
}
