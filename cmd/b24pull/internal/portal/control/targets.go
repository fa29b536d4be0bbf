package control

import "github.com/b24pull/b24pull/pulltest"

// to says to which channels something goes, or which channel is meant.
type to struct {
	To string `json:"to,omitempty" enum:"private,shared,both,user_private,user_shared,colleague" doc:"private (if absent): the application's private channel; shared: its shared one; both: the private and the public id of private, so that it arrives twice; user_private, user_shared: the channels of pull.config.get; colleague: the application's private channel of user 2."`
}

var targets = map[string]pulltest.Target{
	"":             pulltest.Private,
	"private":      pulltest.Private,
	"shared":       pulltest.Shared,
	"both":         pulltest.Both,
	"user_private": pulltest.UserPrivate,
	"user_shared":  pulltest.UserShared,
	"colleague":    pulltest.Colleague,
}

func (t to) target() pulltest.Target { return targets[t.To] }
