// Package bench is the subcommand that measures: how many messages a second a
// subscription takes, beside the official JS client and beside a loop that does
// nothing else, what an idle one costs, and how long many take to begin.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

const help = `usage: b24pull bench [flags]

bench measures how many messages a second a subscription takes from a push
server that sends as fast as it can, what an idle subscription costs, and how
long many take to begin. Beside it, in the same run, stand

    frames alone  a loop that reads the frames of a websocket, and counts
    bare loop     the same, with each message decoded by protowire and
                  encoding/json, and nothing kept of it
    official JS   the package @bitrix24/b24jssdk in Node, where there is one

The server is a process of its own that has made its frames beforehand; so is
whoever consumes, one at a time. The rate is the best of several runs, taken in
turns, from the first frame to the last message handled; CPU is what the process
took from its start to its end, for a message. Two idle cores are wanted: one is
the server's.

The last table has a fleet of portals begin, each with a REST call, a websocket
and the first replay, until all are ready: the time, what the process and the
server took for a portal, what the server was asked for, and the most that was
under way at once: of what is never to be more than -at-once (bounded: REST
calls, handshakes of TLS and of websockets), of all requests and TLS handshakes,
and of those at one push server. All may be some more than -at-once, where a
connection is made for a request that goes over another, and where a poll is not
answered within 100 ms and counts as one that hangs. The bare loop does the same
with net/http and the websocket library.
For more than some thousands of portals

    b24pull bench -runs 0 -idle 0 -backlog 0 -portals 10000

wants as many open files (ulimit -n), and some more; so do idle connections.

The table of backlogs has a subscription go on from a cursor after messages were
published which the server keeps: how fast they come, beside the rate of live
ones, what memory that takes under a limit, how many polls it takes, how often
the server has sent each message, and how many were handled twice.

    b24pull bench -runs 0 -idle 0 -portals 0 -backlog 1000000

Flags:

`

// options are the flags.
type options struct {
	messages, size, perFrame, runs int
	versions                       []int
	idle, portals, atOnce, backlog int
	idleWait, idleFor              time.Duration
	quiet                          bool
	js, profiles                   string
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&o.messages, "messages", 200_000, "`messages` of a run")
	f.IntVar(&o.size, "size", 200, "about how many `bytes` the body of a message has")
	f.IntVar(&o.perFrame, "frame", 10, "`messages` in a frame")
	f.IntVar(&o.runs, "runs", 3, "`runs` of each, of which the best counts; 0: messages are not measured")
	o.versions = []int{4, 3, 5}
	f.Func("versions", "`versions` of the push server, with commas: 3 text, 4 protobuf, 5 JSON-RPC (default 4,3,5)", func(list string) error {
		o.versions = nil
		for text := range strings.SplitSeq(list, ",") {
			v, err := strconv.Atoi(text)
			if _, ok := framingOf(v); err != nil || !ok {
				return errors.New("want some of 3, 4 and 5")
			}
			o.versions = append(o.versions, v)
		}
		return nil
	})
	f.IntVar(&o.idle, "idle", 1000, "idle `subscriptions` to be measured; 0: none")
	f.DurationVar(&o.idleWait, "idle-wait", 5*time.Second, "`time` until idle subscriptions are measured, for what a beginning takes")
	f.DurationVar(&o.idleFor, "idle-for", 0, "`time` for which CPU of idle subscriptions is measured then, each of which the server pings every two minutes; 0: it is not")
	f.IntVar(&o.portals, "portals", 1000, "`portals` that a fleet begins; 0: none")
	f.IntVar(&o.backlog, "backlog", 1_000_000, "`messages` that were missed and are caught up with; 0: none")
	f.IntVar(&o.atOnce, "at-once", 128, "`requests` at once, of the portals: as many as fleets have by themselves")
	f.BoolVar(&o.quiet, "quiet", false, "the portals' push servers keep nothing, so that the first replay hangs (this SDK only)")
	f.StringVar(&o.js, "js", filepath.Join("internal", "jstest", "testdata"), "`folder` whose node_modules has @bitrix24/b24jssdk")
	f.StringVar(&o.profiles, "profiles", "", "`folder` for profiles of the subscription: of CPU by framing, of memory when idle")
	return f
}

