package doctor

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Status is how a check has ended. In text and JSON it is "pass", "warn",
// "skip" or "fail".
type Status uint8

const (
	Skip Status = iota // it could not be made, or was not wanted: Detail says why
	Pass               // all is well
	Warn               // a subscription works, but not as it should
	Fail               // it keeps a subscription from working, or messages from coming
)

var statusNames = [...]string{Skip: "skip", Pass: "pass", Warn: "warn", Fail: "fail"}

// String is the status in four letters.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// MarshalText writes String.
func (s Status) MarshalText() ([]byte, error) {
	if int(s) >= len(statusNames) {
		return nil, fmt.Errorf("doctor: there is no status %d", uint8(s))
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	for i, name := range statusNames {
		if name == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("doctor: there is no status %q; want pass, warn, skip or fail", text)
}

// A Result is what one check has found. No secret is in it.
type Result struct {
	Name     string        // what was looked at, one of Names
	Status   Status        // how it ended
	Detail   string        // what was found; one line
	Advice   string        // what to do; empty where there is nothing to do
	Duration time.Duration // how long it took
}

// String is the result as a line, and the advice below it.
func (r Result) String() string {
	line := fmt.Sprintf("%s  %-*s %s", r.Status, nameWidth, r.Name, r.Detail)
	if r.Advice != "" {
		line += "\n" + strings.Repeat(" ", len("pass  ")+nameWidth+1) + "-> " + r.Advice
	}
	return line
}

// resultJSON is a Result in JSON.
type resultJSON struct {
	Name     string `json:"name"`
	Status   Status `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Advice   string `json:"advice,omitempty"`
	Duration int64  `json:"duration_ms"`
}

// MarshalJSON writes {"name", "status", "detail", "advice", "duration_ms"}; a
// detail or advice that is empty is left out.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(resultJSON{r.Name, r.Status, r.Detail, r.Advice, r.Duration.Milliseconds()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Result) UnmarshalJSON(data []byte) error {
	var from resultJSON
	if err := json.Unmarshal(data, &from); err != nil {
		return err
	}
	*r = Result{from.Name, from.Status, from.Detail, from.Advice, time.Duration(from.Duration) * time.Millisecond}
	return nil
}

// A Report is what a Check has found: a Result for each of Names, in their
// order.
type Report struct {
	Portal string    `json:"portal"` // its address, without what is secret of it; empty where there is none
	Began  time.Time `json:"began"`
	Checks []Result  `json:"checks"`
}

// Err returns nil if no check has failed, and else an error that names those
// that have, with their advice.
func (r Report) Err() error {
	var failed []string
	for _, c := range r.Checks {
		if c.Status == Fail {
			text := c.Name + ": " + c.Detail
			if c.Advice != "" {
				text += " (" + c.Advice + ")"
			}
			failed = append(failed, text)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("doctor: %s", strings.Join(failed, "; "))
}

// String has a line for each check, with the advice below it.
func (r Report) String() string {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

// The names of the checks.
const (
	nameAddress     = "portal address"
	nameCertificate = "portal certificate"
	nameProxy       = "proxy"
	nameREST        = "REST"
	nameScope       = "scope"
	nameUser        = "user"
	nameConfig      = "config"
	nameChannels    = "channels"
	namePush        = "push address"
	namePushCert    = "push certificate"
	nameSocket      = "websocket"
	nameShared      = "shared event"
	namePrivate     = "private event"
	nameLarge       = "large event"
	nameValues      = "awkward values"
	nameOrder       = "order"
	namePolls       = "polls"
	nameHistory     = "history"
	nameClock       = "clock"
	nameIdle        = "idle"
)

// Names returns the names of the checks, in the order in which a Report has
// them.
func Names() []string {
	return []string{
		nameAddress, nameCertificate, nameProxy, nameREST, nameScope, nameUser,
		nameConfig, nameChannels, namePush, namePushCert, nameSocket,
		nameShared, namePrivate, nameLarge, nameValues, nameOrder, namePolls, nameHistory, nameClock, nameIdle,
	}
}

const nameWidth = len(nameCertificate)
