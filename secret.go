package b24pull

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull/internal/redact"
)

// mask stands wherever a secret would have been printed.
const mask = redact.Mask

// Secret is a value that gives access to a portal's messages: a channel id, a
// signature, a jwt. It does not print itself: fmt, log/slog and encoding/json
// write "[redacted]", and nothing for an empty one. string(s) reveals the
// value.
//
// Three things are beyond its reach. fmt reads the unexported fields of a
// struct without asking their types, so a struct of yours that keeps a Secret
// or a Config in one needs a Format method of its own before it is printed
// (under %v a *Config prints as an address). fmt's %p and %w, which go vet
// reports as mistakes, print any string as it is. And encoding/json writes the
// keys of a map as they are.
type Secret string

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString is String for the verb %#v.
func (s Secret) GoString() string { return fmt.Sprintf("b24pull.Secret(%q)", s.String()) }

// Format writes the redacted form for every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		io.WriteString(f, s.GoString())
	case verb == 'q':
		io.WriteString(f, `"`+s.String()+`"`)
	default:
		io.WriteString(f, s.String())
	}
}

// LogValue is String for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the redacted form: a marshalled Config cannot be loaded
// again. Config.Raw has what to save.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText writes the redacted form.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// redactURL hides what in a URL can be a secret: user, query and fragment, and
// all of what is no URL with a host.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return mask
	}
	user, query := u.User != nil, u.RawQuery != "" || u.ForceQuery || u.Fragment != ""
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	text := u.String()
	if user {
		text = strings.Replace(text, "//", "//"+mask+"@", 1)
	}
	if query {
		text += "?" + mask
	}
	return text
}
