// Package pace keeps what happens at a distance.
package pace

import "time"

// A Pace bounds how often something happens: so many times at once, and then
// with a distance.
type Pace struct {
	Burst int           // at once
	Every time.Duration // the distance

	spent time.Time // when all of the burst can be had again
}

// Next is when it may happen again; now or before: at once.
func (p *Pace) Next() time.Time { return p.spent.Add(-time.Duration(p.Burst-1) * p.Every) }

// Note tells that it happens.
func (p *Pace) Note(now time.Time) {
	if p.spent.Before(now) {
		p.spent = now
	}
	p.spent = p.spent.Add(p.Every)
}

// Take notes that it is to happen as soon as it may, and returns when that is.
func (p *Pace) Take(now time.Time) time.Time {
	at := p.Next()
	if at.Before(now) {
		at = now
	}
	p.Note(now)
	return at
}
