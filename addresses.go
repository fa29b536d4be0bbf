package b24pull

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/b24pull/b24pull/internal/addr"
)

// webSocket reports whether a server has an address for websockets.
func webSocket(server object) bool {
	return server.address(sockets, "websocket") != "" || server.address(sockets, "websocket_secure") != ""
}

// The schemes of addresses.
var (
	sockets = []string{"wss", "ws"}
	polls   = []string{"https", "http"}
)

// address returns the first of the named fields that is an address, or else the
// first string, as it came.
func (o object) address(schemes []string, names ...string) string {
	found := ""
	for _, name := range names {
		text, err := o.usable(name, schemes)
		if err == nil {
			return text
		}
		found = cmp.Or(found, text)
	}
	return found
}

// usable reads a field, and tells why it is no address if it is none.
func (o object) usable(name string, schemes []string) (string, error) {
	var text string
	if n := o.at(name); kindOf(n.raw) != kindString || json.Unmarshal(n.raw, &text) != nil {
		return "", errors.New("it is " + string(kindOf(n.raw)) + "; want " + schemes[0] + "://host/path")
	}
	if len(text) > maxIdentifier {
		return "", fmt.Errorf("it has %d bytes; want %d at most", len(text), maxIdentifier)
	}
	_, err := addr.Parse(text, schemes...)
	return text, err
}

// checkAddresses wants one address that can be used. Its error tells why the
// others cannot, and does not repeat them.
func checkAddresses(server object) error {
	var problems []string
	for _, kind := range []struct {
		schemes, names []string
	}{
		{sockets, []string{"websocket_secure", "websocket"}},
		{polls, []string{"long_polling_secure", "long_pooling_secure", "long_polling", "long_pooling"}},
	} {
		for _, name := range kind.names {
			_, err := server.usable(name, kind.schemes)
			switch n := server.at(name); {
			case err == nil:
				return nil
			case !n.empty():
				problems = append(problems, name+": "+err.Error())
			}
		}
	}
	if problems == nil {
		return &configError{server.path, "no address, neither for websockets nor for long polling"}
	}
	return &configError{server.path, "no address that can be used: " + strings.Join(problems, "; ")}
}
