package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// Spec is how a portal is to be made: what the options of pulltest say.
type Spec struct {
	Name         string `json:"name" required:"true" min:"1" max:"64" doc:"Names the portal in the control API: letters, digits, - and _."`
	Version      int    `json:"version,omitempty" min:"1" max:"5" doc:"Version of the push server, 1 to 5; 4 if absent."`
	Address      string `json:"address,omitempty" doc:"host:port for https; a free loopback port if absent."`
	Hostname     string `json:"hostname,omitempty" doc:"What the portal calls itself, where that is not the host of the address."`
	PlainAddress string `json:"plain_address,omitempty" doc:"host:port for plain http beside it; none if absent."`
	PlainURLs    bool   `json:"plain_urls,omitempty" doc:"All addresses that the portal tells of itself are plain http."`
	PushPath     string `json:"push_path,omitempty" doc:"The path below which the push server lives; /push if absent, / is the root."`
	Key          string `json:"key,omitempty" doc:"The signature key that the portal shares with its push server."`
	Seed         string `json:"seed,omitempty" doc:"Makes the channel ids the same in every run."`

	Users       []User                     `json:"users,omitempty" min:"1" max:"10000" doc:"Who uses the portal: the first is who the webhook acts for; 1, an administrator, and 2 if absent."`
	Scopes      []string                   `json:"scopes,omitempty" doc:"What the application and the webhook may do; pull, pull_channel and user if absent."`
	Application *Application               `json:"application,omitempty" doc:"The application; what is absent of it is made up."`
	Answers     map[string]json.RawMessage `json:"answers,omitempty" doc:"Results of REST methods, by the method's name."`
	History     []message                  `json:"history,omitempty" max:"10000" doc:"Messages from a minute before the portal began. Channels that get none of them hold one of the portal's own; if absent, all are empty."`

	Shared            bool       `json:"shared,omitempty" doc:"A push server that many portals share, as in the cloud."`
	Hostile           bool       `json:"hostile,omitempty" doc:"Wide holes, disorder of 1 s, two processes of each kind and a ping every 5 s."`
	Processes         *Processes `json:"processes,omitempty" doc:"Processes of the push server; one of each if absent, two with hostile."`
	WithoutWebSockets bool       `json:"without_websockets,omitempty" doc:"Switches websockets off."`
	WithoutPolling    bool       `json:"without_polling,omitempty" doc:"Switches long polling off."`
	WebhookConfig     bool       `json:"webhook_config,omitempty" doc:"Gives the application's config to a webhook too, as older portals did."`
	StringNumbers     bool       `json:"string_numbers,omitempty" doc:"Numbers of the authorization server as strings."`

	PingInterval     *float64        `json:"ping_interval_seconds,omitempty" min:"0" max:"1e9" doc:"How often each websocket is pinged; 0: never."`
	TextPing         *float64        `json:"text_ping_seconds,omitempty" min:"0" max:"1e9" doc:"How often the text ping is sent (version 5); 0: never."`
	Gather           *float64        `json:"gather_seconds,omitempty" min:"0" max:"1e9" doc:"How long messages are gathered for a websocket; 0: each is a frame."`
	Handover         *float64        `json:"handover_seconds,omitempty" min:"0" max:"1e9" doc:"The hole between history and live delivery."`
	Disorder         *float64        `json:"disorder_seconds,omitempty" min:"0" max:"1e9" doc:"How long a message takes at most from its id to its storing."`
	LongPollHold     *float64        `json:"long_poll_hold_seconds,omitempty" min:"0.001" max:"1e9" doc:"How long a long poll hangs."`
	IdleTimeout      *float64        `json:"idle_timeout_seconds,omitempty" min:"0" max:"1e9" doc:"When a middle box ends silent connections; 0: there is none."`
	ChannelLife      *float64        `json:"channel_life_seconds,omitempty" min:"1" max:"1e9" doc:"How long a channel lives."`
	ConfigLife       *float64        `json:"config_life_seconds,omitempty" min:"1" max:"1e9" doc:"How far ahead the end of a config lies."`
	TokenLife        *float64        `json:"token_life_seconds,omitempty" min:"1" max:"1e9" doc:"How long the jwt of a config is good (version 5)."`
	AccessTokenLife  *float64        `json:"access_token_life_seconds,omitempty" min:"1" max:"1e9" doc:"How long access tokens are good."`
	RefreshTokenLife *float64        `json:"refresh_token_life_seconds,omitempty" min:"1" max:"1e9" doc:"How long refresh tokens are good."`
	ClockShift       *float64        `json:"clock_shift_seconds,omitempty" min:"-4e9" max:"4e9" doc:"How far the portal's clocks are ahead."`
	Traffic          int             `json:"traffic_per_second,omitempty" min:"0" max:"1000000" doc:"Message ids that others take, a second."`
	QueryLimit       *QueryLimit     `json:"query_limit,omitempty" doc:"Calls of REST that come faster are refused; no limit if absent."`
	OperatingLimit   *OperatingLimit `json:"operating_limit,omitempty" doc:"Methods that have used up their time are refused; no limit if absent."`
}

