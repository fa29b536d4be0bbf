package b24pull_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// docPackages are what code in a document may use without importing it.
var docPackages = []string{
	"context", "encoding/json", "errors", "fmt", "iter", "log", "log/slog", "net/http", "os", "os/signal", "syscall", "testing", "testing/synctest", "time",
	"golang.org/x/oauth2",
	"github.com/b24pull/b24pull", "github.com/b24pull/b24pull/oauth", "github.com/b24pull/b24pull/php", "github.com/b24pull/b24pull/pulltest",
	"github.com/b24pull/b24pull/realtime", "github.com/b24pull/b24pull/realtime/doctor", "github.com/b24pull/b24pull/realtime/fleet",
	"github.com/b24pull/b24pull/realtime/publish",
}

// docVariables are what statements in a document may use without declaring it.
const docVariables = `ctx context.Context, client *b24pull.Client, cfg *b24pull.Config, sub *realtime.Subscription, mux *realtime.Mux,
	handler realtime.Handler, store realtime.CursorStore, tokens *oauth.Tokens, portal *pulltest.Portal, t *testing.T, err error`

// docDeclarations are a user's own, which code in a document may use.
const docDeclarations = `
type OrderChanged struct{ ID int64 }
func save(ctx context.Context, v any) error { return nil }
`

// TestDocs_Code: the Go code that documents show is formatted and compiles: a
// program, declarations, or statements.
func TestDocs_Code(t *testing.T) {
	imports := exported(t, append([]string{"./..."}, docPackages...))
	block := regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	seen := 0
	for document, text := range documents(t) {
		for _, at := range block.FindAllStringSubmatchIndex(text, -1) {
			seen++
			code := text[at[2]:at[3]]
			place := fmt.Sprintf("%s:%d", document, 1+strings.Count(text[:at[2]], "\n"))
			if formatted, err := format.Source([]byte(code)); err != nil {
				t.Errorf("%s: %v", place, err)
				continue
			} else if string(formatted) != code {
				t.Errorf("%s: not as gofmt writes it", place)
			}
			checkCode(t, place, code, imports)
		}
	}
	if seen < 2 {
		t.Error("the documents show no code")
	}
}

// checkCode type-checks code from a document.
func checkCode(t *testing.T, place, code string, imports types.Importer) {
	t.Helper()
	program := code
	if !strings.HasPrefix(code, "package ") {
		program = asProgram(code)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, place, program, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("%s: %v", place, err)
		return
	}
	check := types.Config{Importer: imports, Error: func(err error) {
		// What is declared is not always used in what a document shows.
		if e := err.(types.Error); !e.Soft {
			t.Errorf("%s: %s", place, e.Msg)
		}
	}}
	check.Check("main", files, []*ast.File{file}, nil)
}

// asProgram makes a file of declarations or statements.
func asProgram(code string) string {
	var b strings.Builder
	b.WriteString("package main\n")
	for _, name := range docPackages {
		fmt.Fprintf(&b, "import %q\n", name)
	}
	b.WriteString(docDeclarations)
	if regexp.MustCompile(`(?m)\A(//.*\n)*(func|type|var|const) `).MatchString(code) {
		b.WriteString(code)
	} else {
		fmt.Fprintf(&b, "func _(%s) error {\n%s\nreturn nil\n}\n", docVariables, code)
	}
	return b.String()
}

// exported imports packages by what the compiler has told of them.
func exported(t *testing.T, packages []string) types.Importer {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race") // as it has been built for this test
	}
	args = append(args, packages...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if name, file, _ := strings.Cut(strings.TrimSpace(line), " "); file != "" {
			files[name] = file
		}
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) {
		file, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("documents can use only what the root module has: not %s", name)
		}
		return os.Open(file)
	})
}
