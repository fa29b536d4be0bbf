//go:build !unix

package oauth

// noFollow is nothing where there is no such flag; Lock looks for a link
// before.
const noFollow = 0
