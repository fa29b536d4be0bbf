//go:build unix

package oauth

import "syscall"

// noFollow has a link at the name of a lock file refused.
const noFollow = syscall.O_NOFOLLOW
