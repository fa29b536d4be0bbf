package pulltest

import "crypto/tls"

// What connections fail with, which is not the same on every system.
var (
	ErrAddressTaken error = errAddressTaken
	ErrRefused      error = errRefused
	ErrReset        error = errReset
	ErrBrokenPipe   error = errBrokenPipe
)

// TLSCertificate is what the portal shows.
func (p *Portal) TLSCertificate() tls.Certificate { return p.cert }

// Abort resets a connection.
var Abort = abort
