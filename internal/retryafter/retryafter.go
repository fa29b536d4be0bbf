// Package retryafter reads the header Retry-After (RFC 9110, section 10.2.3),
// by which a server that refuses a request says when to come again.
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Max is the longest wait that is taken from a server: a greater one counts as
// this.
const Max = 15 * time.Minute

// Wait is how long the answer with this header wants to be waited for, from 0,
// which is also what a value that makes no sense counts as, to Max. A date is
// compared with that of the answer, or else with our clock, now.
func Wait(head http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(head.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(Max/time.Second) {
			return Max
		}
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(head.Get("Date")); err == nil {
		now = date
	}
	return min(max(until.Sub(now), 0), Max)
}
