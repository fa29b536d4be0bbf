package pulltest

import (
	"net/http"
	"strconv"
)

var (
	errServer      = &restError{http.StatusInternalServerError, "SERVER_ERROR", "Push & Pull server is not configured"}
	errUsers       = &restError{http.StatusBadRequest, "INVALID_FORMAT", "A wrong format for the USERS field is passed"}
	errChannelAuth = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Get access to application channels available only for application authorization."}
)

// publicChannel is pull.channel.public.get.
func (p *Portal) publicChannel(call restCall) (any, *restError) {
	owner, err := p.channelOwner(call)
	if err != nil {
		return nil, err
	}
	user, ok := integer(call.params["USER_ID"])
	if !ok || !p.opts.knows(user) {
		return nil, errUser
	}
	return p.config.publicChannel(owner, user), nil
}

// publicChannels is pull.channel.public.list. Users it does not know are left
// out.
func (p *Portal) publicChannels(call restCall) (any, *restError) {
	owner, err := p.channelOwner(call)
	if err != nil {
		return nil, err
	}
	users, ok := listOf(call.params["USERS"])
	if !ok {
		return nil, errUsers
	}
	list := make(map[string]any)
	for _, u := range users {
		user, ok := integer(u)
		switch {
		case !ok:
			return nil, errUsers
		case p.opts.knows(user):
			list[strconv.Itoa(user)] = p.config.publicChannel(owner, user)
		}
	}
	return phpArray(list), nil
}

// channelOwner is whose channels a call asks for. Before version 4 there are no
// public ones.
func (p *Portal) channelOwner(call restCall) (string, *restError) {
	switch {
	case !p.opts.dialect.publicIDs:
		return "", errServer
	case call.params["APPLICATION"] != "Y":
		return ofPortal, nil
	case call.webhook:
		return "", errChannelAuth
	}
	return ofApplication, nil
}
