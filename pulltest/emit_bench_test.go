package pulltest_test

import (
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// BenchmarkEmit is what a message costs that nobody hears, without an observer
// and with one.
func BenchmarkEmit(b *testing.B) {
	for _, c := range []struct {
		name string
		opts []pulltest.Option
	}{{"alone", nil}, {"observed", []pulltest.Option{pulltest.WithObserver(func(pulltest.Event) {})}}} {
		b.Run(c.name, func(b *testing.B) {
			p := pulltest.NewPortal(c.opts...)
			defer p.Close()
			m := pulltest.Message{Command: "x", Params: map[string]int{"id": 7}, Expiry: -1}
			b.ReportAllocs()
			for b.Loop() {
				p.Emit(m)
			}
		})
	}
}
