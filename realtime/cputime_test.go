//go:build unix

package realtime

import (
	"syscall"
	"time"
)

// processTime is what CPU time this process has taken.
func processTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
