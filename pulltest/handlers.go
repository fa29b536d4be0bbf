package pulltest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxHandlers is how many an application can bind.
const maxHandlers = 1000

var (
	errNoEvent       = &restError{http.StatusBadRequest, "ERROR_ARGUMENT", "Argument 'EVENT' is null or empty"}
	errNoHandler     = &restError{http.StatusBadRequest, "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"}
	errEvent         = &restError{http.StatusBadRequest, "ERROR_EVENT_NOT_FOUND", "Event not found"}
	errHandler       = &restError{http.StatusBadRequest, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL"}
	errHandlerScheme = &restError{http.StatusBadRequest, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported event handler protocol"}
	errHandlerTwice  = &restError{http.StatusBadRequest, "ERROR_CORE", "Unable to set event handler: Handler already binded"}
	errHandlers      = &restError{http.StatusBadRequest, "ERROR_CORE", "Unable to set event handler: there are too many"}
	errHandlerUser   = &restError{http.StatusForbidden, "ACCESS_DENIED", "Access denied! Only administrators can bind events for other users."}
)

var eventPattern = regexp.MustCompile(`^ON[A-Z0-9_.:]+$`)

// eventHandler is a handler of the application, as event.get tells it.
type eventHandler struct {
	Event   string `json:"event"`
	Handler string `json:"handler"`
	User    string `json:"auth_type"` // as whom it is called; "0": who has done what it tells of
	Offline int    `json:"offline"`   // 1: it is not called, the event waits to be fetched
}

type handlers struct {
	mu   sync.Mutex
	list []eventHandler
}

// readHandler is what event.bind and event.unbind say. Any event whose name
// looks like one is taken.
func (p *Portal) readHandler(call restCall) (h eventHandler, err *restError) {
	if call.webhook {
		return h, errApplication
	}
	name, _ := call.params["EVENT"].(string)
	h.Event = strings.ToUpper(name)
	h.Handler, _ = call.params["HANDLER"].(string)
	user, _ := integer(call.params["AUTH_TYPE"])
	h.User = strconv.Itoa(user)
	if call.params["EVENT_TYPE"] == "offline" {
		h.Offline, h.Handler = 1, ""
	}
	target, failed := url.Parse(h.Handler)
	switch {
	case h.Event == "":
		return h, errNoEvent
	case !eventPattern.MatchString(h.Event):
		return h, errEvent
	case h.Offline == 1:
	case h.Handler == "":
		return h, errNoHandler
	case failed != nil || target.Host == "":
		return h, errHandler
	case target.Scheme != "http" && target.Scheme != "https":
		return h, errHandlerScheme
	}
	if user != 0 && user != call.user && !p.opts.isAdministrator(call.user) {
		return h, errHandlerUser
	}
	return h, nil
}

func (p *Portal) bindEvent(call restCall) (any, *restError) {
	h, err := p.readHandler(call)
	if err != nil {
		return nil, err
	}
	p.handlers.mu.Lock()
	defer p.handlers.mu.Unlock()
	switch {
	case slices.Contains(p.handlers.list, h):
		return nil, errHandlerTwice
	case len(p.handlers.list) >= maxHandlers:
		return nil, errHandlers
	}
	p.handlers.list = append(p.handlers.list, h)
	return true, nil
}

// unbindEvent is event.unbind: without an AUTH_TYPE whomever they are called as.
func (p *Portal) unbindEvent(call restCall) (any, *restError) {
	h, err := p.readHandler(call)
	if err != nil {
		return nil, err
	}
	p.handlers.mu.Lock()
	defer p.handlers.mu.Unlock()
	before := len(p.handlers.list)
	p.handlers.list = slices.DeleteFunc(p.handlers.list, func(known eventHandler) bool {
		if call.params["AUTH_TYPE"] == nil {
			known.User = h.User
		}
		return known == h
	})
	return map[string]int{"count": before - len(p.handlers.list)}, nil
}

func (p *Portal) boundEvents(call restCall) (any, *restError) {
	if call.webhook {
		return nil, errApplication
	}
	p.handlers.mu.Lock()
	defer p.handlers.mu.Unlock()
	return append([]eventHandler{}, p.handlers.list...), nil
}

// clear forgets what an application has bound that is removed.
func (h *handlers) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = nil
}
