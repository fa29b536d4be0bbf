package b24pull

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/phpjson"
)

// webSocket reports whether a server has an address for websockets.
func webSocket(server phpjson.Object) bool {
	return address(server, sockets, "websocket") != "" || address(server, sockets, "websocket_secure") != ""
}

// The schemes of addresses.
var (
	sockets = []string{"wss", "ws"}
	polls   = []string{"https", "http"}
)

// address returns the first of the named fields that is an address, or else the
// first string, as it came.
func address(o phpjson.Object, schemes []string, names ...string) string {
	found := ""
	for _, name := range names {
		text, err := usable(o, name, schemes)
		if err == nil {
			return text
		}
		found = cmp.Or(found, text)
	}
	return found
}

// usable reads a field, and tells why it is no address if it is none.
func usable(o phpjson.Object, name string, schemes []string) (string, error) {
	var text string
	if n := o.At(name); phpjson.KindOf(n.Raw) != phpjson.KindString || json.Unmarshal(n.Raw, &text) != nil {
		return "", errors.New("it is " + string(phpjson.KindOf(n.Raw)) + "; want " + schemes[0] + "://host/path")
	}
	if len(text) > phpjson.MaxIdentifier {
		return "", fmt.Errorf("it has %d bytes; want %d at most", len(text), phpjson.MaxIdentifier)
	}
	_, err := addr.Parse(text, schemes...)
	return text, err
}

// checkAddresses wants one address that can be used. Its error tells why the
// others cannot, and does not repeat them.
func checkAddresses(server phpjson.Object) error {
	var problems []string
	for _, kind := range []struct {
		schemes, names []string
	}{
		{sockets, []string{"websocket_secure", "websocket"}},
		{polls, []string{"long_polling_secure", "long_pooling_secure", "long_polling", "long_pooling"}},
	} {
		for _, name := range kind.names {
			_, err := usable(server, name, kind.schemes)
			switch n := server.At(name); {
			case err == nil:
				return nil
			case !n.Empty():
				problems = append(problems, name+": "+err.Error())
			}
		}
	}
	if problems == nil {
		return phpjson.Node{Path: server.Path}.Wrong("no address, neither for websockets nor for long polling")
	}
	return phpjson.Node{Path: server.Path}.Wrong("no address that can be used: " + strings.Join(problems, "; "))
}
