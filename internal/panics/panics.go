// Package panics keeps the stack of a panic that goes on in another goroutine.
package panics

import "context"

type key struct{}

// WithStack returns a context in which Note keeps a stack, and the place for
// it: nil until there is one.
func WithStack(ctx context.Context) (context.Context, *[]byte) {
	stack := new([]byte)
	return context.WithValue(ctx, key{}, stack), stack
}

// Note keeps the stack of a panic which the caller is about to let go on in its
// own goroutine, that of whoever called WithStack.
func Note(ctx context.Context, stack []byte) {
	if place, ok := ctx.Value(key{}).(*[]byte); ok {
		*place = stack
	}
}
