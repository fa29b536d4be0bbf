package pulltest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// method is a REST method, with the scope it is of.
type method struct {
	scope string
	call  func(*Portal, restCall) (any, *restError)
}

const (
	scopeBase     = "" // of everybody who may call anything
	scopePull     = "pull"
	scopeChannels = "pull_channel"
	scopeUser     = "user"

	methodBatch = "batch"
)

// portalMethods are the methods that a portal has, those of the test's own in
// place of others.
func portalMethods(o *options) map[string]method {
	methods := map[string]method{
		methodBatch:    {scopeBase, (*Portal).batch},
		"app.info":     {scopeBase, (*Portal).appInfo},
		"event.bind":   {scopeBase, (*Portal).bindEvent},
		"event.get":    {scopeBase, (*Portal).boundEvents},
		"event.unbind": {scopeBase, (*Portal).unbindEvent},
		"methods":      {scopeBase, (*Portal).listMethods},
		"profile":      {scopeBase, (*Portal).profile},
		"scope":        {scopeBase, (*Portal).listScopes},
		"server.time":  {scopeBase, (*Portal).serverTime},
		"user.admin":   {scopeBase, (*Portal).userAdmin},

		"user.current": {scopeUser, (*Portal).currentUser},

		"pull.application.config.get": {scopePull, (*Portal).applicationConfig},
		"pull.application.event.add":  {scopePull, (*Portal).addEvent},
		"pull.application.push.add":   {scopePull, (*Portal).addPush},
		"pull.watch.extend":           {scopePull, (*Portal).extendWatch},
		"pull.api.user.getlastseen":   {scopePull, (*Portal).lastSeen},
		"pull.config.get":             {scopeChannels, (*Portal).userConfig},
		"pull.channel.public.get":     {scopeChannels, (*Portal).publicChannel},
		"pull.channel.public.list":    {scopeChannels, (*Portal).publicChannels},
	}
	for name, f := range o.methods {
		methods[name] = f.method(name)
	}
	return methods
}

// method finds one by its name in lower case; what [Portal.Answer] has set comes
// before the portal's own.
func (p *Portal) method(name string) (method, bool) {
	if m, canned := p.answers.method(name); canned {
		return m, true
	}
	m, known := p.methods[name]
	return m, known
}

// permits reports whether methods of a scope may be called. What is of a user
// himself is open to the lesser scopes of users as well.
func (o *options) permits(scope string) bool {
	switch scope {
	case scopeBase:
		return true
	case scopeUser:
		return slices.Contains(o.scopes, scopeUser) || slices.Contains(o.scopes, "user_basic") || slices.Contains(o.scopes, "user_brief")
	}
	return slices.Contains(o.scopes, scope)
}

var errApplication = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Current authorization type is denied for this method"}

// license is that of a portal for development.
const license = "en_nfr"

// appInfo is app.info: of the application, or to a webhook its scope alone.
func (p *Portal) appInfo(call restCall) (any, *restError) {
	if call.webhook {
		return map[string]any{"SCOPE": p.opts.scopes, "LICENSE": license}, nil
	}
	return map[string]any{
		"ID":              1,
		"CODE":            p.opts.application.ClientID,
		"VERSION":         1,
		"STATUS":          applicationStatus,
		"INSTALLED":       true,
		"PAYMENT_EXPIRED": "N",
		"DAYS":            nil,
		"LANGUAGE_ID":     "en",
		"LICENSE":         license,
		"LICENSE_TYPE":    "nfr",
		"LICENSE_FAMILY":  "nfr",
	}, nil
}

func (p *Portal) profile(call restCall) (any, *restError) {
	u, _ := p.opts.user(call.user)
	return map[string]any{
		"ID":               strconv.Itoa(u.ID),
		"ADMIN":            u.Admin,
		"NAME":             u.Name,
		"LAST_NAME":        u.LastName,
		"PERSONAL_GENDER":  "",
		"PERSONAL_PHOTO":   "",
		"TIME_ZONE":        "",
		"TIME_ZONE_OFFSET": 0,
	}, nil
}

// currentUser is user.current. E-mail addresses are not for the least of its
// scopes, user_brief.
func (p *Portal) currentUser(call restCall) (any, *restError) {
	u, _ := p.opts.user(call.user)
	online := "N"
	h := p.push.hub
	h.mu.Lock()
	if ago, seen := h.lastSeen(u.ID); seen && ago == 0 {
		online = "Y"
	}
	h.mu.Unlock()
	user := map[string]any{
		"ID":                strconv.Itoa(u.ID),
		"ACTIVE":            p.users.active(u.ID),
		"NAME":              u.Name,
		"LAST_NAME":         u.LastName,
		"SECOND_NAME":       "",
		"TITLE":             "",
		"IS_ONLINE":         online,
		"TIME_ZONE":         "",
		"TIME_ZONE_OFFSET":  "0",
		"PERSONAL_GENDER":   "",
		"PERSONAL_PHOTO":    "",
		"PERSONAL_BIRTHDAY": "",
		"WORK_POSITION":     "",
		"UF_DEPARTMENT":     []int{1},
		"USER_TYPE":         "employee",
	}
	if slices.Contains(p.opts.scopes, scopeUser) || slices.Contains(p.opts.scopes, "user_basic") {
		user["EMAIL"] = u.Email
	}
	return user, nil
}

func (p *Portal) userAdmin(call restCall) (any, *restError) {
	return p.opts.isAdministrator(call.user), nil
}

func (p *Portal) serverTime(restCall) (any, *restError) {
	return p.opts.clock.now().In(portalZone).Format(atomTime), nil
}

// listScopes is scope: those that are granted, or with FULL all there are.
func (p *Portal) listScopes(call restCall) (any, *restError) {
	scopes := slices.Clone(p.opts.scopes)
	if isTrue(call.params["FULL"]) {
		for _, m := range p.methods {
			if m.scope != scopeBase && !slices.Contains(scopes, m.scope) {
				scopes = append(scopes, m.scope)
			}
		}
		slices.Sort(scopes)
	}
	return append([]string{}, scopes...), nil
}

// listMethods is methods: those that may be called, with FULL all there are, or
// those of a SCOPE; the base ones are of the empty one.
func (p *Portal) listMethods(call restCall) (any, *restError) {
	scope, given := call.params["SCOPE"].(string)
	full := isTrue(call.params["FULL"])
	all := maps.Clone(p.methods)
	for _, name := range p.answers.names() {
		all[name] = method{}
	}
	names := []string{}
	for name, m := range all {
		if given && m.scope == scope || !given && (full || p.opts.permits(m.scope)) {
			names = append(names, strings.Replace(name, "getlastseen", "getLastSeen", 1))
		}
	}
	slices.Sort(names)
	return names, nil
}
