package pulltest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// restError is an error answer of a portal's REST.
type restError struct {
	status            int
	code, description string
}

var (
	errNoAuth         = &restError{http.StatusUnauthorized, "NO_AUTH_FOUND", "Wrong authorization data"}
	errExpiredToken   = &restError{http.StatusUnauthorized, "expired_token", "The access token provided has expired."}
	errCredentials    = &restError{http.StatusForbidden, "INVALID_CREDENTIALS", "Invalid request credentials"}
	errMethodNotFound = &restError{http.StatusNotFound, "ERROR_METHOD_NOT_FOUND", "Method not found!"}
	errInvalidFormat  = &restError{http.StatusBadRequest, "INVALID_FORMAT", "The request body is not valid JSON."}
	errConfigAuth     = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Get access to application config available only for application authorization."}
	errUserConfigAuth = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Get access to user config available only for session or webhook authorization."}
	errEventAuth      = &restError{http.StatusForbidden, "WRONG_AUTH_TYPE", "Send events available only for application authorization."}
	errCommand        = &restError{http.StatusBadRequest, "COMMAND_ERROR", "Command format error"}
	errModule         = &restError{http.StatusBadRequest, "MODULE_ID_ERROR", "Module ID format error"}
	errParams         = &restError{http.StatusBadRequest, "PARAMS_ERROR", "Params format error"}
	errUser           = &restError{http.StatusBadRequest, "USER_ID_ACCESS_ERROR", "No access to the specified user"}
	errScope          = &restError{http.StatusForbidden, "insufficient_scope", "The request requires higher privileges than provided by the access token."}
)

// describeError is the description of a documented error code, as far as it is
// known, or else the code itself.
func describeError(code string) string {
	for _, e := range []*restError{
		errNoAuth, errExpiredToken, errCredentials, errConfigAuth, errInvalidFormat, errQueryLimit, errServer,
		errScope, errInvalidRequest, errInvalidClient, errInvalidGrant, errInvalidScope, errPaymentRequired, errAuthorization,
	} {
		if e.code == code {
			return e.description
		}
	}
	return code
}

// restCall is a call of a REST method: who calls, and the parameters with
// upper-case names.
type restCall struct {
	ctx     context.Context
	webhook bool
	user    int
	params  map[string]any
	order   []string // the keys of CMD, as they came
	events  *events  // of the batch that the call is of; nil: of none
}

func (p *Portal) serveREST(w http.ResponseWriter, r *http.Request) {
	start := p.opts.clock.now()
	var result any
	var used operating
	err := p.limiter.admit(p.opts.limits)
	if err == nil {
		result, used, err = p.route(r)
	}
	p.push.hub.count(func(s *Stats) {
		s.Calls++
		switch err {
		case errQueryLimit:
			s.QueryLimited++
		case errTimeLimit:
			s.TimeLimited++
		}
	})
	if err != nil {
		noteOf(r).event.Reason = err.code
	}
	_, newer := newerAddress(r.URL.Path)
	answer := answerOf(result, err, newer)
	answer["time"] = timeOf(start, p.opts.clock.now(), used)
	writeAnswer(w, err, answer)
}

// answerOf is an answer of REST without its time; the newer REST tells an error
// as an object.
func answerOf(result any, err *restError, newer bool) map[string]any {
	switch {
	case err == nil:
		p, isPage := result.(page)
		if !isPage {
			return map[string]any{"result": result}
		}
		answer := map[string]any{"result": p.result}
		p.tell(func(name string, n int) { answer[name] = n })
		return answer
	case newer:
		return map[string]any{"error": errorObject{Code: err.code, Message: err.description}}
	}
	return map[string]any{"error": err.code, "error_description": err.description}
}

func writeAnswer(w http.ResponseWriter, err *restError, answer map[string]any) {
	status := http.StatusOK
	if err != nil {
		status = err.status
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

// route authorizes a call and makes it.
func (p *Portal) route(r *http.Request) (result any, used operating, err *restError) {
	call := restCall{ctx: r.Context()}
	if call.params, call.order, err = readParams(r); err != nil {
		return nil, used, err
	}
	name, err := p.identify(&call, r.URL.Path)
	if err != nil {
		return nil, used, err
	}
	p.users.call(call.user, p.opts.clock.now())
	return p.run(call, name)
}

// run makes a call of a method, alone or as one of a batch.
func (p *Portal) run(call restCall, name string) (result any, used operating, err *restError) {
	m, known := p.method(name)
	switch {
	case !known:
		return nil, used, errMethodNotFound
	case !p.opts.permits(m.scope):
		return nil, used, errScope
	}
	if name != methodBatch {
		if used, err = p.limiter.operate(p.opts.limits, name, p.opts.clock.now()); err != nil {
			return nil, used, err
		}
	}
	result, err = m.call(p, call)
	return result, used, err
}

// identify finds who calls, and the method of /rest/method or
// /rest/USER/CODE/method, or of the newer addresses that begin with /rest/api/.
func (p *Portal) identify(call *restCall, path string) (method string, err *restError) {
	path, _ = newerAddress(path)
	parts := strings.Split(strings.Trim(strings.TrimPrefix(path, "/rest/"), "/"), "/")
	switch len(parts) {
	case 1:
		token, _ := call.params["AUTH"].(string)
		if call.user, err = p.auth.check(token); err != nil {
			return "", err
		}
	case 3:
		call.webhook, call.user = true, p.opts.first()
		if parts[0] != strconv.Itoa(call.user) || parts[1] != p.auth.webhook {
			return "", errCredentials
		}
	default:
		return "", errMethodNotFound
	}
	return strings.TrimSuffix(strings.ToLower(parts[len(parts)-1]), ".json"), nil
}

type restTime struct {
	Start            float64 `json:"start"`
	Finish           float64 `json:"finish"`
	Duration         float64 `json:"duration"`
	Processing       float64 `json:"processing"`
	DateStart        string  `json:"date_start"`
	DateFinish       string  `json:"date_finish"`
	OperatingResetAt int64   `json:"operating_reset_at"`
	Operating        float64 `json:"operating"`
}

func timeOf(start, finish time.Time, used operating) restTime {
	resetAt := used.resetAt
	if resetAt.IsZero() {
		resetAt = start.Add(operatingWindow)
	}
	return restTime{
		Start:            float64(start.UnixMicro()) / 1e6,
		Finish:           float64(finish.UnixMicro()) / 1e6,
		Duration:         finish.Sub(start).Seconds(),
		DateStart:        start.In(portalZone).Format(atomTime),
		DateFinish:       finish.In(portalZone).Format(atomTime),
		OperatingResetAt: resetAt.Unix(),
		Operating:        used.time.Seconds(),
	}
}

// ConfigJSON returns the result of pull.application.config.get as it would be
// answered now to the first user.
func (p *Portal) ConfigJSON() []byte {
	data, err := json.Marshal(p.config.config(ofApplication, p.opts.first(), p.hostname()))
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	return data
}

func (p *Portal) applicationConfig(call restCall) (any, *restError) {
	if call.webhook && !p.opts.webhookConfig {
		return nil, errConfigAuth
	}
	p.push.hub.count(func(s *Stats) { s.Configs++ })
	return p.config.config(ofApplication, call.user, p.hostname()), nil
}

func (p *Portal) userConfig(call restCall) (any, *restError) {
	if !call.webhook {
		return nil, errUserConfigAuth
	}
	p.push.hub.count(func(s *Stats) { s.Configs++ })
	return p.config.config(ofPortal, call.user, p.hostname()), nil
}
