//go:build !plan9

package doctor

import (
	"errors"
	"syscall"
)

// refused reports whether nothing listens where a connection was to go.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// cutOff reports whether the other side has ended a connection.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
