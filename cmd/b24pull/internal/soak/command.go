// Package soak is the subcommand that proves that a subscription loses nothing
// and repeats nothing. It publishes numbered messages to a push server while it
// cuts the subscriber's connections, or kills its process, at random, and
// counts what arrives.
package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

const help = `usage: b24pull soak [flags]

soak proves that a subscription loses nothing and repeats nothing. It publishes
numbered messages to a push server while it cuts the subscriber's connections,
or kills its process, at random, and counts what arrives.

With nothing set it tries a portal of its own, in memory. For a real push server
give -sub, -poll, -pub, -key and -version: the program makes a channel that
nobody else uses, signs it with the key that the portal shares with the server,
and publishes through the endpoint that only the portal is meant to reach.

A line a second on stderr says how things stand. The last line on stdout is

    lost L, repeated R, out of order O of N; cuts C, kills K

of the N messages that the server was asked to keep. The exit status is 1 if
anything was lost, or repeated that must not be: after a kill may be repeated
what was handled since the cursor was last saved. It is 1, too, if a consumer
under a backlog has not kept to its memory. Out of order is what came behind a
later message of its publisher; with several publishing processes a push server
itself changes the order.

Flags:

`

// Run is the subcommand with its arguments. It returns the exit status: 0, 1 if
// something was lost or repeated or it failed, 2 for a mistake of the caller.
// In a process that another run has started to consume, it does that.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if os.Getenv(childMark) != "" {
		signal.Ignore(os.Interrupt)   // Ctrl-C means the program that has started this one
		signal.Reset(syscall.SIGTERM) // ends it at once
		return consumerMain(stdin, stdout, stderr)
	}
	return run(ctx, defaults(), args, stdout, stderr, (*consumer).consume)
}

// run is the command.
func run(ctx context.Context, o *options, args []string, stdout, stderr io.Writer, consume consumeFunc) int {
	flags := o.flags()
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, help)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
		err = fmt.Errorf("%w; see -h", err)
	default:
		err = o.check(flags)
	}
	if err != nil {
		fmt.Fprintln(stderr, "b24pull soak:", err)
		return exitUsage
	}
	s, err := newSoak(o, stderr, consume)
	if err != nil {
		fmt.Fprintln(stderr, "b24pull soak:", err)
		return exitFailed
	}
	defer s.close()
	err = s.run(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "b24pull soak:", err)
	}
	if well := s.verdict(stdout); err != nil || !well {
		return exitFailed
	}
	return 0
}
