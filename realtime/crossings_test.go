package realtime

import (
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// crossings has a busy stream last for some time, and returns how often the
// server has sent each of its messages: live, and in replays. Of every so many
// ids one is given to a message for somebody else; 0: none is.
func (l *life) crossings(lasts time.Duration, perSecond, others int, cutAt ...time.Duration) float64 {
	l.t.Helper()
	const step = 20 * time.Millisecond
	before, begun := l.portal.Stats(), time.Now()
	ticks := l.ticks
	for ids := 0; time.Since(begun) < lasts; time.Sleep(step) {
		if len(cutAt) > 0 && time.Since(begun) >= cutAt[0] {
			cutAt = cutAt[1:]
			if _, err := l.portal.Cut(); err != nil {
				l.t.Fatal(err)
			}
		}
		for range perSecond * int(step) / int(time.Second) {
			if ids++; others > 0 && ids%others == 0 {
				l.portal.Emit(pulltest.Message{To: pulltest.UserPrivate})
			}
			l.tick()
		}
	}
	sent := l.portal.Stats().Sent - before.Sent
	return float64(sent) / float64(l.ticks-ticks)
}

// TestCrossings: where the ids of a busy stream show that nothing is missing,
// each message is sent once, and replays show little again. Where other
// streams have some of the ids a replay has to show each message, too; and
// there are no such ids in versions 1 and 2.
func TestCrossings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		others int
		most   func(version string) float64
	}{
		{"alone", 0, func(version string) float64 {
			switch version[:len("version 5")] {
			case "version 1", "version 2":
				return 2.5
			default:
				return 1.5
			}
		}},
		{"among others", 50, func(string) float64 { return 2.5 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
				rate := 50
				switch {
				case resttest.Thorough:
					rate = 500
				case testing.Short():
					rate = 25
				}
				l.start(portal, WithTransport(transport), WithBackoff(soon))
				l.crossings(30*time.Second, rate, tt.others)
				_, version, _ := strings.Cut(t.Name()[len("TestCrossings/"):], "/")
				if n := l.crossings(2*time.Minute, rate, tt.others, 45*time.Second); n > tt.most(strings.ReplaceAll(version, "_", " ")) {
					t.Errorf("each message was sent %.2f times", n)
				}
				time.Sleep(3 * time.Minute)
				l.wantTicks()
			})
		})
	}
}
