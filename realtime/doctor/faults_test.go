package doctor_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// A fault is something that is wrong, or not as usual, and what of it the
// golden file is to show.
type fault struct {
	name    string
	portal  []pulltest.Option
	wrong   func(p *pulltest.Portal) // before the config is fetched
	after   func(p *pulltest.Portal) // between the config and the check, of a saved one
	auth    func(p *pulltest.Portal) b24pull.Auth
	client  []b24pull.Option
	saved   bool                    // the portal's config is checked, without the portal
	config  func(c *b24pull.Config) // changes the saved config
	options []doctor.Option
	quiet   bool // no events are sent
}

func misbehave(s pulltest.Service, f pulltest.Fault) func(*pulltest.Portal) {
	return func(p *pulltest.Portal) { p.Misbehave(s, f) }
}

func webhook(p *pulltest.Portal) b24pull.Auth { return b24pull.Webhook(p.Webhook()) }

// as is the application with another token.
func as(token func(p *pulltest.Portal) string) func(*pulltest.Portal) b24pull.Auth {
	return func(p *pulltest.Portal) b24pull.Auth {
		return b24pull.OAuth(p.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token(p)}))
	}
}

func version(v int) []pulltest.Option { return []pulltest.Option{pulltest.WithVersion(v)} }

// once is enough: what is repeated is not these tests' affair.
var once = []b24pull.Option{b24pull.WithRetry(b24pull.Retry{Attempts: 1})}

// healthy are portals without a fault.
var healthy = []fault{
	{name: "version 1", portal: version(1)},
	{name: "version 2", portal: version(2)},
	{name: "version 3", portal: version(3)},
	{name: "version 4"},
	{name: "version 5", portal: version(5)},
	{name: "shared mode", portal: []pulltest.Option{pulltest.WithSharedMode()}},
	{name: "nothing kept, nothing sent", quiet: true},
	{name: "something kept, nothing sent", quiet: true, wrong: func(p *pulltest.Portal) {
		for range 3 {
			p.Emit(pulltest.Message{Command: "order.changed"})
		}
	}},
	{name: "a webhook", auth: webhook},
	{name: "a webhook, by the newer REST", auth: func(p *pulltest.Portal) b24pull.Auth { return b24pull.Webhook(p.APIWebhook()) }},
	{name: "a webhook that gets the application's config", auth: webhook, portal: []pulltest.Option{pulltest.WithWebhookConfig()}},
	{name: "a saved config", saved: true, quiet: true, wrong: func(p *pulltest.Portal) { p.Emit(pulltest.Message{Command: "order.changed"}) }},
	{name: "five idle minutes", options: []doctor.Option{doctor.WithIdle(5 * time.Minute)}},
	{name: "hostile timing", portal: []pulltest.Option{pulltest.WithHostileTiming()}},
}

// faultsOfREST are what portals answer.
var faultsOfREST = []fault{
	{name: "REST: 502", wrong: misbehave(pulltest.REST, pulltest.BadGateway), client: once},
	{name: "REST: silent", wrong: misbehave(pulltest.REST, pulltest.Stall)},
	{name: "REST: login page", wrong: misbehave(pulltest.REST, pulltest.LoginPage)},
	{name: "REST: a web page", wrong: misbehave(pulltest.REST, pulltest.WebPage)},
	{name: "REST: another application's JSON", wrong: misbehave(pulltest.REST, pulltest.ForeignJSON)},
	{name: "REST: empty answers", wrong: misbehave(pulltest.REST, pulltest.EmptyAnswer)},
	{name: "REST: cut answers", wrong: misbehave(pulltest.REST, pulltest.Garble), client: once},
	{name: "REST: lost answers", wrong: misbehave(pulltest.REST, pulltest.LoseAnswer), client: once},
	{name: "REST: 404", wrong: misbehave(pulltest.REST, pulltest.Refuse(http.StatusNotFound))},
	{name: "REST: notices of PHP", wrong: misbehave(pulltest.REST, pulltest.PHPNotice)},
	{name: "REST: moved for good", wrong: misbehave(pulltest.REST, pulltest.Redirect(http.StatusMovedPermanently, "https://new.example/"))},
	{name: "REST: slow", wrong: misbehave(pulltest.REST, pulltest.Delay(3*time.Second))},
	{name: "REST: query limit", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusServiceUnavailable, "QUERY_LIMIT_EXCEEDED")), client: once},
	{name: "REST: time limit", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusTooManyRequests, "OPERATION_TIME_LIMIT"))},
	{name: "REST: overload", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusServiceUnavailable, "OVERLOAD_LIMIT"))},
	{name: "REST: deleted portal", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusInternalServerError, "PORTAL_DELETED"))},
	{name: "REST: no push server", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusInternalServerError, "SERVER_ERROR"))},
	{name: "REST: denied", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusForbidden, "ACCESS_DENIED"))},
	{name: "REST: not this user's application", wrong: misbehave(pulltest.REST, pulltest.RESTError(http.StatusForbidden, "user_access_error"))},
	{name: "REST: an error object", wrong: misbehave(pulltest.REST, pulltest.ErrorObject(http.StatusBadRequest, "BITRIX_REST_V3_EXCEPTION_VALIDATION"))},
	{name: "expired token", auth: as(func(p *pulltest.Portal) string {
		token := p.AccessToken()
		p.ExpireToken()
		return token
	})},
	{name: "unknown token", auth: as(func(*pulltest.Portal) string { return "s3cr3t-of-nobody" })},
	{name: "wrong webhook", auth: func(p *pulltest.Portal) b24pull.Auth { return b24pull.Webhook(p.URL() + "/rest/1/s3cr3tofnobody/") }},
	{name: "no scope", portal: []pulltest.Option{pulltest.WithScope("crm", "user")}},
	{name: "the scope of webhooks alone", portal: []pulltest.Option{pulltest.WithScope("pull_channel")}},
	{name: "a webhook without its scope", portal: []pulltest.Option{pulltest.WithScope("pull")}, auth: webhook},
	{name: "no administrator", auth: as(func(p *pulltest.Portal) string { return p.Token(2).AccessToken })},
	{name: "a user who is not active", wrong: func(p *pulltest.Portal) { p.Deactivate(1) }},
	{name: "moved", auth: func(p *pulltest.Portal) b24pull.Auth {
		old := as((*pulltest.Portal).AccessToken)(p)
		p.Move("new.example")
		return old
	}},
	{name: "moved, and not followed", auth: func(p *pulltest.Portal) b24pull.Auth {
		old := as((*pulltest.Portal).AccessToken)(p)
		p.Move("new.example")
		return old
	}, client: []b24pull.Option{b24pull.WithMoved(stay)}},
}

