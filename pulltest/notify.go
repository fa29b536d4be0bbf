package pulltest

import (
	"net/http"
	"slices"
	"sync"
)

var (
	errPushAuth   = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Send push notifications available only for application authorization."}
	errPushAccess = &restError{http.StatusBadRequest, "ACCESS_ERROR", "You do not have access to send push notifications"}
	errText       = &restError{http.StatusBadRequest, "TEXT_ERROR", "Text can't be empty"}
	errAppName    = &restError{http.StatusBadRequest, "EMPTY_APP_NAME", "For send push notification application name can't be empty"}
)

// PushNotification is what pull.application.push.add sent to mobile devices.
type PushNotification struct {
	Users  []int
	Text   string
	Avatar string // URL
}

type pushes struct {
	mu   sync.Mutex
	list []PushNotification
}

// PushNotifications returns those that were sent, the oldest first.
func (p *Portal) PushNotifications() []PushNotification {
	p.pushes.mu.Lock()
	defer p.pushes.mu.Unlock()
	return slices.Clone(p.pushes.list)
}

// addPush is pull.application.push.add.
func (p *Portal) addPush(call restCall) (any, *restError) {
	switch {
	case call.webhook:
		return nil, errPushAuth
	case !p.opts.isAdministrator(call.user):
		return nil, errPushAccess
	}
	users, err := usersOf(call.params["USER_ID"])
	if err != nil {
		return nil, err
	}
	text, _ := call.params["TEXT"].(string)
	avatar, _ := call.params["AVATAR"].(string)
	switch {
	case len(users) == 0 || !p.allKnown(users):
		return nil, errUser
	case text == "":
		return nil, errText
	case p.opts.application.Name == "":
		return nil, errAppName
	}
	p.pushes.mu.Lock()
	defer p.pushes.mu.Unlock()
	p.pushes.list = append(p.pushes.list, PushNotification{users, text, avatar})
	return true, nil
}

func (p *Portal) allKnown(users []int) bool {
	return !slices.ContainsFunc(users, func(user int) bool { return !p.opts.knows(user) })
}
