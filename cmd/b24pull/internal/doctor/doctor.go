// Package doctor is the subcommand that finds out what would keep a portal's
// events from coming.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/b24pull/b24pull/cmd/b24pull/internal/chosen"
	"github.com/b24pull/b24pull/realtime/doctor"
)

const help = `usage: b24pull doctor [flags]

doctor tells what would keep a portal's events from coming: names, certificates,
proxies, REST and its scope, the config and its channels, clocks, websockets,
polls, the history, and with -emit whether what is sent comes back. Each check
passes, warns, fails or is skipped, and says what to do. It takes seconds as a
rule, and a minute at the most; docs/doctor.md has a paragraph on each check.

With nothing set it checks a portal of its own, in memory. To check a real one
set

    B24PULL_WEBHOOK        https://PORTAL/rest/USER/CODE/, or
    B24PULL_PORTAL         https://PORTAL and
    B24PULL_ACCESS_TOKEN   an access token of an application installed there
                           (it lives an hour)

or give a saved config with -config FILE.

-emit sends events to the application's own channels, with commands that begin
with «doctor.»: whatever listens for the application hears them.

The exit status is 0 if no check has failed, 1 if one has or it was interrupted,
2 for a mistake in how it was called.

Flags:

`

const (
	exitFailed = 1
	exitUsage  = 2
)

// Run is the subcommand with its arguments and its surroundings. It returns the
// exit status.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	p := &program{getenv: getenv, stdout: stdout, stderr: stderr, colour: isTerminal(stdout) && getenv("NO_COLOR") == ""}
	return p.run(ctx, args)
}

// isTerminal reports whether what is written is seen at once by somebody.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// program is the command with its surroundings.
type program struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	colour         bool
	httpClient     *http.Client // nil: the default

	configFile string
	json, emit bool
	idle       time.Duration
}

func (p *program) run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // a mistake gets one line, below
	flags.StringVar(&p.configFile, "config", "", "check the push server in this JSON `file`: the result object of pull.application.config.get or pull.config.get")
	flags.BoolVar(&p.json, "json", false, "print the report as one JSON object, for a bug report; it holds no secret")
	flags.BoolVar(&p.emit, "emit", false, "have the portal send events, with pull.application.event.add (OAuth only), and wait for them")
	flags.DurationVar(&p.idle, "idle", 0, "leave a websocket alone for so long at the end, such as 5m")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stderr, help)
		flags.SetOutput(p.stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
		err = chosen.Usagef("%w; see -h", err)
	case flags.NArg() > 0:
		err = chosen.Usagef("unexpected argument %q; see -h", flags.Arg(0))
	case p.idle < 0:
		err = chosen.Usagef("-idle must not be negative")
	default:
		err = chosen.CheckFlags(flags)
	}
	failed := true
	if err == nil {
		failed, err = p.check(ctx)
	}
	switch {
	case errors.As(err, new(chosen.UsageError)):
		fmt.Fprintln(p.stderr, "b24pull doctor:", err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(p.stderr, "b24pull doctor:", err)
		return exitFailed
	case failed:
		return exitFailed
	}
	return 0
}

// check makes the report and prints it. failed reports whether a check has
// failed, or was not made since the program was interrupted.
func (p *program) check(ctx context.Context) (failed bool, err error) {
	t, err := p.target()
	if err != nil {
		return true, err
	}
	defer t.close()
	fmt.Fprintf(p.stderr, "# checking %s\n", t.name)
	opts := append(t.options, doctor.WithIdle(p.idle))
	if p.emit || t.embedded {
		opts = append(opts, doctor.WithEvents())
	}
	if !p.json {
		opts = append(opts, doctor.WithProgress(func(r doctor.Result) { fmt.Fprintln(p.stdout, p.coloured(r)) }))
	}
	report := doctor.Check(ctx, t.client, opts...)
	failed = report.Err() != nil || ctx.Err() != nil
	if p.json {
		return failed, p.printJSON(report)
	}
	fmt.Fprintf(p.stderr, "# %s\n", summary(report))
	return failed, nil
}

// summary counts the checks by how they have ended.
func summary(report doctor.Report) string {
	counts := make(map[doctor.Status]int)
	for _, c := range report.Checks {
		counts[c.Status]++
	}
	return fmt.Sprintf("%d passed, %d warned, %d failed, %d skipped", counts[doctor.Pass], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Skip])
}

// printJSON prints the report and what it was made with.
func (p *program) printJSON(report doctor.Report) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	data, err := json.MarshalIndent(struct {
		Version string `json:"b24pull"`
		Go      string `json:"go"`
		System  string `json:"system"`
		doctor.Report
	}{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, report}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", data)
	return err
}

// colours of a status, as terminals have them.
var colours = map[doctor.Status]string{doctor.Pass: "32", doctor.Warn: "33", doctor.Fail: "31", doctor.Skip: "90"}

// coloured is a result, with its status in a colour on a terminal.
func (p *program) coloured(r doctor.Result) string {
	if !p.colour {
		return r.String()
	}
	status := r.Status.String()
	return "\x1b[" + colours[r.Status] + "m" + status + "\x1b[0m" + strings.TrimPrefix(r.String(), status)
}
