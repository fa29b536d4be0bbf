package control

import (
	"fmt"
	"strings"

	"github.com/b24pull/b24pull/pulltest"
)

// to says to which channels something goes, or which channel is meant.
type to struct {
	To   string `json:"to,omitempty" enum:"private,shared,both,user_private,user_shared" doc:"private (if absent): the application's private channel; shared: its shared one; both: the private and the public id of private, so that it arrives twice; user_private, user_shared: the channels of pull.config.get."`
	User int    `json:"user,omitempty" min:"1" doc:"Whose private channel; the first user's if absent."`
}

var targets = map[string]pulltest.Target{
	"":             pulltest.Private,
	"private":      pulltest.Private,
	"shared":       pulltest.Shared,
	"both":         pulltest.Both,
	"user_private": pulltest.UserPrivate,
	"user_shared":  pulltest.UserShared,
}

func (t to) check(p *running) error {
	if err := t.checkShared(""); err != nil || t.User == 0 {
		return err
	}
	return p.checkUser("user", t.User)
}

// checkShared reports that a channel is somebody's own and everybody's. Path is
// where it stands.
func (t to) checkShared(path string) error {
	if t.User != 0 && strings.HasSuffix(t.To, "shared") {
		return badField(join(path, "user"), "a shared channel is nobody's own: leave it out")
	}
	return nil
}

func (t to) target() pulltest.Target {
	target := targets[t.To]
	if t.User != 0 {
		target = target.Of(t.User)
	}
	return target
}

// user is one of the portal's users.
type user struct {
	User int `json:"user" required:"true" min:"1" doc:"The user's ID."`
}

func (u user) check(p *running) error { return p.checkUser("user", u.User) }

// checkUser reports that a portal does not have the user that a field names.
func (p *running) checkUser(field string, id int) error {
	var ids []string
	for _, u := range p.Users() {
		if u.ID == id {
			return nil
		}
		ids = append(ids, fmt.Sprint(u.ID))
	}
	if len(ids) > 20 {
		ids = append(ids[:20], "…")
	}
	return badField(field, "there is no user %d; there are: %s", id, strings.Join(ids, ", "))
}
