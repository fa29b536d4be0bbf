package delivery

import (
	"os"
	"strconv"
	"testing"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func midAt(n uint64) wire.Mid { return wire.Mid{Epoch: 1795421100, Counter: n} }

// seedsFor is how many seeds a random test runs: the usual number, or what
// B24PULL_SEEDS says.
func seedsFor(t *testing.T, usual int) int {
	text := os.Getenv("B24PULL_SEEDS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
