package realtime

import (
	"math/rand/v2"
	"time"
)

// reconnectDelays are those of the portal's own connector; the last one stays.
var reconnectDelays = []time.Duration{
	500 * time.Millisecond, 5 * time.Second, 25 * time.Second, 45 * time.Second, time.Minute,
}

// minDelay keeps a user's delays from being none at all.
const minDelay = 10 * time.Millisecond

// crowdedDelay is the wait after «too many connections»: coming back at once
// would throw out another.
const crowdedDelay = time.Minute

// defaultBackoff spreads each delay by up to 20 %, so that the subscribers of a
// server that went down do not come back together.
func defaultBackoff(attempt int) time.Duration {
	return spread(reconnectDelays[min(max(attempt, 1), len(reconnectDelays))-1])
}

// replayBackoff is the delay before a replay that failed is tried again.
func replayBackoff(attempt int) time.Duration {
	const first, last = 100 * time.Millisecond, 30 * time.Second
	return spread(min(first<<min(max(attempt, 1)-1, 16), last))
}

func spread(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/5+1))
}
