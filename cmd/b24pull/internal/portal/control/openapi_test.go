package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

var update = flag.Bool("update", false, "rewrite openapi.json")

// TestOpenAPI_Golden: openapi.json is what the routes and the types of their
// bodies say.
func TestOpenAPI_Golden(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(describe(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), openAPI) {
		t.Error("openapi.json is not what the routes say: run go test -run OpenAPI_Golden -update here, and read the difference")
	}
}

// TestOpenAPI_Valid: the file keeps to what OpenAPI 3.1 wants of what is used
// here: references lead somewhere, parameters of paths are declared, every
// operation has a name of its own, an answer and a schema for each body.
func TestOpenAPI_Valid(t *testing.T) {
	var file struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Parameters  []struct {
				Name, In string
				Required bool
				Schema   map[string]any
			}
			RequestBody *struct {
				Content map[string]struct{ Schema map[string]any }
			} `json:"requestBody"`
			Responses map[string]struct {
				Description string
				Content     map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ Schemas map[string]map[string]any }
	}
	d := json.NewDecoder(bytes.NewReader(openAPI))
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(file.OpenAPI, "3.1.") || file.Info.Title == "" || file.Info.Version == "" {
		t.Errorf("the head is %q, %+v", file.OpenAPI, file.Info)
	}
	for _, ref := range regexp.MustCompile(`"\$ref": "#/components/schemas/([^"]*)"`).FindAllSubmatch(openAPI, -1) {
		if file.Components.Schemas[string(ref[1])] == nil {
			t.Errorf("there is no schema %s", ref[1])
		}
	}
	ids := make(map[string]bool)
	operations := 0
	for path, methods := range file.Paths {
		for method, op := range methods {
			operations++
			at := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s: no summary, or no name of its own: %q", at, op.OperationID)
			}
			ids[op.OperationID] = true
			declared := make(map[string]bool)
			for _, p := range op.Parameters {
				declared["{"+p.Name+"}"] = p.In == "path" && p.Required
				if len(p.Schema) == 0 {
					t.Errorf("%s: parameter %s has no schema", at, p.Name)
				}
			}
			for _, variable := range regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1) {
				if !declared[variable] {
					t.Errorf("%s: %s is not declared", at, variable)
				}
			}
			if op.RequestBody != nil && len(op.RequestBody.Content["application/json"].Schema) == 0 {
				t.Errorf("%s: the body has no schema", at)
			}
			good := 0
			for status, answer := range op.Responses {
				if strings.HasPrefix(status, "2") {
					good++
				}
				if answer.Description == "" || len(answer.Content) == 0 {
					t.Errorf("%s: the answer %s is not described", at, status)
				}
				for media, content := range answer.Content {
					if len(content.Schema) == 0 {
						t.Errorf("%s: the answer %s has no schema for %s", at, status, media)
					}
				}
			}
			if good != 1 || op.Responses["default"].Description == "" {
				t.Errorf("%s: %d good answers, or none for errors", at, good)
			}
		}
	}
	if want := len(new(Server).routes()); operations != want {
		t.Errorf("%d operations, and %d routes", operations, want)
	}
}

// TestOpenAPI_Served: each path of the file is one that the server has, and of
// each of them it says that another method is wrong.
func TestOpenAPI_Served(t *testing.T) {
	var file struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(openAPI, &file); err != nil {
		t.Fatal(err)
	}
	s := New(NewPortals(nil, nil), nil, func(missing http.Handler) http.Handler { return missing })
	for path, methods := range file.Paths {
		for method := range methods {
			r := httptest.NewRequest(strings.ToUpper(method), "http://localhost"+strings.ReplaceAll(path, "{name}", "nobody"), nil)
			if _, pattern := s.mux.Handler(r); pattern != strings.ToUpper(method)+" "+path {
				t.Errorf("%s %s is served as %q", method, path, pattern)
			}
			w := httptest.NewRecorder()
			r.Method = http.MethodPatch
			s.ServeHTTP(w, r)
			if allow := w.Header().Values("Allow"); strings.HasPrefix(path, "/v1/") && (w.Code != http.StatusMethodNotAllowed || !slices.Contains(allow, strings.ToUpper(method))) {
				t.Errorf("PATCH %s: %d, allowed %q", path, w.Code, allow)
			}
		}
	}
}

// describer makes schemas of types.
type describer struct {
	t       *testing.T
	schemas map[string]any
	answers bool // those of answers are described
}

type object = map[string]any

