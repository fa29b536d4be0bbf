package pulltest

// What connections fail with, which is not the same on every system.
var (
	ErrAddressTaken error = errAddressTaken
	ErrRefused      error = errRefused
	ErrReset        error = errReset
	ErrBrokenPipe   error = errBrokenPipe
)
