package realtime

import (
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestReset: a program goes on while the portal it listens to is reset. It hears
// all that is sent afterwards, over its private channel and the shared one,
// whether its channels are those of the beginning or others have replaced them.
// Where messages have ids by which it can be seen, it is told that the history
// is another one.
func TestReset(t *testing.T) {
	t.Parallel()
	for _, before := range []struct {
		name string
		do   func(l *life)
	}{
		{"nothing was sent", func(*life) {}},
		{"messages were sent", func(l *life) { l.tickFor(10*time.Second, time.Second) }},
		{"channels were replaced", func(l *life) {
			l.tickFor(10*time.Second, time.Second)
			l.portal.ExpireChannel(pulltest.Private, "reconnect")
			l.portal.ExpireChannel(pulltest.Shared, "reconnect")
			time.Sleep(time.Minute)
		}},
		{"one channel was replaced", func(l *life) {
			l.portal.ExpireChannel(pulltest.Private, "reconnect")
			time.Sleep(time.Minute)
		}},
	} {
		t.Run(before.name, func(t *testing.T) {
			onVersionsAndTransports(t, func(t *testing.T, l *life, version int, transport Transport) {
				l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithTransport(transport), WithBackoff(soon))
				shared := func() { l.portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared}) }
				for range 2 {
					before.do(l)
					if err := l.portal.Reset(); err != nil {
						t.Error(err)
					}
					l.emit("private at once")
					shared()
					time.Sleep(time.Minute)
					l.emit("private")
					shared()
					time.Sleep(time.Minute)
				}
				for command, want := range map[string]int{"private at once": 2, "private": 2, "shared": 4, "tick": l.ticks} {
					n := 0
					for _, got := range l.commands() {
						if got == command {
							n++
						}
					}
					if n != want {
						t.Errorf("%q came %d times, want %d", command, n, want)
					}
				}
				told := slices.ContainsFunc(lifeEvents[Gap](l), func(g Gap) bool { return g.Reason == GapServerChanged })
				if told != (version > 2) {
					t.Errorf("told of another history: %t", told)
				}
			})
		})
	}
}
