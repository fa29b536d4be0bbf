package pulltest

import "syscall"

// What a real network's connections fail with. Plan 9 has texts for errors, no
// numbers.
var (
	errAddressTaken = syscall.NewError("address in use")
	errRefused      = syscall.NewError("connection refused")
	errReset        = syscall.NewError("connection reset")
	errBrokenPipe   = syscall.NewError("write on closed pipe")
)
