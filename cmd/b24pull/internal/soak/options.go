package soak

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"
)

// options are what the flags say.
type options struct {
	sub, poll string
	pub       list
	key       string
	version   int
	transport string

	subscribers, publishers  int // of the portal in memory, as the next lines
	pings, disorder, falsely time.Duration
	hostile                  bool

	messages  int
	rate      float64
	burst     int
	transient float64

	cut     span
	delay   time.Duration
	kills   int
	backlog size
	wait    time.Duration

	// no flags, but other values in tests
	saveEvery time.Duration // the cursor, where there is a process to kill
	saveSlack time.Duration // that a save may take, on a busy machine
	grace     time.Duration // for what comes twice, after all has come once
}

func defaults() *options {
	return &options{
		version: 4, transport: "ws", subscribers: 1, publishers: 1,
		messages: 10_000, rate: 300, burst: 4, transient: 0.3,
		wait: 3 * time.Minute, saveEvery: time.Second, saveSlack: 500 * time.Millisecond, grace: 2 * time.Second,
	}
}

// flags are the flags that set the options.
func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(io.Discard) // a mistake gets one line from run
	f.StringVar(&o.sub, "sub", "", "websocket `URL` of a real push server")
	f.StringVar(&o.poll, "poll", "", "long polling `URL` of a real push server")
	f.Var(&o.pub, "pub", "`URLs` to publish to as a portal does, with commas between them: each is a publisher")
	f.StringVar(&o.key, "key", "", "the `key` that channel ids are signed with, from version 3 on")
	f.IntVar(&o.version, "version", o.version, "of the push server, 1 to 5 (a real one: to 4)")
	f.StringVar(&o.transport, "transport", o.transport, "`ws or poll`: how messages arrive")

	f.IntVar(&o.subscribers, "subscribers", o.subscribers, "processes of the portal in memory that serve subscribers")
	f.IntVar(&o.publishers, "publishers", o.publishers, "processes of the portal in memory that publish")
	f.DurationVar(&o.pings, "pings", 0, "the portal in memory pings its websockets this often (default as real servers: 2m from version 3 on)")
	f.BoolVar(&o.hostile, "hostile", false, "the portal in memory has wider holes than real servers: handovers of 2 ms, a disorder of 1 s, a ping every 5 s; and two processes of each kind, since those of one keep an order, unless -subscribers and -publishers say otherwise")
	f.DurationVar(&o.disorder, "disorder", 0, "the longest that the portal in memory takes from a message's id to its storing")

	f.DurationVar(&o.falsely, "false", 0, "for so long a false web server stands in the place of the long polling of the portal in memory, as soon as the subscription is ready: pages, a login form, strange JSON, nothing at all")

	f.IntVar(&o.messages, "messages", o.messages, "how many to publish that the server keeps")
	f.Float64Var(&o.rate, "rate", o.rate, "of these a second")
	f.IntVar(&o.burst, "burst", o.burst, "of these at once")
	f.Float64Var(&o.transient, "transient", o.transient, "the share of all that is published that the server does not keep, sent between the others")

	f.Var(&o.cut, "cut", "reset all connections at intervals of this `range`; 0: never (default 100ms-600ms and eight times -delay more, or nothing would ever connect; with -backlog 0)")
	f.DurationVar(&o.delay, "delay", 0, "the distance to the server, one way")
	f.IntVar(&o.kills, "kill", 0, "so `many` times kill the consumer, a process of its own then, and start it again")
	f.Var(&o.backlog, "backlog", "in place of -messages, such a `size` in messages of 10 kB, half of it while the consumer, a process of its own under GOMEMLIMIT=64MiB, is away, the rest faster than it handles them")
	f.DurationVar(&o.wait, "wait", o.wait, "how long to wait for what is missing after the last message that came")
	return f
}

