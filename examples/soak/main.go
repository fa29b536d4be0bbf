// Command soak proves that a subscription loses nothing and repeats nothing. It
// publishes numbered messages to a push server while it cuts the subscriber's
// connections, or kills its process, at random, and counts what arrives.
//
// With nothing set it tries a portal of its own, in memory. For a real push
// server give -sub, -poll, -pub, -key and -version: the program makes a channel
// that nobody else uses, signs it with the key that the portal shares with the
// server, and publishes through the endpoint that only the portal is meant to
// reach.
//
// A line a second on stderr says how things stand. The last line on stdout is
//
//	lost L, repeated R, out of order O of N; cuts C, kills K
//
// of the N messages that the server was asked to keep. The exit status is 1 if
// anything was lost, or repeated that must not be: after a kill may be repeated
// what was handled since the cursor was last saved. It is 1, too, if a consumer
// under a backlog has not kept to its memory. Out of order is what came behind
// a later message of its publisher; with several publishing processes a push
// server itself changes the order.
package main

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

func main() {
	if os.Getenv(childMark) != "" {
		signal.Ignore(os.Interrupt) // Ctrl-C means the program that has started this one
		os.Exit(consumerMain(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	os.Exit(run(ctx, defaults(), os.Args[1:], os.Stdout, os.Stderr, (*consumer).consume))
}

const (
	exitFailed = 1
	exitUsage  = 2
)

const help = `soak publishes numbered messages to a push server, cuts the subscriber's connections or kills its process, and
counts what arrives. With none of -sub, -poll, -pub and -key it tries a portal in memory.

`

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
		err = fmt.Errorf("%w; see -help", err)
	default:
		err = o.check(flags)
	}
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return exitUsage
	}
	s, err := newSoak(o, stderr, consume)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return exitFailed
	}
	defer s.close()
	err = s.run(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
	}
	if well := s.verdict(stdout); err != nil || !well {
		return exitFailed
	}
	return 0
}
