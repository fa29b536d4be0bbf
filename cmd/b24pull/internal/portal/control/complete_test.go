package control

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// source is the package pulltest without its tests.
const source = "../../../../../pulltest"

// TestComplete_Methods: what a test in Go can do with a portal, a test in any
// language can: each method of pulltest.Portal has an endpoint, or a reason.
func TestComplete_Methods(t *testing.T) {
	const known = "GET /v1/portals tells it"
	reasons := map[string]string{
		"Close":       "DELETE /v1/portals/{name}",
		"URL":         known,
		"PlainURL":    known,
		"PushURL":     known,
		"AuthServer":  known,
		"Webhook":     known,
		"APIWebhook":  known,
		"AccessToken": known,
		"MemberID":    known,
		"Users":       known,
		"Scopes":      known,
		"Application": known,
		"Certificate": "ca_file and GET /v1/ca.pem are what a client is to trust",
		"HTTPClient":  "a client of net/http",
	}
	served := make(map[string]bool)
	for _, e := range endpoints() {
		for _, name := range e.calls {
			served[name] = true
		}
	}
	portal := reflect.TypeFor[*pulltest.Portal]()
	for i := range portal.NumMethod() {
		name := portal.Method(i).Name
		if served[name] == (reasons[name] != "") {
			t.Errorf("Portal.%s: has an endpoint: %t, a reason for none: %q", name, served[name], reasons[name])
		}
		delete(served, name)
		delete(reasons, name)
	}
	if len(served)+len(reasons) > 0 {
		t.Errorf("Portal has no methods %v, %v", served, reasons)
	}
}

// TestComplete_Options: whatever an option of pulltest says, a Spec can.
func TestComplete_Options(t *testing.T) {
	reasons := map[string]string{
		"WithNetwork":     "a network within a process",
		"WithAuthServer":  "a server within a process",
		"WithHandler":     "a function",
		"WithMethod":      "a function: answers give methods their results",
		"WithObserver":    "a function: what it hears is in the log",
		"WithCertificate": "-cert",
	}
	used := identifiers(t, "spec.go")
	for name := range declared(t, source, "Option") {
		if used[name] == (reasons[name] != "") {
			t.Errorf("%s: is in a Spec: %t, a reason for not: %q", name, used[name], reasons[name])
		}
	}
}

// TestComplete_Words: an error that names an option names the field in its
// place.
func TestComplete_Words(t *testing.T) {
	fields := " " + strings.Join(fieldNames(reflect.TypeFor[Spec]()), " ") + " "
	used := identifiers(t, "spec.go")
	for name := range declared(t, source, "Option") {
		if got := inWordsOfHere(name + "(1): no"); used[name] && !strings.Contains(fields, " "+strings.TrimSuffix(got, "(1): no")+" ") {
			t.Errorf("%s is called %s, which is no field", name, got)
		}
	}
}

// TestComplete_Faults: every fault of pulltest has a name here.
func TestComplete_Faults(t *testing.T) {
	there := declared(t, source, "Fault")
	for name, f := range faults {
		if !there[f.goName] {
			t.Errorf("%s stands for %s, which is no fault of pulltest", name, f.goName)
		}
		delete(there, f.goName)
	}
	if len(there) > 0 {
		t.Errorf("these faults have no name: %v", there)
	}
}

// TestComplete_Targets: every channel has a name. Colleague is Private with a
// user.
func TestComplete_Targets(t *testing.T) {
	named := make(map[pulltest.Target]bool)
	for _, target := range targets {
		named[target] = true
	}
	enum, _ := reflect.TypeFor[to]().FieldByName("To")
	if words := strings.Split(enum.Tag.Get("enum"), ","); len(named) != int(pulltest.UserShared)+1 || len(words) != len(named) {
		t.Errorf("%d channels are named, and %v may be written", len(named), words)
	}
}

// TestComplete_Kinds: the log can be asked for each kind of event.
func TestComplete_Kinds(t *testing.T) {
	var kinds []string
	for _, file := range parse(t, source, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
				value, literal := v.Values[0].(*ast.BasicLit)
				if id, ok := v.Type.(*ast.Ident); ok && literal && id.Name == "EventKind" {
					kinds = append(kinds, strings.Trim(value.Value, `"`))
				}
			}
			return true
		})
	}
	field, _ := reflect.TypeFor[since]().FieldByName("Kind")
	if asked := field.Tag.Get("enum"); len(kinds) < 2 || asked != strings.Join(kinds, ",") {
		t.Errorf("there are %v, and one can ask for %s", kinds, asked)
	}
}

// TestComplete_Docs: docs/portal.md names every path, fault and option.
func TestComplete_Docs(t *testing.T) {
	text, err := os.ReadFile("../../../../../docs/portal.md")
	if err != nil {
		t.Fatal(err)
	}
	words := faultNames()
	for _, r := range new(Server).routes() {
		words = append(words, path.Base(r.path))
	}
	for _, name := range fieldNames(reflect.TypeFor[Spec]()) {
		if !strings.HasSuffix(name, "_seconds") {
			words = append(words, name)
		}
	}
	for _, word := range words {
		if word != "{name}" && !regexp.MustCompile("[`/]"+regexp.QuoteMeta(word)+"[`?]|GET /v1/"+word).Match(text) {
			t.Errorf("docs/portal.md does not tell of %s", word)
		}
	}
}

// declared are the exported functions of a package that return a type, and the
// exported variables whose value is a literal or a call of such.
func declared(t *testing.T, dir, result string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	var variables []*ast.ValueSpec
	for _, file := range parse(t, dir, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				results := d.Type.Results
				if d.Recv != nil || results == nil || len(results.List) != 1 || !d.Name.IsExported() {
					continue
				}
				if id, ok := results.List[0].Type.(*ast.Ident); ok && id.Name == result {
					names[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == gotoken.VAR {
						variables = append(variables, v)
					}
				}
			}
		}
	}
	for _, v := range variables {
		for i, value := range v.Values {
			made := ""
			if call, ok := value.(*ast.CallExpr); ok {
				if method, ok := call.Fun.(*ast.SelectorExpr); ok {
					value = method.X // of a fault, which makes it another one
				}
			}
			switch value := value.(type) {
			case *ast.CompositeLit:
				if id, ok := value.Type.(*ast.Ident); ok && id.Name == result {
					made = result
				}
			case *ast.CallExpr:
				if id, ok := value.Fun.(*ast.Ident); ok && names[id.Name] {
					made = result
				}
			}
			if made != "" && v.Names[i].IsExported() {
				names[v.Names[i].Name] = true
			}
		}
	}
	if len(names) < 5 {
		t.Fatalf("found %v in %s", names, dir)
	}
	return names
}

// identifiers are the names of pulltest that a file of this package uses.
func identifiers(t *testing.T, name string) map[string]bool {
	t.Helper()
	used := make(map[string]bool)
	for _, file := range parse(t, ".", func(n string) bool { return n == name }) {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := s.X.(*ast.Ident); ok && id.Name == "pulltest" {
					used[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	return used
}

func parse(t *testing.T, dir string, want func(string) bool) (files []*ast.File) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || !want(d.Name()):
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
		files = append(files, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
