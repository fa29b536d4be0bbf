package redact

import (
	"fmt"
	"io"
)

// Format is the Format method of everything that holds secrets: one text
// without them, whatever the verb.
func Format(f fmt.State, verb rune, text string) {
	if verb == 'q' {
		text = fmt.Sprintf("%q", text)
	}
	io.WriteString(f, text)
}
