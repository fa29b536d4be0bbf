package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// backlogSpec is what a process that has been away is to catch up with.
type backlogSpec struct {
	At      address
	Missed  int
	Limit   int64 // of memory, as GOMEMLIMIT
	Profile string
}

// caughtUp is what such a process has measured.
type caughtUp struct {
	Messages int // that came, repeats too
	Seconds  float64
	Heap     uint64 // the most bytes of live and dead objects that there were
	Resident uint64 // the most bytes that were in memory; 0: it cannot be told here
}

const (
	// memoryLimit is that of a process which catches up.
	memoryLimit = 64 << 20
	// knownBefore is how many messages it has had before it was away.
	knownBefore = 10 * publishedAt
)

// runBacklog measures how fast a subscription catches up, a tenth of the
// messages first, so that it shows whether memory grows with them.
func (o *options) runBacklog(ctx context.Context, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "a subscription that has missed messages of %d bytes, %d published a second, with GOMEMLIMIT=%dMiB; live beside it\n\n", o.size, publishedAt, memoryLimit>>20)
	fmt.Fprintf(stdout, "%-10s %10s %10s %8s %9s %8s %8s %6s %6s %9s\n", "framing", "missed", "msg/s", "of live", "CPU µs", "heap MB", "rss MB", "polls", "sent", "repeated")
	for _, version := range o.versions {
		f, _ := framingOf(version)
		live, err := o.once(ctx, version, whoSDK, stderr)
		if err != nil {
			return fmt.Errorf("live, version %d: %w", version, err)
		}
		for _, missed := range []int{max(1, o.backlog/10), o.backlog} {
			got, counts, cpu, err := o.onceBacklog(ctx, version, missed, stderr)
			if err != nil {
				return fmt.Errorf("a backlog, version %d: %w", version, err)
			}
			rate, n := float64(missed)/got.Seconds, float64(missed)
			fmt.Fprintf(stdout, "%-10s %10d %10.0f %8.2f %9.2f %8.1f %8.1f %6d %6.2f %9d\n", f.name, missed, rate, rate/live.rate(), cpu.Seconds()*1e6/n,
				float64(got.Heap)/(1<<20), float64(got.Resident)/(1<<20), counts.Polls, float64(counts.Messages)/n, got.Messages-missed)
		}
	}
	return nil
}

func (o *options) onceBacklog(ctx context.Context, version, missed int, stderr io.Writer) (got caughtUp, counts keptCounts, cpu time.Duration, err error) {
	var at address
	server, err := part{Keeper: &keptSpec{Version: version, Size: o.size, Before: knownBefore, Missed: missed}}.start(ctx, &at, stderr)
	if err != nil {
		return got, counts, 0, err
	}
	spec := backlogSpec{At: at, Missed: missed, Limit: memoryLimit}
	if o.profiles != "" {
		spec.Profile = filepath.Join(o.profiles, fmt.Sprintf("backlog-v%d.prof", version))
	}
	cpu, err = part{Backlog: &spec}.measure(ctx, &got, stderr)
	_, failed := server.stop(&counts)
	return got, counts, cpu, errors.Join(err, failed)
}

// backlogMain is the life of a process that catches up.
func backlogMain(ctx context.Context, spec backlogSpec, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, runWithin)
	defer cancel()
	debug.SetMemoryLimit(spec.Limit)
	store, err := spec.before(ctx)
	if err != nil {
		return err
	}
	if err := spec.At.post(ctx, "/go"); err != nil {
		return err
	}
	stop, err := profile(spec.Profile)
	if err != nil {
		return err
	}
	heap := mostHeap(ctx)
	got, err := spec.catchUp(ctx, store)
	stop()
	if err != nil {
		return err
	}
	got.Heap, got.Resident = heap(), mostResident()
	return json.NewEncoder(stdout).Encode(got)
}

// before is the store of a subscription that has had all there is, and knows so
// by a second replay.
func (spec *backlogSpec) before(ctx context.Context) (*realtime.MemoryStore, error) {
	store := new(realtime.MemoryStore)
	s, replayed, err := spec.subscribe(store, realtime.WithSettleTime(settleFor))
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() {
		<-replayed
		time.Sleep(2 * settleFor)
		failed <- spec.cut(ctx, replayed)
		s.Close()
	}()
	err = s.Run(ctx, realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil }))
	return store, errors.Join(err, <-failed)
}

// subscribe makes a subscription that tells when a replay is over.
func (spec *backlogSpec) subscribe(store realtime.CursorStore, opts ...realtime.Option) (_ *realtime.Subscription, replayed <-chan struct{}, err error) {
	over := make(chan struct{}, 1)
	opts = append(opts, realtime.WithCursorStore(store), realtime.WithObserver(func(e realtime.Event) {
		if _, ok := e.(realtime.ReplayEnded); ok {
			select {
			case over <- struct{}{}:
			default:
			}
		}
	}))
	s, err := spec.At.subscribe(spec.At.client(), opts...)
	return s, over, err
}

// cut has the connection be cut, and waits for the replay that follows.
func (spec *backlogSpec) cut(ctx context.Context, replayed <-chan struct{}) error {
	select {
	case <-replayed: // one before
	default:
	}
	if err := spec.At.post(ctx, "/cut"); err != nil {
		return err
	}
	select {
	case <-replayed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp takes all that was missed. Then the connection is cut, so that
// another replay shows what is known and what is taken for new.
func (spec *backlogSpec) catchUp(ctx context.Context, store *realtime.MemoryStore) (got caughtUp, err error) {
	s, replayed, err := spec.subscribe(store)
	if err != nil {
		return got, err
	}
	begun, all, failed := time.Now(), make(chan struct{}), make(chan error, 1)
	go func() {
		<-all
		<-replayed // which has brought it
		failed <- spec.cut(ctx, replayed)
		_ = s.Drain(ctx)
	}()
	err = s.Run(ctx, realtime.HandlerFunc(func(context.Context, realtime.Message) error {
		if got.Messages++; got.Messages == spec.Missed {
			got.Seconds = time.Since(begun).Seconds()
			close(all)
		}
		return nil
	}))
	if err != nil {
		return got, err
	}
	return got, <-failed
}

// mostHeap watches the heap until the returned function is called, which tells
// how large it was at the most.
func mostHeap(ctx context.Context) func() uint64 {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan uint64, 1)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		highest := uint64(0)
		for ctx.Err() == nil {
			metrics.Read(sample)
			highest = max(highest, sample[0].Value.Uint64())
			time.Sleep(5 * time.Millisecond)
		}
		most <- highest
	}()
	return func() uint64 {
		cancel()
		return <-most
	}
}

// mostResident is the most that was in memory of this process.
func mostResident() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes uint64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return 0
}
