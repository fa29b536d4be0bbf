package realtime

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"go.uber.org/goleak"
)

// TestMain leaves out most servers whose framing and positions another one has
// as well where the tests are to be short, as under the race detector.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		versions = []int{4, 5, 2} // the first is always run
		kept := servers[:0:0]
		for _, name := range []string{"version 4", "version 5", "version 2", "version 5 without polling", "version 4 without websockets"} {
			for _, s := range servers {
				if s.name == name {
					kept = append(kept, s)
				}
			}
		}
		servers = kept
	}
	resttest.AtOnce(2 * runtime.GOMAXPROCS(0))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // bubbles make much garbage, and little of it lives
	}
	goleak.VerifyTestMain(m)
}

// shorter is the usual, and something smaller where tests are to be short.
func shorter[T any](usual, short T) T {
	if testing.Short() {
		return short
	}
	return usual
}

// skipLong skips a test that takes long, such as a life of days or with large
// messages, where tests are to be short.
func skipLong(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
}
