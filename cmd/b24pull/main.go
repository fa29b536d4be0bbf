// Command b24pull has tools around the pull API of Bitrix24:
//
//	b24pull listen   prints the events of a portal as they arrive
//	b24pull doctor   tells what would keep them from coming
//	b24pull soak     proves that a subscription loses nothing and repeats nothing
//	b24pull portal   runs portals for tests in any language
//	b24pull bench    measures how many messages a second a subscription takes
//
// None needs an account: with nothing set they make a portal in memory.
// "b24pull COMMAND -h" has a command's flags and what it reads of the
// environment.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/bench"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/doctor"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/listen"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/portal"
	"github.com/b24pull/b24pull/cmd/b24pull/internal/soak"
)

const help = `b24pull has tools around the pull API of Bitrix24.

usage: b24pull COMMAND [flags]

    listen   prints the events of a portal as they arrive
    doctor   tells what would keep them from coming
    soak     proves that a subscription loses nothing and repeats nothing
    portal   runs portals for tests in any language
    bench    measures how many messages a second a subscription takes
    help     prints this

None needs an account: with nothing set they make a portal in memory.
"b24pull COMMAND -h" has the flags of a command, and more about it.
`

const exitUsage = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if len(os.Args) < 2 || os.Args[1] != "portal" {
		context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	} // A portal ends within a second, and what starts it may send a signal twice.
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command with its arguments. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, help)
		return exitUsage
	}
	switch command, rest := args[0], args[1:]; command {
	case "listen":
		return listen.Run(ctx, rest, os.Getenv, stdout, stderr)
	case "doctor":
		return doctor.Run(ctx, rest, os.Getenv, stdout, stderr)
	case "soak":
		return soak.Run(ctx, rest, os.Stdin, stdout, stderr)
	case "portal":
		return portal.Run(ctx, rest, os.Environ(), stdout, stderr)
	case "bench":
		return bench.Run(ctx, rest, os.Stdin, stdout, stderr)
	case "help", "-h", "-help", "--help":
		return runHelp(ctx, rest, stdout, stderr)
	default:
		fmt.Fprintf(stderr, "b24pull: there is no command %q; see b24pull help\n", command)
		return exitUsage
	}
}

// runHelp explains the program, or the command that is named.
func runHelp(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	switch {
	case len(args) == 0:
		fmt.Fprint(stdout, help)
		return 0
	case len(args) == 1 && slices.Contains([]string{"listen", "doctor", "soak", "portal", "bench"}, args[0]):
		return run(ctx, []string{args[0], "-h"}, stdout, stdout) // it was asked for
	default:
		fmt.Fprintf(stderr, "b24pull: there is no help for %q; see b24pull help\n", strings.Join(args, " "))
		return exitUsage
	}
}
