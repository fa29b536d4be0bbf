package publish

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

// BenchmarkPublish publishes to a portal in memory over real sockets, with 1,
// 10 and 100 messages a call, one call after the other and 32 at once, on
// version 4 by POST and on version 5 by JSON-RPC. messages/s is the figure to
// watch.
func BenchmarkPublish(b *testing.B) {
	for _, version := range []int{4, 5} {
		for _, messages := range []int{1, 10, 100} {
			for _, atOnce := range []int{1, 32} {
				b.Run(fmt.Sprintf("version=%d/messages=%d/calls=%d", version, messages, atOnce), func(b *testing.B) {
					benchmarkPublish(b, version, messages, atOnce)
				})
			}
		}
	}
}

func benchmarkPublish(b *testing.B, version, messages, atOnce int) {
	portal := pulltest.NewPortal(pulltest.WithVersion(version))
	defer portal.Close()
	p, err := New(clientOf(b, portal, 1))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	all := ticks(messages)
	if err := p.Publish(b.Context(), all[0]); err != nil {
		b.Fatal(err)
	}
	var sent atomic.Int64
	b.SetParallelism(max(1, atOnce/2)) // times GOMAXPROCS
	b.ResetTimer()
	publish := func() {
		if err := p.Publish(b.Context(), all...); err != nil {
			b.Error(err)
		}
		sent.Add(int64(messages))
	}
	if atOnce == 1 {
		for range b.N {
			publish()
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				publish()
			}
		})
	}
	b.ReportMetric(float64(sent.Load())/b.Elapsed().Seconds(), "messages/s")
}

// ticks are messages to user 2.
func ticks(n int) (all []Message) {
	for range n {
		all = append(all, Message{Users: []int64{2}, Module: "application", Command: "tick", Params: map[string]int{"n": 1}})
	}
	return all
}

// BenchmarkOfficial publishes to one portal over real sockets, first with this
// package and then with the official JS client, until the push server has got
// everything. sdk/js is the figure to watch: how many times as many messages a
// second.
//
// The JS client publishes by POST, as this package does on version 4, only
// while it is connected by long polling (by=post); over its websocket
// (by=socket) it waits for answers only to single messages of version 5. Where
// it waits for none calls says nothing of it, and it learns of no refusal.
func BenchmarkOfficial(b *testing.B) {
	for _, way := range []struct {
		name    string
		version int
		polling bool
	}{{"version=4/by=post", 4, true}, {"version=4/by=socket", 4, false}, {"version=5/by=socket", 5, false}} {
		b.Run(way.name, func(b *testing.B) {
			portal := pulltest.NewPortal(pulltest.WithVersion(way.version))
			b.Cleanup(portal.Close)
			js := officialOf(b, portal, 1, way.polling)
			p, err := New(clientOf(b, portal, 1))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { p.Close() })
			for _, messages := range []int{1, 10, 100} {
				for _, atOnce := range []int{1, 32} {
					b.Run(fmt.Sprintf("messages=%d/calls=%d", messages, atOnce), func(b *testing.B) {
						benchmarkOfficial(b, portal, p, js, messages, atOnce)
					})
				}
			}
		})
	}
}

func benchmarkOfficial(b *testing.B, portal *pulltest.Portal, p *Publisher, js *jstest.Client, messages, atOnce int) {
	calls := (b.N + atOnce - 1) / atOnce * atOnce
	all := calls * messages
	ours := timed(b, portal, all, func() error { return flood(b, p, calls, messages, atOnce) })
	theirs := timed(b, portal, all, func() error { return js.Flood(b.Context(), 2, all, messages, atOnce) })
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "sdk-messages/s")
	b.ReportMetric(theirs, "js-messages/s")
	b.ReportMetric(ours/theirs, "sdk/js")
}

// flood makes calls with so many messages, so many calls at once.
func flood(b *testing.B, p *Publisher, calls, messages, atOnce int) error {
	all := ticks(messages)
	var workers sync.WaitGroup
	failed := make(chan error, atOnce)
	for range atOnce {
		workers.Go(func() {
			for range calls / atOnce {
				if err := p.Publish(b.Context(), all...); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failed)
	return <-failed
}

// timed is how many messages the push server gets a second.
func timed(b *testing.B, portal *pulltest.Portal, messages int, publish func() error) float64 {
	b.Helper()
	want := portal.Stats().ClientMessages + messages
	begin := time.Now()
	if err := publish(); err != nil {
		b.Fatal(err)
	}
	for portal.Stats().ClientMessages < want {
		time.Sleep(time.Millisecond)
	}
	return float64(messages) / time.Since(begin).Seconds()
}