func (o *options) check(f *flag.FlagSet) error {
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("there is no argument %q; see -h", f.Arg(0))
	case o.messages < 1 || o.size < 1 || o.perFrame < 1 || o.atOnce < 1 || o.runs < 0 || o.idle < 0 || o.idleWait < 0 || o.idleFor < 0 || o.portals < 0 || o.backlog < 0:
		return errors.New("-messages, -size, -frame and -at-once are 1 or more, -runs, -idle, -idle-wait, -idle-for, -portals and -backlog are 0 or more")
	}
	return nil
}

// Run is the subcommand with its arguments. It returns the exit status: 0, 1 if
// something could not be measured, 2 for a mistake of the caller. In a process
// that another run has started it is a part of that.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fail := func(err error, code int) int {
		fmt.Fprintln(stderr, "b24pull bench:", err)
		return code
	}
	if spec := os.Getenv(childMark); spec != "" {
		if err := partMain(ctx, spec, stdin, stdout); err != nil {
			return fail(err, exitFailed)
		}
		return 0
	}
	o := new(options)
	flags := o.flags()
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, help)
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
		return fail(fmt.Errorf("%w; see -h", err), exitUsage)
	}
	if err := o.check(flags); err != nil {
		return fail(err, exitUsage)
	}
	if err := o.run(ctx, stdout, stderr); err != nil {
		return fail(err, exitFailed)
	}
	return 0
}

// run makes the tables.
func (o *options) run(ctx context.Context, stdout, stderr io.Writer) error {
	for _, table := range []struct {
		wanted int
		make   func(ctx context.Context, stdout, stderr io.Writer) error
	}{{o.runs, o.runRates}, {o.idle, o.runIdle}, {o.portals, o.runPortals}, {o.backlog, o.runBacklog}} {
		if table.wanted == 0 {
			continue
		}
		if err := table.make(ctx, stdout, stderr); err != nil {
			return err
		}
		fmt.Fprintln(stdout)
	}
	return nil
}

// runRates measures how many messages a second are taken.
func (o *options) runRates(ctx context.Context, stdout, stderr io.Writer) error {
	who := []string{whoSDK, whoJS, whoBare, whoFrames}
	if why := jsMissing(o.js); why != "" {
		fmt.Fprintf(stderr, "without the official JS client: %s\n", why)
		who = slices.DeleteFunc(who, func(w string) bool { return w == whoJS })
	}
	fmt.Fprintf(stdout, "%d messages of %d bytes, %d a frame, best of %d runs\n\n", o.messages, o.size, o.perFrame, o.runs)
	fmt.Fprintf(stdout, "%-10s %-13s %10s %8s %8s %8s %9s\n", "framing", "", "msg/s", "of SDK's", "allocs", "bytes", "CPU µs")
	for i, version := range o.versions {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		best := make(map[string]outcome)
		for range o.runs {
			for _, w := range who {
				got, err := o.once(ctx, version, w, stderr)
				if err != nil {
					return fmt.Errorf("%s, version %d: %w", w, version, err)
				}
				best[w] = best[w].better(got)
			}
		}
		for _, w := range who {
			best[w].print(stdout, version, w, best[whoSDK].rate())
		}
	}
	return nil
}

