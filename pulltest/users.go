package pulltest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// users are the portal's two, webhookUser and otherUser.
type users struct {
	mu       sync.Mutex
	inactive map[int]bool
	called   map[int]time.Time // when each has called REST
}

// WithAdministrators sets which users, 1 and 2, are administrators of the
// portal; by default user 1 is, and user 2 is not. One who is none can send the
// application's events to everybody, or to himself alone, and no push
// notifications. It panics at any other user.
func WithAdministrators(users ...int) Option {
	for _, user := range users {
		mustKnow(user)
	}
	return func(o *options) { o.admins = slices.Clone(users) }
}

// Deactivate makes a user, 1 or 2, inactive: events for the user are answered
// true and dropped, and configs for the user lack the private channel. It
// panics at any other user.
func (p *Portal) Deactivate(user int) { p.users.set(user, true) }

// Activate undoes [Portal.Deactivate].
func (p *Portal) Activate(user int) { p.users.set(user, false) }

func (u *users) set(user int, inactive bool) {
	mustKnow(user)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inactive == nil {
		u.inactive = make(map[int]bool)
	}
	u.inactive[user] = inactive
}

// call notes that a user calls REST.
func (u *users) call(user int, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.called == nil {
		u.called = make(map[int]time.Time)
	}
	u.called[user] = now
}

// lastCall is when a user has called REST; the zero time if never.
func (u *users) lastCall(user int) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.called[user]
}

// active reports whether there is such a user, who is not inactive.
func (u *users) active(user int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return knownUser(user) && !u.inactive[user]
}

func (o *options) isAdministrator(user int) bool { return slices.Contains(o.admins, user) }

func knownUser(user int) bool { return user == webhookUser || user == otherUser }

func mustKnow(user int) {
	if !knownUser(user) {
		panic(fmt.Sprintf("pulltest: there is no user %d", user))
	}
}