// check finds mistakes, and sets what depends on other flags.
func (o *options) check(flags *flag.FlagSet) error {
	set := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["cut"] && o.backlog == 0 {
		o.cut = span{100*time.Millisecond + 8*o.delay, 600*time.Millisecond + 8*o.delay}
	}
	if o.hostile && !set["subscribers"] {
		o.subscribers = 2
	}
	if o.hostile && !set["publishers"] {
		o.publishers = 2
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see -h", flags.Arg(0))
	case o.version < 1 || o.version > 5:
		return fmt.Errorf("-version must be 1 to 5")
	case o.transport != "ws" && o.transport != "poll":
		return fmt.Errorf("-transport must be ws or poll")
	case o.messages < 1, o.burst < 1, o.subscribers < 1, o.publishers < 1:
		return fmt.Errorf("-messages, -burst, -subscribers and -publishers must be at least 1")
	case !(o.rate > 0):
		return fmt.Errorf("-rate must be more than 0")
	case !(o.transient >= 0 && o.transient < 1):
		return fmt.Errorf("-transient must be at least 0 and less than 1")
	case o.kills < 0, o.delay < 0, o.pings < 0, o.disorder < 0, o.falsely < 0, o.wait < 0:
		return fmt.Errorf("-kill, -delay, -pings, -disorder, -false and -wait must not be negative")
	case set["backlog"] && o.backlog < 2*backlogMessage:
		return fmt.Errorf("-backlog must be at least 20kB")
	case o.backlog > 0 && (set["messages"] || set["rate"] || set["burst"] || set["kill"]):
		return fmt.Errorf("-backlog does not go with -messages, -rate, -burst or -kill")
	}
	if o.real() {
		return o.checkReal(set)
	}
	return nil
}

// checkReal finds mistakes in what is said of a real push server.
func (o *options) checkReal(set map[string]bool) error {
	for _, name := range []string{"subscribers", "publishers", "pings", "disorder", "hostile", "false"} {
		if set[name] {
			return fmt.Errorf("-%s is for the portal in memory, and does not go with -sub, -poll, -pub or -key", name)
		}
	}
	switch {
	case o.version == 5:
		return fmt.Errorf("-version 5: how to publish to such a server is not known here; try the portal in memory, without -sub, -poll, -pub and -key")
	case len(o.pub) == 0:
		return fmt.Errorf("-pub is missing")
	case o.transport == "ws" && o.sub == "":
		return fmt.Errorf("-sub is missing")
	case o.poll == "" && (o.transport == "poll" || o.version < 3):
		return fmt.Errorf("-poll is missing")
	case o.key == "" && o.version >= 3:
		return fmt.Errorf("-key is missing")
	case o.sub != "" && !isURL(o.sub, "ws", "wss"):
		return fmt.Errorf("-sub must be an address of the form ws://host/path or wss://host/path")
	case o.poll != "" && !isURL(o.poll, "http", "https"):
		return fmt.Errorf("-poll must be an address of the form http://host/path or https://host/path")
	case slices.ContainsFunc(o.pub, func(pub string) bool { return !isURL(pub, "http", "https") }):
		return fmt.Errorf("-pub must be addresses of the form http://host/path or https://host/path")
	}
	return nil
}

func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme)
}

// real reports whether the push server runs elsewhere.
func (o *options) real() bool {
	return o.sub != "" || o.poll != "" || len(o.pub) > 0 || o.key != ""
}

// apart reports whether the consumer is a process of its own.
func (o *options) apart() bool { return o.kills > 0 || o.backlog > 0 }

// handling is how long the consumer's handler takes.
func (o *options) handling() time.Duration {
	switch {
	case o.backlog > 0:
		return 2 * time.Millisecond // slower than messages come
	case o.kills > 0:
		return time.Millisecond // so that some kills hit a handler at work
	}
	return 0
}

// environment is what a consumer process has in it besides.
func (o *options) environment() []string {
	if o.backlog > 0 {
		return []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", heapLimit>>20)}
	}
	return nil
}

// server is the one to try.
func (o *options) server() (*server, error) {
	if o.real() {
		return realServer(o), nil
	}
	return testPortal(o)
}