// once is one run of one consumer.
func (o *options) once(ctx context.Context, version int, who string, stderr io.Writer) (got outcome, err error) {
	at, stop, err := startServer(ctx, serverSpec{Version: version, Messages: o.messages, Size: o.size, PerFrame: o.perFrame}, stderr)
	if err != nil {
		return got, err
	}
	defer stop()
	if who == whoJS {
		got.cpu, err = measureJS(ctx, o.js, at, o.messages, &got.result, stderr)
		return got, err
	}
	spec := consumerSpec{Who: who, At: at, Messages: o.messages}
	if who == whoSDK && o.profiles != "" {
		spec.Profile = filepath.Join(o.profiles, fmt.Sprintf("v%d.prof", version))
	}
	got.cpu, err = part{Consumer: &spec}.measure(ctx, &got.result, stderr)
	return got, err
}

// outcome is what came of a run.
type outcome struct {
	result
	cpu time.Duration
}

func (r outcome) rate() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Messages) / r.Seconds
}

// better is the faster of two, with the less CPU of the two.
func (r outcome) better(o outcome) outcome {
	if r.Messages == 0 {
		return o
	}
	cpu := min(r.cpu, o.cpu)
	if o.rate() > r.rate() {
		r = o
	}
	r.cpu = cpu
	return r
}

func (r outcome) print(out io.Writer, version int, who string, sdk float64) {
	f, _ := framingOf(version)
	n := float64(r.Messages)
	memory := fmt.Sprintf("%8.1f %8.0f", float64(r.Allocs)/n, float64(r.Bytes)/n)
	if r.Allocs == 0 {
		memory = fmt.Sprintf("%8s %8s", "", "")
	}
	fmt.Fprintf(out, "%-10s %-13s %10.0f %8.2f %s %9.2f", f.name, who, r.rate(), sdk/r.rate(), memory, r.cpu.Seconds()*1e6/n)
	if r.Pauses > 0 {
		fmt.Fprintf(out, "  paused %d times", r.Pauses)
	}
	fmt.Fprintln(out)
}

// runIdle measures idle subscriptions.
func (o *options) runIdle(ctx context.Context, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "%d idle connections, each takes\n\n%-6s %-13s %8s %8s %8s %8s %11s", o.idle, "", "", "rss KB", "of bare", "heap KB", "stack KB", "goroutines")
	if o.idleFor > 0 {
		fmt.Fprintf(stdout, " %11s", "CPU µs/min")
	}
	fmt.Fprintln(stdout)
	for _, secure := range []bool{false, true} {
		scheme := "ws"
		if secure {
			scheme = "wss"
		}
		who := []string{whoSDK, whoFleet, whoBare}
		used := make([]usage, len(who))
		for i := range who {
			var err error
			if used[i], err = o.onceIdle(ctx, who[i], secure, stderr); err != nil {
				return fmt.Errorf("%s, idle over %s: %w", who[i], scheme, err)
			}
		}
		for i, u := range used {
			of := ""
			if bare := used[len(used)-1].RSS; bare > 0 {
				of = fmt.Sprintf("%.2f", u.RSS/bare)
			}
			fmt.Fprintf(stdout, "%-6s %-13s %8.1f %8s %8.1f %8.1f %11.1f", scheme, who[i], u.RSS/1024, of, u.Heap/1024, u.Stacks/1024, u.Goroutines)
			if o.idleFor > 0 {
				fmt.Fprintf(stdout, " %11.1f", u.CPU*1e6)
			}
			fmt.Fprintln(stdout)
		}
	}
	return nil
}

func (o *options) onceIdle(ctx context.Context, who string, secure bool, stderr io.Writer) (u usage, err error) {
	at, stop, err := startServer(ctx, serverSpec{Version: 4, Messages: 1, Size: o.size, PerFrame: 1, Secure: secure, Pings: o.idleFor > 0}, stderr)
	if err != nil {
		return u, err
	}
	defer stop()
	spec := idleSpec{Who: who, At: at, Count: o.idle, Wait: o.idleWait, For: o.idleFor}
	if who == whoSDK && o.profiles != "" {
		spec.Profile = filepath.Join(o.profiles, "idle")
		if secure {
			spec.Profile += "-secure"
		}
	}
	_, err = part{Idle: &spec}.measure(ctx, &u, stderr)
	return u, err
}
