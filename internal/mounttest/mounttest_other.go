//go:build !linux

// Package mounttest lets a test mount: it runs in a process of its own whose
// mounts nobody else sees.
package mounttest

import "testing"

// Run skips the test: only Linux has mounts of a process.
func Run(t *testing.T, _ func(t *testing.T, dir string)) {
	t.Helper()
	t.Skip("needs the mounts of Linux")
}

// Bind is never called.
func Bind(*testing.T, string, string) {}

// ReadOnly is never called.
func ReadOnly(*testing.T, string) {}

// Small is never called.
func Small(*testing.T, string, string) {}