// faultsOfConfigs are configs that cannot be used, or not to the full.
var faultsOfConfigs = []fault{
	{name: "no websockets", portal: []pulltest.Option{pulltest.WithoutWebSockets()}},
	{name: "no polls", portal: []pulltest.Option{pulltest.WithoutPolling()}},
	{name: "no polls, nothing sent", portal: []pulltest.Option{pulltest.WithoutPolling()}, quiet: true},
	{name: "no polls on version 1", portal: []pulltest.Option{pulltest.WithVersion(1), pulltest.WithoutPolling()}},
	{name: "neither", portal: []pulltest.Option{pulltest.WithoutPolling(), pulltest.WithoutWebSockets()}},
	{name: "no private channel", wrong: func(p *pulltest.Portal) { p.OmitChannel(pulltest.Private, -1) }},
	{name: "no shared channel", wrong: func(p *pulltest.Portal) { p.OmitChannel(pulltest.Shared, -1) }},
	{name: "no channels", wrong: func(p *pulltest.Portal) {
		p.OmitChannel(pulltest.Private, -1)
		p.OmitChannel(pulltest.Shared, -1)
	}},
	{name: "channels that have ended", saved: true, quiet: true, portal: []pulltest.Option{pulltest.WithChannelLife(time.Minute)}, after: func(*pulltest.Portal) { time.Sleep(2 * time.Minute) }},
	{name: "a config that has ended", saved: true, quiet: true, portal: []pulltest.Option{pulltest.WithConfigLife(time.Minute)}, after: func(*pulltest.Portal) { time.Sleep(2 * time.Minute) }},
	{name: "channels that the push server does not know", saved: true, quiet: true, after: func(p *pulltest.Portal) { _ = p.Reset() }, wrong: func(p *pulltest.Portal) { p.ReplaceChannel(pulltest.Private); p.ReplaceChannel(pulltest.Shared) }},
}

// stay follows no portal.
func stay(context.Context, string, string) error { return errors.New("stay where you are") }

