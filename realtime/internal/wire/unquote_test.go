package wire

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestUnquote: strings say what encoding/json reads in them.
func TestUnquote(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	pieces := []string{
		`a`, `bc`, ` `, "\x7f", `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\u0000`, `\u0061`, `\u00E9`, `\u2028`, `\uFFFD`, `\uffff`,
		`\ud800`, `\uDBFF`, `\uDC00`, `\udfff`, `\ud83d\ude00`, `u`, `\\u`, "é", "€", "😀", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f", "\xed\xa0\x80", "\ufffd",
	}
	for range resttest.Rounds(100_000) {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		quoted := `"` + b.String() + `"`
		var want string
		if err := json.Unmarshal([]byte(quoted), &want); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		if got := string(unquote([]byte(quoted))); got != want {
			t.Fatalf("%q says %q, want %q", quoted, got, want)
		}
	}
}
