package quickstarts

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestQuickstarts_LoseNothing: the classes Events of PHP and Python give each
// event once that is kept, where several processes publish and store with
// delays, and the poll is cut again and again.
func TestQuickstarts_LoseNothing(t *testing.T) {
	t.Parallel()
	count := resttest.Rounds(800)
	for name, l := range map[string]language{"flood.php": php, "flood.py": python} {
		for version := 3; version <= 5; version++ {
			if testing.Short() && version != 4 {
				continue
			}
			t.Run(fmt.Sprintf("%s, version %d", name, version), func(t *testing.T) {
				resttest.Sample(t)
				t.Parallel()
				command := l.command(t)
				portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithProcesses(2, 2), pulltest.WithHostileTiming())
				defer portal.Close()
				portal.Emit(pulltest.Message{Command: "tick", Params: map[string]int{"n": -1}}) // before it begins
				wait(t, func() bool { return portal.Stats().Stored == 1 })
				f := flood(t, []string{command[0], "testdata/" + name}, portal)
				wait(t, func() bool { return f.told("ready") == 1 })
				for n := range count {
					portal.Emit(pulltest.Message{Command: "tick", Params: map[string]int{"n": n}, To: pulltest.Target(n % 2)})
					portal.Emit(pulltest.Message{Command: "tick", Params: map[string]int{"n": count + n}, Expiry: -1})
					if n%3 == 0 {
						time.Sleep(10 * time.Millisecond)
					}
					if n%100 == 50 {
						if _, err := portal.Cut(); err != nil {
							t.Fatal(err)
						}
					}
				}
				lost := count
				for late := time.Now().Add(2 * time.Minute); lost > 0 && time.Now().Before(late); time.Sleep(5 * time.Millisecond) {
					lost = 0
					for n := range count {
						if f.told(strconv.Itoa(n)) == 0 {
							lost++
						}
					}
				}
				if lost > 0 {
					t.Errorf("%d of %d are lost", lost, count)
				}
				for n := -1; n < 2*count; n++ {
					if got := f.told(strconv.Itoa(n)); got > 1 || n < 0 && got > 0 {
						t.Errorf("told %d: %d times", n, got)
					}
				}
			})
		}
	}
}

// A flooded is a listener in another language at work.
type flooded struct {
	mu    sync.Mutex
	lines map[string]int
}

func (f *flooded) told(line string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines[line]
}

// flood starts a listener, which ends with the test.
func flood(t *testing.T, command []string, portal *pulltest.Portal) *flooded {
	t.Helper()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: portal.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	it, err := json.Marshal(map[string]string{"url": portal.URL(), "token": portal.AccessToken(), "authority": authority})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = environment()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := &flooded{lines: make(map[string]int)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			f.mu.Lock()
			f.lines[lines.Text()]++
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-read
		cmd.Wait()
	})
	if _, err := stdin.Write(append(it, '\n')); err != nil {
		t.Fatal(err)
	}
	return f
}

func wait(t *testing.T, until func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("that takes too long")
		}
	}
}
