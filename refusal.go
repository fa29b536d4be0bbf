package b24pull

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/internal/phpjson"
)

// InvalidField is a parameter that a portal has found not to be valid.
type InvalidField struct {
	// Field is the parameter's name, "" where the portal names none.
	Field string
	// Message is the portal's text for a human.
	Message string
}

// Bounds of what an error repeats of an answer, in runes, and of the list of
// invalid fields.
const (
	descriptionLimit = 300
	fieldLimit       = 64
	messageLimit     = 150
	maxInvalid       = 16
)

// refusal is the envelope's error: a code with a description beside it, or, of
// newer portals, an object {code, message, validation}. Texts are strings;
// other types are taken as far as they go.
func (a response) refusal(code, description json.RawMessage) *APIError {
	told, message, validation := phpjson.ErrorParts(code)
	e := a.fail(a.redactor.Line(cmp.Or(phpjson.Node{Raw: message}.Scalar(), phpjson.Node{Raw: description}.Scalar()), descriptionLimit))
	e.Code = a.redactor.Code(phpjson.Node{Raw: told}.Scalar(), knownCode)
	if invalid := a.invalid(validation); len(invalid) > 0 {
		e.invalid = &invalid
	}
	if e.Code == "" && e.Description == "" && e.invalid == nil {
		e.Description = "the portal refused; its error code is " + string(phpjson.KindOf(code))
	}
	return e
}

// invalid reads the list of what is not valid: objects {field, message}, texts,
// or an object of these by field.
func (a response) invalid(raw json.RawMessage) []InvalidField {
	var found []InvalidField
	var list []json.RawMessage
	var byField map[string]json.RawMessage
	switch phpjson.KindOf(raw) {
	case phpjson.KindArray:
		if json.Unmarshal(raw, &list) != nil {
			return nil
		}
		for _, item := range list[:min(len(list), maxInvalid)] {
			found = append(found, a.invalidField("", item))
		}
	case phpjson.KindObject:
		if json.Unmarshal(raw, &byField) != nil {
			return nil
		}
		for field, item := range byField {
			found = append(found, a.invalidField(field, item))
		}
		slices.SortFunc(found, func(x, y InvalidField) int {
			return cmp.Or(cmp.Compare(x.Field, y.Field), cmp.Compare(x.Message, y.Message))
		})
	case phpjson.KindString:
		found = append(found, a.invalidField("", raw))
	}
	found = slices.DeleteFunc(found, func(f InvalidField) bool { return f == InvalidField{} })
	return slices.Clip(found[:min(len(found), maxInvalid)])
}

func (a response) invalidField(field string, raw json.RawMessage) InvalidField {
	var fields map[string]json.RawMessage
	var texts []json.RawMessage
	message := phpjson.Node{Raw: raw}.Scalar()
	switch phpjson.KindOf(raw) {
	case phpjson.KindObject:
		if json.Unmarshal(raw, &fields) == nil {
			field = cmp.Or(phpjson.Node{Raw: fields["field"]}.Scalar(), field)
			message = phpjson.Node{Raw: fields["message"]}.Scalar()
		}
	case phpjson.KindArray: // all that is wrong with one field
		if json.Unmarshal(raw, &texts) == nil && len(texts) > 0 {
			message = a.invalidField("", texts[0]).Message
		}
	}
	return InvalidField{Field: a.redactor.Line(field, fieldLimit), Message: a.redactor.Line(message, messageLimit)}
}

// String is the field and what is wrong with it, both quoted.
func (f InvalidField) String() string {
	if f.Field == "" {
		return fmt.Sprintf("%q", f.Message)
	}
	return fmt.Sprintf("%q: %q", f.Field, f.Message)
}

// LogValue is String for log/slog.
func (f InvalidField) LogValue() slog.Value { return slog.StringValue(f.String()) }

// blank reports whether an error beside a result says that there is none.
func blank(raw json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if phpjson.KindOf(raw) == phpjson.KindObject && json.Unmarshal(raw, &fields) == nil {
		for _, v := range fields {
			if !blankValue(v) {
				return false
			}
		}
		return true
	}
	return blankValue(raw)
}

func blankValue(raw json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(raw)), "") {
	case "null", `""`, "false", "0", `"0"`, "[]", "{}":
		return true
	}
	return false
}
