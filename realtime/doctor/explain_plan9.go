package doctor

import "strings"

// refused reports whether nothing listens where a connection was to go. Plan 9
// says so in words only.
func refused(err error) bool { return strings.Contains(err.Error(), "connection refused") }

// cutOff reports whether the other side has ended a connection.
func cutOff(err error) bool {
	return strings.Contains(err.Error(), "connection reset") || strings.Contains(err.Error(), "hungup")
}
