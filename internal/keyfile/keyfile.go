// Package keyfile names the files of stores that keep a file for each key.
package keyfile

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// MaxName is how long a name may be, in bytes, for its ending to fit as well.
const MaxName = 200

// Name is the name of a key's file without its ending. Lower case letters,
// digits, - and _ stand for themselves, all else is % and two digits: file
// systems may not tell cases apart.
func Name(key string) string {
	var name strings.Builder
	for _, c := range []byte(key) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, "%%%02x", c)
		}
	}
	return name.String()
}

// Keys returns the keys that have a file with an ending in a folder, in the
// order of their bytes.
func Keys(folder, ending string) ([]string, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, f := range files {
		name, found := strings.CutSuffix(f.Name(), ending)
		if key, err := url.PathUnescape(name); found && err == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
