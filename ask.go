package b24pull

import (
	"context"
	"runtime/debug"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/panics"
)

// ask has a source of the user's give a token.
func ask(ctx context.Context, source func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	token, err := await(ctx, source)
	return token, checkToken(token, err)
}

// await waits for a source of the user's until the context ends, whatever the source
// does.
func await(ctx context.Context, source func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type answer struct {
		token    *oauth2.Token
		err      error
		panicked any
		stack    []byte
	}
	got := make(chan answer, 1)
	go func() {
		var r answer
		defer func() {
			if r.panicked = recover(); r.panicked != nil {
				r.stack = debug.Stack()
			}
			got <- r
		}()
		r.token, r.err = source()
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-got:
		if r.panicked != nil {
			panics.Note(ctx, r.stack)
			panic(r.panicked) // where the caller can recover it
		}
		return r.token, r.err
	}
}
