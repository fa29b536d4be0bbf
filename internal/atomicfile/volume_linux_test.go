package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/mounttest"
)

// TestVolume: containers have volumes that everybody may write. They are taken
// where that is asked for, and folders in them always.
func TestVolume(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		volume := filepath.Join(dir, "volume")
		if err := os.Mkdir(volume, 0o755); err != nil {
			t.Fatal(err)
		}
		mounttest.Small(t, volume, "64k")
		if err := os.Chmod(volume, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := CheckFolder(volume, true); err != nil {
			t.Errorf("a volume: %v", err)
		}
		if err := CheckFolder(volume, false); err == nil || !strings.Contains(err.Error(), "a new one in it") {
			t.Errorf("a volume for tokens: %v", err)
		}
		if err := MakeFolder(filepath.Join(volume, "new")); err != nil {
			t.Errorf("a folder in it: %v", err)
		}
		if err := os.Chmod(volume, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if err := CheckFolder(volume, true); err == nil {
			t.Error("what is sticky is for several users, also if it is mounted")
		}
	})
}
