// Package mounttest lets a test mount: it runs in a process of its own whose
// mounts nobody else sees.
package mounttest

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// child tells a process that it is the one that may mount.
const child = "B24PULL_TEST_MOUNTS"

// Run runs test with a folder in a process that may mount, once more its own
// binary. The test is skipped where the system does not allow that.
func Run(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	if os.Getenv(child) == t.Name() {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Skip(err)
		}
		test(t, t.TempDir())
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if id := os.Getuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skipf("no mounts of its own: %v", err)
	}
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
}

// Bind mounts from over to, which is there: two files, or two folders.
func Bind(t *testing.T, from, to string) {
	t.Helper()
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	unmount(t, to)
}

// ReadOnly makes what is below path read-only.
func ReadOnly(t *testing.T, path string) {
	t.Helper()
	Bind(t, path, path)
	if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// Small mounts a file system over path that has room for so many bytes.
func Small(t *testing.T, path, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=700,size="+size); err != nil {
		t.Fatal(err)
	}
	unmount(t, path)
}

// unmount has the test's folder removed at the end.
func unmount(t *testing.T, path string) {
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
