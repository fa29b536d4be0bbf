package pulltest

import (
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
)

// describeError is the description of a documented error code, as far as it is
// known, or else the code itself.
func describeError(code string) string {
	switch code {
	case "QUERY_LIMIT_EXCEEDED":
		return "Too many requests"
	case "SERVER_ERROR":
		return "Push & Pull server is not configured"
	}
	for _, e := range []*restError{errNoAuth, errExpiredToken, errCredentials, errConfigAuth, errInvalidFormat} {
		if e.code == code {
			return e.description
		}
	}
	return code
}

// restCall is a call of a REST method: who calls, and the parameters with upper-case names.
type restCall struct {
	webhook bool
	params  map[string]any
}

func (p *Portal) serveREST(w http.ResponseWriter, r *http.Request) {
	start := p.opts.clock.now()
	params, err := readParams(r)
	var result any
	if err == nil {
		result, err = p.route(r.URL.Path, params)
	}
	p.answer(w, start, result, err)
}

func (p *Portal) answer(w http.ResponseWriter, start time.Time, result any, err *restError) {
	answer := map[string]any{"time": timeOf(start, p.opts.clock.now())}
	status := http.StatusOK
	if err != nil {
		status = err.status
		answer["error"], answer["error_description"] = err.code, err.description
	} else {
		answer["result"] = result
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

// route authorizes the call and finds the method of /rest/method or
// /rest/USER/CODE/method.
func (p *Portal) route(path string, params map[string]any) (any, *restError) {
	parts := strings.Split(strings.Trim(strings.TrimPrefix(path, "/rest/"), "/"), "/")
	call := restCall{params: params}
	switch len(parts) {
	case 1:
		token, _ := params["AUTH"].(string)
		if err := p.auth.check(token); err != nil {
			return nil, err
		}
	case 3:
		call.webhook = true
		if parts[0] != strconv.Itoa(webhookUser) || parts[1] != p.auth.webhook {
			return nil, errCredentials
		}
	default:
		return nil, errMethodNotFound
	}
	switch strings.TrimSuffix(strings.ToLower(parts[len(parts)-1]), ".json") {
	case "pull.application.config.get":
		return p.applicationConfig(call)
	case "pull.config.get":
		return p.userConfig(call)
	case "pull.application.event.add":
		return p.addEvent(call)
	}
	return nil, errMethodNotFound
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

func timeOf(start, finish time.Time) restTime {
	return restTime{
		Start:            float64(start.UnixMicro()) / 1e6,
		Finish:           float64(finish.UnixMicro()) / 1e6,
		Duration:         finish.Sub(start).Seconds(),
		DateStart:        start.In(portalZone).Format(atomTime),
		DateFinish:       finish.In(portalZone).Format(atomTime),
		OperatingResetAt: start.Add(10 * time.Minute).Unix(),
	}
}

// hostname is the portal's name in the config and in events.
func (p *Portal) hostname() string { return strings.TrimPrefix(p.url, "https://") }

// ConfigJSON returns the result of pull.application.config.get as it would be
// answered now.
func (p *Portal) ConfigJSON() []byte {
	data, err := json.Marshal(p.config.config(ofApplication, p.hostname()))
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
	return p.config.config(ofApplication, p.hostname()), nil
}

func (p *Portal) userConfig(call restCall) (any, *restError) {
	if !call.webhook {
		return nil, errUserConfigAuth
	}
	p.push.hub.count(func(s *Stats) { s.Configs++ })
	return p.config.config(ofPortal, p.hostname()), nil
}
