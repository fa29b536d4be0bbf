package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/child"
)

// childMark in the environment makes this program a consumer and nothing else.
const childMark = "B24PULL_SOAK_CONSUMER"

// consumerMain is the life of a consumer process. On stdin it gets its
// consumer, and at the end of stdin it ends; on stdout it reports what it does.
func consumerMain(stdin io.Reader, stdout, stderr io.Writer) int {
	input := json.NewDecoder(stdin)
	c := new(consumer)
	if err := input.Decode(c); err != nil {
		fmt.Fprintln(stderr, "consumer:", err)
		return exitUsage
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(input.Buffered(), stdin))
		cancel()
	}()
	if err := c.consume(ctx, &pipe{out: stdout}); err != nil {
		fmt.Fprintln(stderr, "consumer:", err)
		return exitFailed
	}
	return 0
}

// What a consumer process reports: a line that begins with one of these, and a
// message's number or a text.
const (
	sayReady   = "ready"
	sayBegun   = "begun"
	sayHandled = "handled"
	sayNote    = "note"
)

// pipe reports line by line, each in a write of its own: what was reported has
// left the process, whatever happens to it next.
type pipe struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *pipe) say(what, more string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.out, what+" "+more+"\n") // nobody listens: then this process is about to end
}

func (p *pipe) ready()           { p.say(sayReady, "") }
func (p *pipe) begun(n int)      { p.say(sayBegun, strconv.Itoa(n)) }
func (p *pipe) handled(n int)    { p.say(sayHandled, strconv.Itoa(n)) }
func (p *pipe) note(text string) { p.say(sayNote, text) }

// startProcess starts a consumer process with more in its environment, and
// passes on what it reports.
func startProcess(c *consumer, w *witness, stderr io.Writer, env ...string) (*running, error) {
	spec, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	cmd, err := child.Command(context.Background(), stderr, "soak", append([]string{childMark + "=1"}, env...)...)
	if err != nil {
		return nil, err
	}
	stdin, stdout, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	r := newRunning(w)
	r.pid = cmd.Process.Pid
	r.end = func() { _ = stdin.Close() }
	r.kill = func() { _ = cmd.Process.Kill() }
	go func() {
		defer close(r.over)
		defer stdin.Close()
		err := listen(stdout, w)
		r.err = errors.Join(err, cmd.Wait())
	}()
	_, _ = stdin.Write(spec) // a process that ends before says so itself
	return r, nil
}

// listen takes the reports of a process until there are no more.
func listen(stdout io.Reader, report reporter) error {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		what, more, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.Atoi(more)
		switch what {
		case sayReady:
			report.ready()
		case sayBegun:
			report.begun(n)
		case sayHandled:
			report.handled(n)
		case sayNote:
			report.note(more)
		}
	}
	return lines.Err()
}
