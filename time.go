package b24pull

import (
	"github.com/b24pull/b24pull/internal/phpjson"
	"time"
)

// Time is what an answer tells about time, by the portal's clock. What the answer
// does not have, or what cannot be read, is zero.
type Time struct {
	// Start and Finish are when the portal began and ended the call.
	Start, Finish time.Time
	// DateStart and DateFinish are the same in whole seconds.
	DateStart, DateFinish time.Time
	// Duration is how long the call took, Processing how long the method did.
	Duration, Processing time.Duration
	// Operating is the method's time used up within ten minutes; past the
	// portal's limit follows ErrOperationTimeLimit.
	Operating time.Duration
	// OperatingResetAt is when some of it is given back.
	OperatingResetAt time.Time
}

// time reads the envelope's time.
func (a answer) time() Time {
	var ignored error
	o := phpjson.Node{Raw: a.body}.Object(&ignored).Object("time")
	if len(o.Fields) == 0 {
		return Time{}
	}
	return Time{
		Start: o.Moment("start"), Finish: o.Moment("finish"),
		DateStart: o.Moment("date_start"), DateFinish: o.Moment("date_finish"),
		Duration: o.Seconds("duration"), Processing: o.Seconds("processing"),
		Operating: o.Seconds("operating"), OperatingResetAt: o.Moment("operating_reset_at"),
	}
}
