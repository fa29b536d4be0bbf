package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

const (
	// overall bounds a Check, without what WithIdle adds.
	overall = time.Minute
	// patience bounds each check that has no bound of its own.
	patience = 10 * time.Second
)

var errOverall = errors.New("the time of all checks is over")

// Check looks at all that a subscription needs: the portal's address and
// certificate, proxies, REST with its scope and user, the config and its
// channels, clocks, the push server, websockets, polls and the history, and,
// with [WithEvents], whether what is sent comes back. It makes all requests the
// way that the client and package realtime make theirs.
//
// It returns a Result for each of Names, after a minute at the most, and when
// ctx is done with what is known until then: the rest is skipped.
func Check(ctx context.Context, client *b24pull.Client, opts ...Option) Report {
	x := &examination{client: client, began: time.Now()}
	for _, option := range opts {
		option(&x.options)
	}
	x.httpClient = x.options.httpClient
	if x.httpClient == nil {
		x.httpClient = config.HTTPClient(source(client))
	}
	x.own = transport.OwnClient(x.httpClient)
	defer x.own.CloseIdleConnections()
	x.header = config.Header(source(client), nil)
	report := Report{Began: x.began}
	if client != nil {
		report.Portal = client.Portal()
	}
	bounded, cancel := context.WithTimeoutCause(ctx, overall, errOverall)
	defer cancel()
	x.examine(bounded)
	x.stop()
	x.told(x.leaveIdle(ctx))
	report.Checks = x.results
	return report
}

// source is a client as package config wants to see one: nil where there is
// none.
func source(client *b24pull.Client) any {
	if client == nil {
		return nil
	}
	return client
}

// An examination is one Check, and what it has found out so far.
type examination struct {
	client     *b24pull.Client
	options    options
	began      time.Time
	httpClient *http.Client // as the user gave it
	own        *http.Client // what requests to the push server are made by
	header     http.Header

	results []Result
	secrets redact.Redactor

	restError string            // why REST cannot be asked; empty: it can
	scopes    []string          // that the portal grants; nil: it did not say
	user      int64             // who calls; 0: the portal did not say
	config    *b24pull.Config   // nil: there is none
	ofUser    bool              // the config is a webhook user's
	server    *server           // nil: the config names none that can be used
	came      *realtime.Message // an event of ours that came back; nil: none has
	inHistory bool              // an event of ours was found in the history
	answered  bool              // the push server has shown a message, or answered a ping
	polling   chan polled       // what the poll has come to; nil: there is none
	endPoll   context.CancelFunc
}

// examine makes the checks that the overall bound is for, in the order of
// Names.
func (x *examination) examine(ctx context.Context) {
	x.checkPortal(ctx)
	x.checkREST(ctx)
	x.checkConfig(ctx)
	x.beginPoll(ctx)
	x.checkPush(ctx)
	socket := x.checkSocket(ctx)
	x.checkEvents(ctx, socket)
	x.checkPolls(ctx, socket)
}

// stop ends what still runs beside the checks.
func (x *examination) stop() {
	if x.endPoll != nil {
		x.endPoll()
		<-x.polling
	}
}

// A finding is a Result without its name and duration.
type finding struct {
	status         Status
	detail, advice string
}

func pass(format string, args ...any) finding { return finding{Pass, fmt.Sprintf(format, args...), ""} }
func skip(format string, args ...any) finding { return finding{Skip, fmt.Sprintf(format, args...), ""} }

// timed makes a check of its own bound, and notes what it has found.
func (x *examination) timed(ctx context.Context, name string, check func(ctx context.Context) finding) finding {
	began := time.Now()
	if why := over(ctx); why != "" {
		return x.found(name, began, skip("%s", why))
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f := check(bounded)
	if ctx.Err() != nil && f.status == Fail { // it is ours
		f = skip("%s", over(ctx))
	}
	return x.found(name, began, f)
}

// over says why a check is not made; empty: there is time.
func over(ctx context.Context) string {
	switch {
	case ctx.Err() == nil:
		return ""
	case errors.Is(context.Cause(ctx), errOverall):
		return fmt.Sprintf("no time was left: all checks have %v", overall)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "no time was left: the context's deadline has passed"
	default:
		return "interrupted"
	}
}

// found notes a result.
func (x *examination) found(name string, began time.Time, f finding) finding {
	x.told(Result{Name: name, Status: f.status, Detail: f.detail, Advice: f.advice, Duration: time.Since(began)})
	return f
}

// told notes a result, after what is secret has been taken out of it.
func (x *examination) told(r Result) {
	const most = 500
	r.Detail = quote.Text(x.secrets.Text(r.Detail), most)
	r.Advice = x.secrets.Text(r.Advice)
	x.results = append(x.results, r)
	if x.options.progress != nil {
		x.options.progress(r)
	}
}

// skipped notes that checks are not made.
func (x *examination) skipped(why string, names ...string) {
	for _, name := range names {
		x.told(Result{Name: name, Status: Skip, Detail: why})
	}
}

// worst is the gravest of some findings, with the details of all.
func worst(findings []finding) finding {
	sum := slices.MaxFunc(findings, func(a, b finding) int { return int(a.status) - int(b.status) })
	sum.detail = ""
	for i, f := range findings {
		if i > 0 {
			sum.detail += "; "
		}
		sum.detail += f.detail
	}
	return sum
}
