package publish

import (
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
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
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.Token(1).AccessToken})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		b.Fatal(err)
	}
	p, err := New(client)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	var all []Message
	for range messages {
		all = append(all, Message{Users: []int64{2}, Module: "application", Command: "tick", Params: map[string]int{"n": 1}})
	}
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
