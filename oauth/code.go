package oauth

import (
	"context"
	"errors"
	"time"

	"github.com/b24pull/b24pull"
)

// ErrOtherUser is the error of a code that another user has brought than the
// one whose token is stored and good.
var ErrOtherUser = errors.New("b24pull: the portal has the token of another user, which is good; it is replaced by the same user, or once it is refused")

// maxExchanging is how many codes a process exchanges at once.
const maxExchanging = 8

// codeLife is how long a code lives.
const codeLife = 30 * time.Second

// HandleCode does for a code, which ParseRedirect has returned, what Handle
// does for a callback: it exchanges the code and stores the token under the
// portal's MemberID. It returns the token.
//
// Any user of a portal can authorize the application. So the token takes the
// place of one that is Revoked, or of one that is the same user's, and else it
// is ErrOtherUser. The ApplicationToken of the one before is kept, as a code
// brings none.
//
// Anybody can bring a code that is none. A process exchanges 8 at once, and
// about 60 without a distance, then one a second; others are ErrBusy at once,
// since a code does not live for long. What it has begun it ends, also when ctx
// ends.
//
// Errors: ErrOtherUser; ErrBusy; those of Application.Exchange; a *StoreError;
// those of the store.
func (ts *Tokens) HandleCode(ctx context.Context, code AuthCode) (*Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case ts.exchanging <- struct{}{}:
		defer func() { <-ts.exchanging }()
	default:
		return nil, ErrBusy
	}
	if at := ts.codes.passes(time.Now()); !at.IsZero() {
		return nil, ErrBusy
	}
	defer ts.land(ts.takeOff())
	on := context.WithoutCancel(ctx)
	exchange, cancel := context.WithTimeout(on, codeLife)
	defer cancel()
	token, err := ts.app.Exchange(exchange, code)
	switch {
	case err != nil:
		return nil, err
	case token.MemberID == "":
		return nil, errNoMember
	}
	return token, ts.keepCode(on, token)
}

var errNoMember = badCallback("b24pull: redirect: neither it nor the authorization server has named the portal's member_id")

// keepCode stores the token that a code was exchanged for.
func (ts *Tokens) keepCode(ctx context.Context, token *Token) error {
	err := ts.Update(ctx, token.MemberID, func(t *Token) error {
		if !t.Revoked && (t.UserID == 0 || t.UserID != token.UserID) {
			return ErrOtherUser
		}
		token.ApplicationToken = t.ApplicationToken
		*t = *token.clone()
		return nil
	})
	if errors.Is(err, b24pull.ErrNoToken) {
		err = ts.Put(ctx, token.MemberID, token)
	}
	return err
}
