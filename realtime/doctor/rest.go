package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/php"
)

// slow is how long a call of REST takes that is worth a warning.
const slow = 2 * time.Second

// checkREST asks the portal what it knows of the caller: methods that need no
// scope.
func (x *examination) checkREST(ctx context.Context) {
	if x.restError != "" || x.client == nil {
		x.skipped(x.restError, nameREST, nameScope, nameUser)
		return
	}
	before := x.client.Portal()
	x.timed(ctx, nameREST, func(ctx context.Context) finding {
		began := time.Now()
		scopes := []string{}
		_, err := x.client.Call(ctx, "scope", nil, &scopes, b24pull.Idempotent())
		if err != nil {
			if !isAnswer(err) {
				x.restError = "REST cannot be used"
			}
			return failed(err)
		}
		x.scopes = scopes
		if now := x.client.Portal(); now != before {
			return finding{Warn, "the portal has moved to " + quote.Name(now), "set the new address: the old one is answered for a while only"}
		}
		took := time.Since(began)
		if took > slow {
			return finding{Warn, fmt.Sprintf("answered in %s, which is slow", short(took)), "look at the load of the portal, and at the way to it"}
		}
		return pass("answered in %s", short(took))
	})
	if x.restError != "" {
		x.skipped(x.restError, nameScope, nameUser)
		return
	}
	x.timed(ctx, nameScope, x.scope)
	x.timed(ctx, nameUser, x.caller)
}

// refusals are codes that every method is answered, once one is.
var refusals = []error{
	b24pull.ErrNoAuth, b24pull.ErrExpiredToken, b24pull.ErrInvalidCredentials, b24pull.ErrAccessDenied, b24pull.ErrUserAccess,
	b24pull.ErrPortalDeleted, b24pull.ErrPaymentRequired, b24pull.ErrOverload,
}

// isAnswer reports whether an error is the portal's own word on one method: then
// others may do.
func isAnswer(err error) bool {
	var api *b24pull.APIError
	return errors.As(err, &api) && api.Code != "" && !slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) })
}

// scope looks whether the scopes are there. Which of the two is needed, the
// kind of the authorization decides.
func (x *examination) scope(context.Context) finding {
	switch {
	case x.scopes == nil:
		return skip("the portal did not say")
	case slices.Contains(x.scopes, "pull"):
		return pass("%s", x.granted())
	case slices.Contains(x.scopes, "pull_channel"):
		return finding{Warn, x.granted() + "; not pull", "for a webhook that will do; give an application the scope pull, in its settings"}
	}
	return finding{Fail, x.granted() + "; neither pull nor pull_channel", adviceOf(b24pull.ErrInsufficientScope)}
}

func (x *examination) granted() string {
	if len(x.scopes) == 0 {
		return "none"
	}
	const most = 12
	list := x.scopes
	if len(list) > most { // of those that matter here none is lost
		list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, "pull") })
		return quote.Name(strings.Join(list, ", ")) + " and others"
	}
	return quote.Name(strings.Join(list, ", "))
}

// caller looks who calls.
func (x *examination) caller(ctx context.Context) finding {
	var profile struct {
		ID    php.Int
		Admin php.Bool `json:"ADMIN"`
	}
	if _, err := x.client.Call(ctx, "profile", nil, &profile, b24pull.Idempotent()); err != nil {
		f := failed(err)
		f.status = Warn
		return f
	}
	x.user = int64(profile.ID)
	if profile.Admin {
		return pass("user %d, an administrator", x.user)
	}
	return finding{Warn, fmt.Sprintf("user %d, no administrator", x.user), "events can be sent to everybody or to that user alone, and no push notifications: have an administrator install the application if that is too little"}
}
