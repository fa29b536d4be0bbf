package realtime

import (
	"time"

	"github.com/b24pull/b24pull/internal/pace"
)

// Paces of a subscription. What is published during a distance comes with the
// next answer, all of it that the server keeps.
var (
	// pollPace is that of a connection's polls which bring news.
	pollPace = pace.Pace{Burst: 100, Every: 50 * time.Millisecond}
	// overtakenPace is that of polls which bring only what a replay has brought
	// while they hung, as happens where the server has several processes.
	overtakenPace = pace.Pace{Burst: 20, Every: 200 * time.Millisecond}
	// replayPace is that of the replays from cursors while a connection lasts,
	// shortReplayPace that of short ones.
	replayPace      = pace.Pace{Burst: 20, Every: 250 * time.Millisecond}
	shortReplayPace = pace.Pace{Burst: 100, Every: 100 * time.Millisecond}
)

// A waning pace lets something happen a few times at once, and then at
// distances that double for as long as it goes on.
type waning struct {
	n    int       // how often it has happened since it was quiet
	last time.Time // when it happened last
	wait time.Duration
}

const (
	// waningBurst is how often it may happen at once.
	waningBurst = 3
	// waningFirst and waningLast are the shortest and the longest distance.
	waningFirst = 10 * time.Second
	waningLast  = 5 * time.Minute
	// waningReset is after how long it may happen at once again.
	waningReset = 2 * waningLast
)

// next is when it may happen again; now or before: at once.
func (w *waning) next() time.Time {
	if w.n < waningBurst {
		return time.Time{}
	}
	return w.last.Add(w.wait)
}

// note tells that it happens.
func (w *waning) note(now time.Time) {
	if now.Sub(w.last) >= waningReset {
		*w = waning{}
	}
	w.last = now
	if w.n++; w.n >= waningBurst {
		w.wait = min(max(2*w.wait, waningFirst), waningLast)
	}
}
