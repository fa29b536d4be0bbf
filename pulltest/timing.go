package pulltest

import "time"

// How long real push servers take.
const (
	// storing is the time from a message's id to its being stored and sent.
	storing = 500 * time.Microsecond
	// handoverAlone and handoverTold are the holes of a server of one process,
	// and of those that have to tell each other.
	handoverAlone = 500 * time.Microsecond
	handoverTold  = 400 * time.Microsecond
	// keepAlive is how long a connection is kept between requests.
	keepAlive = 6 * time.Second
)

func handoverOf(d *dialect, processes int) time.Duration {
	if processes > 1 || !d.publicIDs {
		return handoverTold
	}
	return handoverAlone
}

// WithHostileTiming makes the holes in which a push server loses messages wider
// than on any real one, so that a test meets them soon: a handover of 2 ms,
// found history or not; a disorder of 1 s; two processes of each kind, since
// those of one keep an order; a ping every 5 s, which drops what is being
// gathered even if the pong comes at once. By default a portal has the holes
// that were measured on real servers. Options behind this one change its parts.
func WithHostileTiming() Option {
	return func(o *options) {
		o.hostile = true
		o.handover = 2 * time.Millisecond
		o.disorder = time.Second
		o.subscribers, o.publishers = 2, 2
		o.pingInterval = 5 * time.Second
	}
}

// hasHole reports whether one who asked for history is registered only a while
// after it was read.
func (h *hub) hasHole(found []*message) bool {
	return h.handover > 0 && (h.hostile || h.clustered() || len(found) > 0)
}
