package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// binary is the program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "b24pull")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "b24pull.exe")
	build := exec.Command("go", "build", "-ldflags=-s", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as in the Dockerfile
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// TestCommands: each command has a page, and what is no command gets a line
// that tells of them.
func TestCommands(t *testing.T) {
	tests := []struct {
		args           string
		code           int
		stdout, stderr string // the beginnings; "" for nothing
	}{
		{"", exitUsage, "", "b24pull has tools"},
		{"help", 0, "b24pull has tools", ""},
		{"-h", 0, "b24pull has tools", ""},
		{"--help", 0, "b24pull has tools", ""},
		{"help listen", 0, "usage: b24pull listen", ""},
		{"listen -h", 0, "", "usage: b24pull listen"},
		{"help doctor", 0, "usage: b24pull doctor", ""},
		{"doctor -idle long", exitUsage, "", "b24pull doctor: "},
		{"help soak", 0, "usage: b24pull soak", ""},
		{"soak -help", 0, "", "usage: b24pull soak"},
		{"dance", exitUsage, "", `b24pull: there is no command "dance"; see b24pull help`},
		{"help dance", exitUsage, "", `b24pull: there is no help for "dance"; see b24pull help`},
		{"help portal", 0, "usage: b24pull portal", ""},
		{"portal -x", exitUsage, "", "b24pull portal: "},
		{"help listen soak", exitUsage, "", `b24pull: there is no help for "listen soak"; see b24pull help`},
		{"listen -n many", exitUsage, "", "b24pull listen: "},
		{"bench -help", 0, "", "usage: b24pull bench"},
		{"bench -versions 4,2", exitUsage, "", "b24pull bench: "},
		{"bench -messages 0", exitUsage, "", "b24pull bench: "},
		{"bench now", exitUsage, "", "b24pull bench: "},
		{"soak -messages many", exitUsage, "", "b24pull soak: "},
	}
	begins := func(text, with string) bool { return strings.HasPrefix(text, with) && (text == "") == (with == "") }
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
			if code != tt.code || !begins(stdout.String(), tt.stdout) || !begins(stderr.String(), tt.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
			}
		})
	}
}

// TestListenProcess runs the real program, and interrupts it as Ctrl-C does.
func TestListenProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt there")
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), binary, "listen")
	cmd.Env = []string{}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, "order.changed") {
		t.Errorf("printed %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}

// TestSoakProcess runs the real program, which starts itself to consume, and
// kills that.
func TestSoakProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), binary, "soak", "-messages", "200", "-kill", "1")
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "lost 0, repeated 0, out of order 0 of 200; ") || !strings.HasSuffix(string(out), "kills 1\n") {
		t.Errorf("printed %q, %v", out, err)
	}
}

// TestBenchProcess runs the real program, which starts itself to serve and to
// consume: each row of its table has something measured in it.
func TestBenchProcess(t *testing.T) {
	t.Parallel()
	out, stderr := runBench(t, "-messages", "205", "-runs", "1", "-idle", "2", "-idle-wait", "100ms", "-idle-for", "50ms", "-portals", "2", "-backlog", "0", "-js", t.TempDir())
	rows := make(map[string]int)
	for line := range strings.Lines(string(out)) {
		for _, row := range []string{"this SDK", "its fleet", "bare loop", "frames alone"} {
			_, figures, ok := strings.Cut(line, row)
			if fields := strings.Fields(figures); ok && len(fields) >= 4 && fields[0] != "0" {
				rows[row]++
			}
		}
	}
	if rows["this SDK"] != 7 || rows["bare loop"] != 7 || rows["frames alone"] != 3 || rows["its fleet"] != 2 {
		t.Errorf("rows with figures: %v, want 7 of each, 3 of frames alone, 2 of the fleet, in\n%s", rows, out)
	}
	if !strings.Contains(stderr, "without the official JS client") {
		t.Errorf("nothing says why there is no JS client: %s", stderr)
	}
}

// TestBenchProcess_Idle: an idle subscription has two goroutines, and its memory
// stays within what thousands of them are planned with.
func TestBenchProcess_Idle(t *testing.T) {
	if !resttest.Thorough {
		t.Skip("hundreds of connections: B24PULL_LONG=1")
	}
	t.Parallel()
	const mostHeap, mostGoroutines = 45, 2.5
	// More than a second: then the goroutine ends that has nothing to do. On a
	// busy machine that takes a while.
	for wait := 1500 * time.Millisecond; ; wait *= 4 {
		out, _ := runBench(t, "-runs", "0", "-idle", "300", "-idle-wait", wait.String(), "-portals", "0", "-backlog", "0")
		rows, wrong := 0, ""
		for line := range strings.Lines(string(out)) {
			_, figures, ok := strings.Cut(line, "this SDK")
			if !ok {
				continue
			}
			var rss, ratio, heap, stack, goroutines float64
			if _, err := fmt.Sscan(figures, &rss, &ratio, &heap, &stack, &goroutines); err != nil {
				continue // there is no RSS here
			}
			rows++
			if heap > mostHeap || goroutines > mostGoroutines {
				wrong = fmt.Sprintf("a subscription takes %.1f kB of heap and %.1f goroutines, want %d and %.1f at the most, in\n%s", heap, goroutines, mostHeap, mostGoroutines, out)
			}
		}
		if rows != 2 && runtime.GOOS == "linux" {
			t.Errorf("%d rows, want 2, in\n%s", rows, out)
		}
		if wrong == "" {
			return
		}
		if wait > 20*time.Second {
			t.Fatal(wrong)
		}
	}
}

// TestBenchProcess_Backlog has backlogs caught up with; a thorough run those of
// each framing.
func TestBenchProcess_Backlog(t *testing.T) {
	t.Parallel()
	versions, framings := "4", []string{"protobuf"}
	if resttest.Thorough {
		versions, framings = "4,3,5", []string{"protobuf", "text", "JSON-RPC"}
	}
	out, _ := runBench(t, "-messages", "205", "-runs", "0", "-idle", "0", "-portals", "0", "-backlog", "2000", "-versions", versions)
	for _, framing := range framings {
		missed := regexp.MustCompile(`(?m)^` + framing + ` +(200|2000) +[1-9][0-9]* .* 0$`) // none was repeated
		if n := len(missed.FindAll(out, -1)); n != 2 {
			t.Errorf("%s: %d rows of backlogs without repeats, want 2, in\n%s", framing, n, out)
		}
	}
}

// runBench runs the program's bench, and returns what it prints.
func runBench(t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"bench"}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	return out, said.String()
}
