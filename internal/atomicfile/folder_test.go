package atomicfile

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
)

// TestFolder_NewFolder: each folder that has got another one is synced, the nearest
// first.
func TestFolder_NewFolder(t *testing.T) {
	root := t.TempDir()
	var synced []string
	sync := func(path string) error { synced = append(synced, path); return syncFolder(osDisk{}, path) }
	for range 2 {
		if err := makeFolder(filepath.Join(root, "a", "b", "c")+"/", sync); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{filepath.Join(root, "a", "b"), filepath.Join(root, "a"), root}; !slices.Equal(synced, want) {
		t.Errorf("synced %q", synced)
	}
	stop := errors.New("stop")
	if err := makeFolder(filepath.Join(root, "d"), func(string) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
}
