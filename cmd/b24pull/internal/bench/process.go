package bench

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/child"
)

// childMark in the environment makes this program a part of a bench and nothing
// else: what it holds is a part's JSON.
const childMark = "B24PULL_BENCH_PART"

// part is what a process is to be: one of these.
type part struct {
	Server   *serverSpec        `json:",omitempty"`
	Consumer *consumerSpec      `json:",omitempty"`
	Idle     *idleSpec          `json:",omitempty"`
	Portals  *portalServersSpec `json:",omitempty"`
	Fleet    *fleetSpec         `json:",omitempty"`
	Keeper   *keptSpec          `json:",omitempty"`
	Backlog  *backlogSpec       `json:",omitempty"`
}

// partMain is the life of a process that another run has started.
func partMain(ctx context.Context, spec string, stdin io.Reader, stdout io.Writer) error {
	var p part
	if err := json.Unmarshal([]byte(spec), &p); err != nil {
		return err
	}
	switch {
	case p.Server != nil:
		return serverMain(*p.Server, stdin, stdout)
	case p.Consumer != nil:
		return consumerMain(ctx, *p.Consumer, stdout)
	case p.Idle != nil:
		return idleMain(ctx, *p.Idle, stdout)
	case p.Portals != nil:
		return portalServersMain(*p.Portals, stdin, stdout)
	case p.Fleet != nil:
		return fleetMain(ctx, *p.Fleet, stdout)
	case p.Keeper != nil:
		return keeperMain(*p.Keeper, stdin, stdout)
	case p.Backlog != nil:
		return backlogMain(ctx, *p.Backlog, stdout)
	default:
		return errors.New("nothing to be")
	}
}

// command is this program as a part.
func (p part) command(ctx context.Context, stderr io.Writer) (*exec.Cmd, error) {
	spec, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return child.Command(ctx, stderr, "bench", childMark+"="+string(spec))
}

// startServer starts a firehose, which ends with stop.
func startServer(ctx context.Context, spec serverSpec, stderr io.Writer) (at address, stop func(), err error) {
	server, err := part{Server: &spec}.start(ctx, &at, stderr)
	if err != nil {
		return at, nil, err
	}
	return at, func() { _, _ = server.stop(nil) }, nil
}

// running is a part that goes on until it is stopped.
type running struct {
	cmd   *exec.Cmd
	stdin io.Closer
	says  *json.Decoder
}

// start starts a part that says something when it is there.
func (p part) start(ctx context.Context, into any, stderr io.Writer) (*running, error) {
	cmd, err := p.command(ctx, stderr)
	if err != nil {
		return nil, err
	}
	stdin, stdout, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	r := &running{cmd, stdin, json.NewDecoder(stdout)}
	if err := r.says.Decode(into); err != nil {
		_, _ = r.stop(nil)
		return nil, fmt.Errorf("the server does not start: %w", err)
	}
	return r, nil
}

// stop ends a part and takes what it says then, unless into is nil. It returns
// the CPU time that it took.
func (r *running) stop(into any) (cpu time.Duration, err error) {
	_ = r.stdin.Close()
	if into != nil {
		err = r.says.Decode(into)
	}
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime(), err
}

// measure runs a part, takes what it says, and returns the CPU time that it
// took from its start to its end.
func (p part) measure(ctx context.Context, into any, stderr io.Writer) (time.Duration, error) {
	cmd, err := p.command(ctx, stderr)
	if err != nil {
		return 0, err
	}
	return said(cmd, into)
}

func said(cmd *exec.Cmd, into any) (time.Duration, error) {
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], into); err != nil {
		return 0, fmt.Errorf("it has not said what it has measured: %w", err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

//go:embed js.mjs
var jsProgram string

// jsMissing says why there is no JS client in a folder; "" if there is.
func jsMissing(folder string) string {
	if _, err := exec.LookPath("node"); err != nil {
		return "there is no Node"
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@bitrix24", "b24jssdk")); err != nil {
		return "the package @bitrix24/b24jssdk is not in the folder that -js names"
	}
	return ""
}

// measureJS is measure for the JS client.
func measureJS(ctx context.Context, folder string, at address, messages int, into any, stderr io.Writer) (time.Duration, error) {
	spec, err := json.Marshal(map[string]any{"At": at, "Messages": messages, "Config": json.RawMessage(at.config())})
	if err != nil {
		return 0, err
	}
	// Before version 22 Node has websockets by this flag.
	cmd := exec.CommandContext(ctx, "node", "--experimental-websocket", "--no-warnings", "--input-type=module", "-")
	cmd.Dir = folder
	cmd.Stdin = strings.NewReader(jsProgram)
	cmd.Stderr = stderr
	cmd.Env = append(os.Environ(), "SPEC="+string(spec))
	return said(cmd, into)
}
