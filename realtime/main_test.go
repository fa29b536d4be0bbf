package realtime

import (
	"flag"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// thorough has the tests take some minutes more: with more servers, steps and
// messages.
var thorough = os.Getenv("B24PULL_LONG") != ""

// TestMain leaves out most servers whose framing and positions another one has
// as well where the tests are to be short, as under the race detector.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		versions = []int{2, 4, 5}
		alike := []string{"version 1", "version 3", "version 4 shared", "version 5 shared"}
		kept := servers[:0]
		for _, s := range servers {
			if !slices.Contains(alike, s.name) {
				kept = append(kept, s)
			}
		}
		servers = kept
	}
	goleak.VerifyTestMain(m)
}
