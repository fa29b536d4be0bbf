package b24pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// Handle does what a callback asks of the tokens, under the portal's MemberID as the
// key, and tells whether the callback is to be believed:
//
//   - ONAPPINSTALL stores its token, in place of another one only if it brings the
//     application_token that came with that.
//   - ONAPPUNINSTALL deletes the token, if it brings the application_token.
//   - The form of a user's opening the application stores its token if there is none:
//     any user of the portal can send one.
//   - Any other event only has its application_token verified.
//
// A token is refreshed before it is stored: the authorization server then vouches for it
// and for the portal's address, whoever sent the callback. Errors: ErrApplicationToken;
// ErrNoToken for an event of a portal that is not known; those of Application.Refresh and
// of the store. After an error the token of the callback may be spent: the portal's user
// has to open the application once more.
func (ts *Tokens) Handle(ctx context.Context, c *Callback) error {
	stored, err := ts.Get(ctx, c.MemberID)
	unknown := errors.Is(err, ErrNoToken)
	switch {
	case err != nil && !unknown:
		return err
	case c.Uninstalled() && unknown:
		return nil
	case c.Uninstalled():
		if err := c.Verify(stored.ApplicationToken); err != nil {
			return err
		}
		return ts.Delete(ctx, c.MemberID)
	case c.Event == "" && !unknown:
		return nil
	case c.Event == "" || c.Installed():
		return ts.install(ctx, c, stored)
	case unknown:
		return err
	}
	return c.Verify(stored.ApplicationToken)
}

// install stores the token of a callback. stored may be nil.
func (ts *Tokens) install(ctx context.Context, c *Callback, stored *Token) error {
	if c.Token == nil {
		return fmt.Errorf("b24pull: callback: %s brings no token", cmp.Or(c.Event, "the form"))
	}
	var known Secret
	if stored != nil {
		known = stored.ApplicationToken
	}
	if known != "" {
		if err := c.Verify(known); err != nil {
			return err
		}
	}
	t, err := ts.app.confirm(ctx, c.Token)
	if err != nil {
		return err
	}
	t.ApplicationToken = cmp.Or(c.ApplicationToken, known)
	return ts.Put(ctx, c.MemberID, t)
}

// confirm refreshes a token of which nothing is believed but that it may be one.
func (a *Application) confirm(ctx context.Context, claimed *Token) (*Token, error) {
	t, err := a.refresh(ctx, claimed, "")
	if err != nil {
		return nil, err
	}
	if t.MemberID != claimed.MemberID {
		return nil, errors.New("b24pull: callback: the token is another portal's")
	}
	return t, nil
}