// describe is the OpenAPI file.
func describe(t *testing.T) object {
	d := &describer{t: t, schemas: object{}}
	d.schemas["error"] = object{
		"type": "object", "required": []string{"error"}, "properties": object{"error": object{
			"type": "object", "required": []string{"code", "message"}, "properties": object{
				"code":    object{"type": "string", "description": "For programs."},
				"message": object{"type": "string", "description": "What was wrong, and what to do."},
			},
		}},
	}
	paths := object{}
	for _, r := range new(Server).routes() {
		at, _ := paths[r.path].(object)
		if at == nil {
			at = object{}
			paths[r.path] = at
		}
		at[strings.ToLower(r.method)] = d.operation(r)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "b24pull portal",
			"version":     "1",
			"description": "Controls Bitrix24 portals that are emulated for tests. Times are in seconds.",
		},
		"paths":      paths,
		"components": object{"schemas": d.schemas},
	}
}

func (d *describer) operation(r route) object {
	parts := strings.Split(strings.Trim(r.path, "/"), "/")
	id := strings.ToLower(r.method) + " " + strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "v1" || s == "{name}" }), " ")
	if strings.HasSuffix(r.path, "{name}") {
		id += " one"
	}
	words := regexp.MustCompile(`[^a-z]+`).Split(id, -1)
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	op := object{"operationId": strings.Join(words, ""), "summary": r.does}
	var parameters []object
	if strings.Contains(r.path, "{name}") {
		parameters = append(parameters, object{"name": "name", "in": "path", "required": true, "description": "The portal's name.", "schema": object{"type": "string"}})
	}
	switch fields := jsonFields(r.in); {
	case len(fields) == 0:
	case r.method == http.MethodGet:
		for _, f := range fields {
			parameters = append(parameters, object{"name": jsonName(f), "in": "query", "required": f.Tag.Get("required") == "true", "description": f.Tag.Get("doc"), "schema": d.field(f)})
		}
	default:
		schema := d.schema(r.in)
		required := schemaOf(d, schema)["required"] != nil
		op["requestBody"] = object{"required": required, "content": object{"application/json": object{"schema": schema}}}
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	d.answers = true
	defer func() { d.answers = false }()
	content := object{"application/json": object{"schema": d.schema(r.out)}}
	switch {
	case r.media != "":
		content = object{r.media: object{"schema": object{"type": "string"}}}
	case r.path == "/openapi.json":
		content = object{"application/json": object{"schema": object{"type": "object"}}}
	}
	op["responses"] = object{
		strconv.Itoa(r.status): object{"description": "Done.", "content": content},
		"default":              object{"description": "It was not done.", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/error"}}}},
	}
	return op
}

func schemaOf(d *describer, schema object) object {
	if ref, ok := schema["$ref"].(string); ok {
		return d.schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(object)
	}
	return schema
}

// schema is that of a type; structs are named.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[pulltest.EventKind]():
		field, _ := reflect.TypeFor[since]().FieldByName("Kind")
		return object{"type": "string", "enum": strings.Split(field.Tag.Get("enum"), ",")}
	case t == rawType:
		return object{"description": "Any JSON."}
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		name := strings.ToLower(t.Name()[:1]) + t.Name()[1:]
		if d.schemas[name] == nil {
			d.schemas[name] = object{} // a placeholder, for a type within itself
			d.schemas[name] = d.fields(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	d.t.Fatalf("no schema for %v", t)
	return nil
}

func (d *describer) fields(t reflect.Type) object {
	schema := object{"type": "object", "additionalProperties": false}
	properties, required := object{}, []string{}
	for _, f := range jsonFields(t) {
		properties[jsonName(f)] = d.field(f)
		if f.Tag.Get("required") == "true" || d.answers && !strings.Contains(f.Tag.Get("json"), ",omit") {
			required = append(required, jsonName(f))
		}
	}
	if schema["properties"] = properties; len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// field is the schema of a field, with what its tags say.
func (d *describer) field(f reflect.StructField) object {
	schema := d.schema(f.Type)
	if doc := f.Tag.Get("doc"); doc != "" {
		schema["description"] = doc
	}
	if f.Tag.Get("of") == "event" {
		schema["items"] = d.schema(reflect.TypeFor[event]())
	}
	if f.Name == "Fault" && f.Tag.Get("required") != "" {
		schema["enum"] = faultNames()
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		words := strings.Split(enum, ",")
		if items, ok := schema["items"].(object); ok {
			items["enum"] = words
		} else {
			schema["enum"] = words
		}
	}
	limits := map[string][2]string{"integer": {"minimum", "maximum"}, "number": {"minimum", "maximum"}, "string": {"minLength", "maxLength"}, "array": {"minItems", "maxItems"}}
	for i, tag := range []string{"min", "max"} {
		if n, ok := bound(f.Tag, tag); ok {
			name, known := limits[fmt.Sprint(schema["type"])]
			if !known {
				d.t.Fatalf("%s has a %s that the file cannot say", f.Name, tag)
			}
			schema[name[i]] = n
		}
	}
	return schema
}