// faultsOfPush are push servers, and what stands before them.
var faultsOfPush = slices.Concat(
	eachPush("websockets", pulltest.WebSockets, 4),
	eachPush("polls", pulltest.Polls, 4),
	eachPush("polls on version 1", pulltest.Polls, 1),
	eachPush("both", pulltest.Polls|pulltest.WebSockets, 4),
	[]fault{
		{name: "polls: broken message", wrong: kept(misbehave(pulltest.Polls, pulltest.Garble))},
		{name: "polls: broken answer", wrong: kept(misbehave(pulltest.Polls, pulltest.GarbleFrame))},
		{name: "polls: compressed", wrong: kept(misbehave(pulltest.Polls, pulltest.Compressed("gzip")))},
		{name: "polls: unknown compression", wrong: kept(misbehave(pulltest.Polls, pulltest.Compressed("zstd")))},
		{name: "polls: notices of PHP", wrong: kept(misbehave(pulltest.Polls, pulltest.PHPNotice))},
		{name: "polls: a cache", wrong: kept(misbehave(pulltest.Polls, pulltest.StaleCache))},
		{name: "polls: cut after 30s by a gateway", portal: []pulltest.Option{pulltest.WithIdleTimeout(30 * time.Second)}, quiet: true},
		{name: "cut when idle", portal: []pulltest.Option{pulltest.WithIdleTimeout(time.Minute)}, options: []doctor.Option{doctor.WithIdle(5 * time.Minute)}},
		{name: "a gateway that repeats what it is asked", portal: []pulltest.Option{pulltest.WithHandler(echo("/push/", http.StatusBadGateway))}},
		{name: "a gateway that repeats what it is asked, and says that all is well", portal: []pulltest.Option{pulltest.WithHandler(echo("/push/", http.StatusOK))}},
		{name: "a portal that repeats what it is asked", portal: []pulltest.Option{pulltest.WithHandler(echo("/rest/", http.StatusBadGateway))}, auth: webhook, client: once},
		{name: "a silent process", wrong: func(p *pulltest.Portal) { p.Silence(0, time.Hour) }},
		{name: "the portal's clock an hour ahead", portal: []pulltest.Option{pulltest.WithClockShift(time.Hour)}},
		{name: "the portal's clock a minute behind", portal: []pulltest.Option{pulltest.WithClockShift(-time.Minute)}},
		{name: "the portal's clock a day behind", portal: []pulltest.Option{pulltest.WithClockShift(-24 * time.Hour)}},
		{name: "wrong client id", saved: true, quiet: true, portal: []pulltest.Option{pulltest.WithSharedMode()}, config: func(c *b24pull.Config) { c.ClientID = strings.Repeat("0", 32) }},
		{name: "wrong channels", saved: true, quiet: true, config: wrongChannels},
		{name: "wrong channels on version 1", portal: version(1), saved: true, quiet: true, config: wrongChannels},
		{name: "wrong channels on version 3", portal: version(3), saved: true, quiet: true, config: wrongChannels},
		{name: "wrong jwt", portal: version(5), saved: true, quiet: true, config: func(c *b24pull.Config) { c.JWT = "s3cr3t.s3cr3t.s3cr3t" }},
		{name: "a version of the future", saved: true, quiet: true, config: func(c *b24pull.Config) { c.Server.Version = 6 }},
		{name: "no version", saved: true, quiet: true, config: func(c *b24pull.Config) { c.Server.Version = 0 }},
		{name: "addresses that are none", saved: true, quiet: true, config: func(c *b24pull.Config) {
			c.Server.WebSocket, c.Server.WebSocketSecure = "", "portal.example/subws"
		}},
		{name: "a server that is not used", saved: true, quiet: true, config: func(c *b24pull.Config) { c.Server.Enabled = false }},
		{name: "a push server that nobody listens at", saved: true, quiet: true, config: func(c *b24pull.Config) {
			c.Server.WebSocket, c.Server.WebSocketSecure = "", "wss://push.example:8895/subws/"
			c.Server.LongPolling, c.Server.LongPollingSecure = "", "https://push.example:8895/sub/"
		}},
		{name: "a push server at the wrong path", saved: true, quiet: true, config: func(c *b24pull.Config) {
			c.Server.WebSocket, c.Server.WebSocketSecure = "", "wss://portal.example/bitrix/subws/"
			c.Server.LongPolling, c.Server.LongPollingSecure = "", "https://portal.example/bitrix/sub/"
		}},
	},
)

func wrongChannels(c *b24pull.Config) {
	for _, channel := range []*b24pull.Channel{c.Channels.Private, c.Channels.Shared} {
		channel.ID = "s3cr3ts3cr3ts3cr3ts3cr3t.s3cr3ts3cr3t"
	}
}

// echo answers what is below a path with what was asked, secrets and all.
func echo(path string, status int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, path) {
				next.ServeHTTP(w, r)
				return
			}
			asked := r.URL.String()
			if at := strings.Index(asked, pulltest.SecretMark); at >= 0 {
				asked = asked[at:] // what is first is not cut away
			}
			w.Header().Set("Server", asked)
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, asked)
		})
	}
}

// kept has something be kept before the fault.
func kept(wrong func(*pulltest.Portal)) func(*pulltest.Portal) {
	return func(p *pulltest.Portal) {
		for range 4 {
			p.Emit(pulltest.Message{Command: "order.changed"})
		}
		wrong(p)
	}
}

// eachPush are the faults that a service of a push server can have.
func eachPush(name string, s pulltest.Service, v int) (faults []fault) {
	for _, f := range []struct {
		name  string
		fault pulltest.Fault
	}{
		{"502", pulltest.BadGateway}, {"silent", pulltest.Stall}, {"login page", pulltest.LoginPage},
		{"a web page", pulltest.WebPage}, {"login form", pulltest.LoginForm}, {"another application's JSON", pulltest.ForeignJSON},
		{"empty answers", pulltest.EmptyAnswer}, {"304 at once", pulltest.InstantNotModified},
		{"403", pulltest.Refuse(http.StatusForbidden)}, {"404", pulltest.Refuse(http.StatusNotFound)},
		{"429", pulltest.Refuse(http.StatusTooManyRequests)}, {"slow", pulltest.Delay(3 * time.Second)},
		{"very slow", pulltest.Delay(30 * time.Second)},
	} {
		faults = append(faults, fault{name: name + ": " + f.name, portal: version(v), wrong: misbehave(s, f.fault)})
	}
	return faults
}
