package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
)

// idleSpec is what a process is to keep open.
type idleSpec struct {
	Who   string
	At    address
	Count int
	Wait  time.Duration // until what a beginning takes is over
	For   time.Duration // for so long CPU is measured then; 0: it is not
	// Profile is a file for a heap profile, beside which one of goroutines is
	// written; "": none.
	Profile string
}

// usage is what a process takes, and later what each of its connections does.
type usage struct {
	RSS        float64 // bytes; 0: it cannot be told here
	Heap       float64
	Stacks     float64
	Goroutines float64
	CPU        float64 // seconds a minute; 0: it was not measured, or cannot be told here
}

// used is what this process takes when it has let go of what it can: each
// collection makes a stack that is too large half as large.
func used() usage {
	for range 6 {
		debug.FreeOSMemory() // collects first
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{residentSize(), float64(m.HeapInuse), float64(m.StackInuse), float64(runtime.NumGoroutine()), 0}
}

// usedCPU is the time that this process has had of all processors, to the tick
// of a hundredth of a second.
func usedCPU() float64 {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, stat, _ = bytes.Cut(stat, []byte(") ")) // behind the program's name
	fields := bytes.Fields(stat)
	var user, system float64
	if len(fields) < 13 {
		return 0
	}
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		return 0
	}
	return (user + system) / 100
}

// residentSize is what of this process lies in memory.
func residentSize() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident float64
	if _, err := fmt.Fscan(bytes.NewReader(statm), &size, &resident); err != nil {
		return 0
	}
	return resident * float64(os.Getpagesize())
}

// idleMain is the life of a process that keeps connections open.
func idleMain(ctx context.Context, spec idleSpec, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, runWithin+spec.Wait+spec.For)
	defer cancel()
	open := spec.openSDK()
	switch spec.Who {
	case whoBare:
		open = spec.openBare()
	case whoFleet:
		var err error
		if open, err = spec.openFleet(); err != nil {
			return err
		}
	}
	before := used()
	var wait sync.WaitGroup
	failed := make(chan error, spec.Count)
	turns := make(chan struct{}, 32) // handshakes at a time
	for range spec.Count {
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if err := open(ctx); err != nil {
				failed <- err
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return err
	case <-time.After(spec.Wait):
	}
	after, n := used(), float64(spec.Count)
	if err := spec.writeProfiles(); err != nil {
		return err
	}
	each := usage{(after.RSS - before.RSS) / n, (after.Heap - before.Heap) / n, (after.Stacks - before.Stacks) / n, (after.Goroutines - before.Goroutines) / n, 0}
	if spec.For > 0 {
		begun := usedCPU()
		time.Sleep(spec.For)
		each.CPU = (usedCPU() - begun) / n / spec.For.Minutes()
	}
	return json.NewEncoder(stdout).Encode(each)
}

// writeProfiles tells what lies in memory, and where goroutines wait.
func (spec *idleSpec) writeProfiles() error {
	if spec.Profile == "" {
		return nil
	}
	for _, kind := range []string{"heap", "goroutine"} {
		file, err := os.Create(spec.Profile + "." + kind)
		if err != nil {
			return err
		}
		err = pprof.Lookup(kind).WriteTo(file, 0)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (spec *idleSpec) openSDK() func(context.Context) error {
	client := spec.At.client()
	return func(ctx context.Context) error {
		s, err := spec.At.subscribe(client)
		if err != nil {
			return err
		}
		go s.Run(ctx, realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil }))
		return s.WaitReady(ctx)
	}
}

// openFleet adds keys to a fleet.
func (spec *idleSpec) openFleet() (func(context.Context) error, error) {
	var ready sync.Map // of the keys that are not yet, what takes their error
	f, err := fleet.New(fleet.WithObserver(func(e fleet.Event) {
		switch e.Kind {
		case fleet.KindReady, fleet.KindFailed, fleet.KindWaiting:
			if c, ok := ready.LoadAndDelete(e.Key); ok {
				c.(chan error) <- e.Err
			}
		}
	}))
	if err != nil {
		return nil, err
	}
	var keys atomic.Int64
	client := spec.At.client()
	nothing := realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil })
	return func(ctx context.Context) error {
		source, err := spec.At.source()
		if err != nil {
			return err
		}
		key, done := fmt.Sprint("portal ", keys.Add(1)), make(chan error, 1)
		ready.Store(key, done)
		if err := f.Add(key, source, nothing, realtime.WithHTTPClient(client)); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

// openBare opens connections that are read, and no more, as the library's
// defaults have it: each keeps a read buffer of 4096 bytes. Buffers for writing
// are pooled, so that a connection over which nothing is sent has none.
func (spec *idleSpec) openBare() func(context.Context) error {
	dialer := websocket.Dialer{
		NetDialContext:  new(net.Dialer).DialContext,
		TLSClientConfig: &tls.Config{RootCAs: spec.At.trusted()},
		WriteBufferPool: new(sync.Pool),
	}
	return func(ctx context.Context) error {
		ws, err := spec.At.open(ctx, &dialer)
		if err != nil {
			return err
		}
		go drain(ws)
		return nil
	}
}

// drain reads a websocket to its end, and closes it.
func drain(ws *websocket.Conn) {
	defer ws.Close()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}
