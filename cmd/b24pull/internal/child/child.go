// Package child starts this program again, as another process of its own.
package child

import (
	"context"
	"io"
	"os"
	"os/exec"
)

// Command is this program with a subcommand, and with more in its environment.
// It is killed when ctx is done.
func Command(ctx context.Context, stderr io.Writer, subcommand string, env ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, subcommand)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = stderr
	return cmd, nil
}

// Start starts a command whose standard input and output are the caller's.
func Start(cmd *exec.Cmd) (stdin io.WriteCloser, stdout io.Reader, err error) {
	if stdin, err = cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	if stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, err
	}
	return stdin, stdout, cmd.Start()
}
