// Package enum has the texts of enumerations: numbers from 0 on, each with a
// name.
package enum

import (
	"fmt"
	"slices"
	"strings"
)

// Name is the name of e, and of a number that has none its type's and the
// number.
func Name[E ~int | ~uint8](names []string, e E) string {
	if e < 0 || int(e) >= len(names) {
		_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
		return fmt.Sprintf("%s(%d)", name, int(e))
	}
	return names[e]
}

// Parse sets e to what has the name text. The error says which names there are.
func Parse[E ~int | ~uint8](names []string, text []byte, e *E) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("%.40q is none of %s", text, strings.Join(names, ", "))
	}
	*e = E(i)
	return nil
}
