package b24pull

import (
	"math"
	"strconv"
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
	o := node{raw: a.body}.object(&ignored).object("time")
	if len(o.fields) == 0 {
		return Time{}
	}
	return Time{
		Start: o.moment("start"), Finish: o.moment("finish"),
		DateStart: o.moment("date_start"), DateFinish: o.moment("date_finish"),
		Duration: o.seconds("duration"), Processing: o.seconds("processing"),
		Operating: o.seconds("operating"), OperatingResetAt: o.moment("operating_reset_at"),
	}
}

// seconds reads a number of seconds with a fraction.
func (o object) seconds(name string) time.Duration {
	s, err := strconv.ParseFloat(o.at(name).scalar(), 64)
	if err != nil || !(s >= 0 && s < math.MaxInt32) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
