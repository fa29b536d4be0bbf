//go:build !plan9

package pulltest

import "syscall"

// What a real network's connections fail with.
const (
	errAddressTaken = syscall.EADDRINUSE
	errRefused      = syscall.ECONNREFUSED
	errReset        = syscall.ECONNRESET
	errBrokenPipe   = syscall.EPIPE
)
