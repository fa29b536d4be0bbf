package pulltest

import "sync"

// auth knows who may call REST: the webhook's code and the application's
// access tokens, the present one and those that have expired.
type auth struct {
	webhook string

	mu      sync.Mutex
	token   string
	expired map[string]bool
}

func newAuth() *auth {
	return &auth{webhook: randomID()[:16], token: randomID(), expired: make(map[string]bool)}
}

func (a *auth) renew() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expired[a.token] = true
	a.token = randomID()
	return a.token
}

// check returns nil if the token is good.
func (a *auth) check(token string) *restError {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case token == "":
		return errNoAuth
	case token == a.token:
		return nil
	case a.expired[token]:
		return errExpiredToken
	}
	return errNoAuth
}
