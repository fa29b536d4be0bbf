package pulltest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// User is somebody who uses a portal.
type User struct {
	ID       int
	Name     string
	LastName string
	Email    string
	Admin    bool // an administrator of the portal: one who is none can send the application's events to everybody, or to himself alone, and no push notifications
}

// maxUsers is how many there may be: each has channels from the beginning.
const maxUsers = 10_000

// WithUsers sets who uses the portal. The first is who the webhook acts for, who
// is signed in at the beginning, and whose the channels are where none is named;
// the second is who [Portal.EmitAsClient] plays unless a message says otherwise. By default there are user 1,
// an administrator, and user 2, who is none.
func WithUsers(users ...User) Option {
	return func(o *options) { o.users = slices.Clone(users) }
}

// Users are who uses the portal, as [WithUsers] says, active or not.
func (p *Portal) Users() []User { return slices.Clone(p.opts.users) }

func defaultUsers() []User {
	return []User{
		{ID: 1, Name: "User", LastName: "One", Email: "user1@portal.example", Admin: true},
		{ID: 2, Name: "User", LastName: "Two", Email: "user2@portal.example"},
	}
}

func (o *options) checkUsers() error {
	if n := len(o.users); n == 0 || n > maxUsers {
		return fmt.Errorf("pulltest: WithUsers: %d users; give 1 to %d", n, maxUsers)
	}
	seen := make(map[int]bool)
	for _, u := range o.users {
		switch {
		case u.ID <= 0:
			return errors.New("pulltest: WithUsers: user " + strconv.Itoa(u.ID) + "; give each an ID above 0")
		case seen[u.ID]:
			return fmt.Errorf("pulltest: WithUsers: user %d is there twice", u.ID)
		}
		seen[u.ID] = true
	}
	return nil
}

// first is the user whom all is for that names nobody.
func (o *options) first() int { return o.users[0].ID }

// other is another user than the first, if there is one.
func (o *options) other() int { return o.users[min(1, len(o.users)-1)].ID }

// user is what is known of a user; it reports false if there is none.
func (o *options) user(id int) (User, bool) {
	i := slices.IndexFunc(o.users, func(u User) bool { return u.ID == id })
	if i < 0 {
		return User{}, false
	}
	return o.users[i], true
}

func (o *options) knows(user int) bool {
	_, known := o.user(user)
	return known
}

func (o *options) mustKnow(user int) {
	if !o.knows(user) {
		panic(fmt.Sprintf("pulltest: there is no user %d; WithUsers says who is there", user))
	}
}

func (o *options) isAdministrator(user int) bool {
	u, _ := o.user(user)
	return u.Admin
}

// users are what becomes of the portal's users.
type users struct {
	opts     *options
	mu       sync.Mutex
	inactive map[int]bool
	called   map[int]time.Time // when each has called REST
}

func newUsers(o *options) *users {
	return &users{opts: o, inactive: make(map[int]bool), called: make(map[int]time.Time)}
}

// Deactivate makes a user inactive: events for the user are answered true and
// dropped, and configs for the user lack the private channel. It panics at a
// user that there is not.
func (p *Portal) Deactivate(user int) { p.users.set(user, true) }

// Activate undoes [Portal.Deactivate].
func (p *Portal) Activate(user int) { p.users.set(user, false) }

func (u *users) set(user int, inactive bool) {
	u.opts.mustKnow(user)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inactive[user] = inactive
}

// call notes that a user calls REST.
func (u *users) call(user int, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
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
	return u.opts.knows(user) && !u.inactive[user]
}