// User is [pulltest.User] as JSON.
type User struct {
	ID       int    `json:"id" required:"true" min:"1"`
	Name     string `json:"name,omitempty"`
	LastName string `json:"last_name,omitempty"`
	Email    string `json:"email,omitempty"`
	Admin    bool   `json:"admin,omitempty" doc:"An administrator of the portal."`
}

// Application is [pulltest.Application] as JSON.
type Application struct {
	Name             string `json:"name,omitempty" doc:"The name; without one push notifications are refused."`
	ClientID         string `json:"client_id,omitempty"`
	ClientSecret     string `json:"client_secret,omitempty"`
	ApplicationToken string `json:"application_token,omitempty" doc:"Tells the application that an event comes from the portal."`
	RedirectURL      string `json:"redirect_url,omitempty" doc:"Where /oauth/authorize/ leads if its redirect_uri does not say."`
}

// Processes is how many processes a push server has.
type Processes struct {
	Subscribers int `json:"subscribers" required:"true" min:"1" max:"64"`
	Publishers  int `json:"publishers" required:"true" min:"1" max:"64"`
}

// QueryLimit is a leaky bucket of calls of REST.
type QueryLimit struct {
	Burst     int     `json:"burst" required:"true" min:"1" max:"1000000"`
	PerSecond float64 `json:"per_second" required:"true" min:"0.001" max:"1e6"`
}

// OperatingLimit is how long a method may work in ten minutes.
type OperatingLimit struct {
	Limit   float64 `json:"limit_seconds" required:"true" min:"0.001" max:"1e6"`
	PerCall float64 `json:"call_seconds" required:"true" min:"0" max:"1e6" doc:"How long each call is said to take."`
}

// Check reports what is wrong with it, but for addresses that are taken.
func (s *Spec) Check() error {
	data, err := json.Marshal(s)
	if err == nil {
		err = Decode(data, new(Spec))
	}
	if err == nil {
		err = s.check()
	}
	return err
}

// check is what the tags cannot say.
func (s *Spec) check() error {
	for _, r := range s.Name {
		if !(r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return badField("name", "want letters, digits, - and _ only")
		}
	}
	if s.WithoutPolling && s.WithoutWebSockets {
		return badField("without_polling", "without websockets and without polling nobody can listen")
	}
	for _, addr := range []struct{ name, value string }{{"address", s.Address}, {"plain_address", s.PlainAddress}} {
		if err := CheckAddress(addr.value); addr.value != "" && err != nil {
			return badField(addr.name, "%v", err)
		}
	}
	if s.Hostname != "" && (!IsHost(s.Hostname) || strings.Contains(s.Hostname, ":")) {
		return badField("hostname", "want a name, without scheme and port, not %q", short(s.Hostname))
	}
	seen := make(map[int]bool)
	for i, u := range s.Users {
		if seen[u.ID] {
			return badField(fmt.Sprintf("users[%d].id", i), "user %d is there twice", u.ID)
		}
		seen[u.ID] = true
	}
	if err := s.checkAnswers(); err != nil {
		return err
	}
	for i := range s.History {
		if err := s.History[i].check(fmt.Sprintf("history[%d]", i)); err != nil {
			return err
		}
	}
	switch first, _, _ := strings.Cut(strings.TrimPrefix(s.PushPath, "/"), "/"); {
	case s.PushPath == "":
	case !strings.HasPrefix(s.PushPath, "/") || strings.ContainsAny(s.PushPath, "?#% ") || strings.Contains(s.PushPath, "//"):
		return badField("push_path", "want a path such as /push, or / for the root, not %q", short(s.PushPath))
	case first == "rest" || first == "oauth":
		return badField("push_path", "want a path outside /rest/ and /oauth/, where the portal has its own, not %q", short(s.PushPath))
	}
	if s.PlainURLs && s.PlainAddress == "" {
		return badField("plain_urls", "needs plain_address, which says where they lead")
	}
	return nil
}

// checkAnswers reports names that are none, or are one for REST.
func (s *Spec) checkAnswers() error {
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(s.Answers)) {
		lower := strings.ToLower(name)
		switch {
		case !isMethod(name):
			return badField("answers", notMethod, short(name))
		case seen[lower]:
			return badField("answers", "%q is there twice: small letters and capitals are the same in it", short(name))
		}
		seen[lower] = true
	}
	return nil
}

// answerOf is the answer that a method has when the portal begins; nil is none.
func (s *Spec) answerOf(method string) any {
	for name, result := range s.Answers {
		if strings.EqualFold(name, method) {
			return result
		}
	}
	return nil
}

