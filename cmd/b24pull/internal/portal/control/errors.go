package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Error is what the control API answers in place of a result.
type Error struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`

	// Field is the field of a body that is wrong, with which the message begins;
	// empty if it is none.
	Field string `json:"-"`
}

func (e *Error) Error() string { return e.Message }

func refuse(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// attempt calls f, and makes an error of what pulltest says in a panic about
// how it was called. Other panics pass.
func attempt(f func()) (err error) {
	defer func() {
		switch said := recover().(type) {
		case nil:
		case string:
			text, ours := strings.CutPrefix(said, "pulltest: ")
			if !ours {
				panic(said)
			}
			err = refuse(http.StatusBadRequest, "not_possible", "%s", inWordsOfHere(text))
		default:
			panic(said)
		}
	}()
	f()
	return nil
}

// failure is what pulltest says in an error of what cannot be done.
func failure(err error) error {
	if err == nil || errors.As(err, new(*Error)) {
		return err
	}
	return refuse(http.StatusConflict, "not_possible", "%s", inWordsOfHere(strings.TrimPrefix(err.Error(), "pulltest: ")))
}

// goNames are what pulltest's errors call what has another name here.
var goNames = strings.NewReplacer(
	"WithPlainHTTP", "plain_address",
	"WithCertificate", "the certificate",
	"WithTraffic", "traffic_per_second",
	"WithChannels", "seed",
	"WithScope", "scopes",
	"WithSharedMode", "shared",
	"WithHostileTiming", "hostile",
	"EmitOld to a channel that", "old: the channel",
	"EmitAsClient to a channel without", "as_client: the channel is without",
	"CloseWebSockets", "close-websockets",
	"CutPolls", "cut",
	"TokenField", "token_field",
)

var option = regexp.MustCompile(`\bWith(out)?[A-Z]\w*`)

// inWordsOfHere is an error of pulltest without the names that things have in
// Go: an option is called like the field that sets it.
func inWordsOfHere(text string) string {
	fields := fieldNames(reflect.TypeFor[Spec]())
	return option.ReplaceAllStringFunc(goNames.Replace(text), func(name string) string {
		field := snake(name) // with_…, or without_…
		field = strings.TrimPrefix(field, "with_")
		field = strings.ReplaceAll(field, "u_r_ls", "urls")
		if timed := field + "_seconds"; slices.Contains(fields, timed) {
			return timed
		}
		return field
	})
}

func writeError(w http.ResponseWriter, err error) {
	e := new(Error)
	if !errors.As(err, &e) {
		e = refuse(http.StatusInternalServerError, "internal", "%v", err)
	}
	writeJSON(w, e.Status, map[string]any{"error": e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(v)
}
