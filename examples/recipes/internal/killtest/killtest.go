// Package killtest kills programs that listen to a portal, again and again
// while it publishes.
package killtest

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// mark in the environment makes a test's binary the program itself.
const mark = "B24PULL_KILLTEST_PROGRAM"

// patience is for a machine that has much else to do.
const patience = 2 * time.Minute

// Main is for TestMain: it runs the program where it is wanted, and otherwise
// the tests.
func Main(m *testing.M, program func()) {
	if os.Getenv(mark) != "" {
		program()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A Program listens to a portal that publishes. It prints a line for each event
// that it has handled.
type Program struct {
	t    *testing.T
	env  []string
	args []string
}

// New returns the program of the package under test, with a portal to listen to
// and more in its environment.
func New(t *testing.T, portal *pulltest.Portal, env, args []string) *Program {
	t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("programs do not read SSL_CERT_FILE here")
	}
	file := filepath.Join(t.TempDir(), "portal.pem")
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: portal.Certificate().Raw})
	if err := os.WriteFile(file, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	own := []string{mark + "=1", "B24PULL_PORTAL=" + portal.URL(), "B24PULL_ACCESS_TOKEN=" + portal.AccessToken(), "SSL_CERT_FILE=" + file}
	return &Program{t, append(append(os.Environ(), own...), env...), args}
}

// A Process is a run of a Program.
type Process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan struct{} // one for each line that it has printed
	done   chan struct{}
	stderr bytes.Buffer // to be read when it is done
}

// Start runs the program. It is killed with the test at the latest.
func (p *Program) Start() *Process {
	p.t.Helper()
	c := &Process{t: p.t, lines: make(chan struct{}), done: make(chan struct{})}
	c.cmd = exec.Command(os.Args[0], p.args...)
	c.cmd.Env, c.cmd.Stderr = p.env, &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			select {
			case c.lines <- struct{}{}:
			case <-p.t.Context().Done():
			}
		}
		_ = c.cmd.Wait()
	}()
	p.t.Cleanup(func() { _ = c.cmd.Process.Kill(); <-c.done })
	return c
}

// Handled waits until the process has handled n events more.
func (c *Process) Handled(n int) {
	c.t.Helper()
	end := time.After(patience)
	for range n {
		select {
		case <-c.lines:
		case <-c.done:
			c.t.Fatalf("the program has ended: %v\n%s", c.cmd.ProcessState, c.said())
		case <-end:
			_ = c.cmd.Process.Kill()
			c.t.Fatal("the program handles nothing")
		}
	}
}

// Run lets the process print until it has ended or enough, which is asked each
// time, is true.
func (c *Process) Run(enough func() bool) {
	c.t.Helper()
	end := time.After(patience)
	for !enough() {
		select {
		case <-c.lines:
		case <-c.done:
			return
		case <-time.After(20 * time.Millisecond):
		case <-end:
			_ = c.cmd.Process.Kill()
			c.t.Fatal("the program does not come to its end")
		}
	}
}

// Kill ends the process at once, as a power cut would.
func (c *Process) Kill() {
	_ = c.cmd.Process.Kill()
	c.drain()
}

// Stop asks the process to end, and wants it to do so without an error.
func (c *Process) Stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatal(err)
	}
	if c.drain(); !c.cmd.ProcessState.Success() {
		c.t.Errorf("the program has ended: %v\n%s", c.cmd.ProcessState, c.said())
	}
}

// Ended reports whether the process has ended, and lets it print meanwhile.
func (c *Process) Ended() bool {
	for {
		select {
		case <-c.lines:
		case <-c.done:
			return true
		default:
			return false
		}
	}
}

// Failed waits for the process to end, and wants it to do so with an error that
// says text.
func (c *Process) Failed(text string) {
	c.t.Helper()
	if c.drain(); c.cmd.ProcessState.Success() || !strings.Contains(c.stderr.String(), text) {
		c.t.Errorf("the program has ended: %v; want an error with %q\n%s", c.cmd.ProcessState, text, c.said())
	}
}

// Told wants a process that is done to have said text.
func (c *Process) Told(text string) {
	c.t.Helper()
	if !strings.Contains(c.stderr.String(), text) {
		c.t.Errorf("the program does not say %q\n%s", text, c.said())
	}
}

func (c *Process) drain() {
	end := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer end.Stop()
	for {
		select {
		case <-c.lines:
		case <-c.done:
			return
		}
	}
}

// said is the end of what the process has said, when it is done.
func (c *Process) said() string {
	text := c.stderr.String()
	return text[max(0, len(text)-4096):]
}

// Kills runs the program and kills it, so many times, while publish is called
// with 1, 2, 3 and so on; at the end it runs once more until enough, given how
// many were published, is true, and is asked to end. It returns how many were
// published.
//
// A program is killed when it has handled a few events more, of those that were
// published while there was none: it is in the middle of something then.
func (p *Program) Kills(kills int, publish func(n int), enough func(published int) bool) int {
	p.t.Helper()
	published, stop := 0, make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		ticker := time.NewTicker(3 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				published++
				publish(published)
			case <-stop:
				return
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); publisher.Wait() })
	defer end()
	for range kills {
		c := p.Start()
		c.Handled(1 + rand.IntN(12))
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		c.Kill()
	}
	end()
	c := p.Start()
	published++
	publish(published) // so that there is one that the last process handles
	c.Run(func() bool { return enough(published) })
	c.Stop()
	return published
}