// CheckAddress reports what is wrong with a host:port to listen at.
func CheckAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if _, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || host != "" && !IsHost(host) {
		return fmt.Errorf("want host:port such as 127.0.0.1:8443, with a port from 0 to 65535, not %q", short(text))
	}
	return nil
}

var hostName = regexp.MustCompile(`^\w([\w.-]*\w)?\.?$`)

// IsHost reports whether it is a host's name or its IP address.
func IsHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostName.MatchString(text)
}

func (s *Spec) version() int {
	if s.Version == 0 {
		return 4
	}
	return s.Version
}

// names are those that the portal's certificate must have, besides loopback.
func (s *Spec) names() (names []string) {
	for _, addr := range []string{s.Address, s.PlainAddress} {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			names = append(names, host)
		}
	}
	return append(names, s.Hostname)
}

func (s *Spec) processes() Processes {
	switch {
	case s.Processes != nil:
		return *s.Processes
	case s.Hostile:
		return Processes{2, 2}
	}
	return Processes{1, 1}
}

// options are the same for pulltest.
func (s *Spec) options() []pulltest.Option {
	opts := []pulltest.Option{pulltest.WithVersion(s.version())}
	add := func(is bool, o func() pulltest.Option) {
		if is {
			opts = append(opts, o())
		}
	}
	add(s.Hostile, pulltest.WithHostileTiming) // others change its parts
	n := s.processes()
	opts = append(opts, pulltest.WithProcesses(n.Subscribers, n.Publishers))
	add(s.Shared, pulltest.WithSharedMode)
	add(s.WithoutWebSockets, pulltest.WithoutWebSockets)
	add(s.WithoutPolling, pulltest.WithoutPolling)
	add(s.WebhookConfig, pulltest.WithWebhookConfig)
	add(s.StringNumbers, pulltest.WithStringNumbers)
	add(s.PlainAddress != "", func() pulltest.Option { return pulltest.WithPlainHTTP(s.PlainAddress) })
	add(s.PlainURLs, pulltest.WithPlainURLs)
	add(s.Address != "", func() pulltest.Option { return pulltest.WithAddress(s.Address) })
	add(s.Hostname != "", func() pulltest.Option { return pulltest.WithHostname(s.Hostname) })
	add(s.PushPath != "", func() pulltest.Option { return pulltest.WithPushPath(s.PushPath) })
	add(s.Key != "", func() pulltest.Option { return pulltest.WithKey(s.Key) })
	add(s.Seed != "", func() pulltest.Option { return pulltest.WithChannels(s.Seed) })
	add(s.Scopes != nil, func() pulltest.Option { return pulltest.WithScope(s.Scopes...) })
	add(s.Traffic > 0, func() pulltest.Option { return pulltest.WithTraffic(s.Traffic) })
	if s.Users != nil {
		var users []pulltest.User
		for _, u := range s.Users {
			users = append(users, pulltest.User(u))
		}
		opts = append(opts, pulltest.WithUsers(users...))
	}
	if s.History != nil {
		var messages []pulltest.Message
		for _, m := range s.History {
			messages = append(messages, m.pulltest())
		}
		opts = append(opts, pulltest.WithHistory(messages...))
	}
	if a := s.Application; a != nil {
		opts = append(opts, pulltest.WithApplication(pulltest.Application(*a)))
	}
	if l := s.QueryLimit; l != nil {
		opts = append(opts, pulltest.WithQueryLimit(l.Burst, l.PerSecond))
	}
	if l := s.OperatingLimit; l != nil {
		opts = append(opts, pulltest.WithOperatingLimit(seconds(l.Limit), seconds(l.PerCall)))
	}
	for _, timing := range []struct {
		value  *float64
		option func(time.Duration) pulltest.Option
	}{
		{s.PingInterval, pulltest.WithPingInterval},
		{s.TextPing, pulltest.WithTextPing},
		{s.Gather, pulltest.WithGather},
		{s.Handover, pulltest.WithHandover},
		{s.Disorder, pulltest.WithDisorder},
		{s.LongPollHold, pulltest.WithLongPollHold},
		{s.IdleTimeout, pulltest.WithIdleTimeout},
		{s.ChannelLife, pulltest.WithChannelLife},
		{s.ConfigLife, pulltest.WithConfigLife},
		{s.TokenLife, pulltest.WithTokenLife},
		{s.AccessTokenLife, pulltest.WithAccessTokenLife},
		{s.RefreshTokenLife, pulltest.WithRefreshTokenLife},
		{s.ClockShift, pulltest.WithClockShift},
	} {
		if timing.value != nil {
			opts = append(opts, timing.option(seconds(*timing.value)))
		}
	}
	return opts
}

// seconds is a number of seconds as a Duration.
func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
