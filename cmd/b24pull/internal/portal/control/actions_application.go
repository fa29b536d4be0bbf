package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

type tags struct {
	user
	Tags []string `json:"tags" required:"true" min:"1"`
}

type token struct {
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	Expires      time.Time `json:"expires" doc:"The end of the access token, by the portal's clock."`
	UserID       int       `json:"user_id"`
}

type accessToken struct {
	AccessToken string `json:"access_token"`
}

// canned is the answer of a REST method.
type canned struct {
	Method string            `json:"method" required:"true" min:"1" max:"200" doc:"Such as crm.deal.get."`
	Result json.RawMessage   `json:"result,omitempty" doc:"The result, any JSON. Without result and list the method is again as it was when the portal began."`
	List   []json.RawMessage `json:"list,omitempty" doc:"In place of result: the items of a list method, which come in pages of 50."`
	Field  string            `json:"field,omitempty" doc:"The field of the result that holds the list, such as items; if absent the result is the list."`
}

func (c canned) check(*running) error {
	if !isMethod(c.Method) {
		return badField("method", notMethod, short(c.Method))
	}
	switch {
	case c.Result != nil && c.List != nil:
		return badField("list", "takes the place of result: give it, or that")
	case c.Field != "" && c.List == nil:
		return badField("field", "is of a list, and there is none")
	}
	return nil
}

// method matches the name of a REST method.
var method = regexp.MustCompile(`^\w[\w-]*(\.\w[\w-]*)*$`)

func isMethod(name string) bool { return method.MatchString(name) }

const notMethod = "%q is no name of a method; give one such as crm.deal.get"

// answer is the same for pulltest.
func (c canned) answer() any {
	switch {
	case c.List != nil:
		list := pulltest.List{Items: []any{}, Field: c.Field}
		for _, item := range c.List {
			list.Items = append(list.Items, item)
		}
		return list
	case c.Result != nil:
		return c.Result
	}
	return nil
}

// handler is where the application hears of it.
type handler struct {
	URL string `json:"url" required:"true" doc:"The application's address, http or https."`
}

// call has the portal call the application's handler.
func call(name, does, goName string, of func(*running) func(context.Context, string) error) endpoint {
	return action(name, does, []string{goName}, func(ctx context.Context, p *running, in handler) (nothing, error) {
		to, err := url.Parse(in.URL)
		if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
			return nothing{}, badField("url", "want an address with http:// or https://")
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := of(p)(ctx, in.URL); err != nil {
			return nothing{}, refuse(http.StatusBadGateway, "handler_failed", "the application's handler: %v", err)
		}
		return nothing{}, nil
	})
}

type move struct {
	To string `json:"to,omitempty" enum:"http://,https://" doc:"https:// or http://: the scheme of the new address, which is another port; if absent https://, with plain_urls http://."`
}

type moved struct {
	URL string `json:"url" doc:"The portal's new address."`
}

func applicationEndpoints() []endpoint {
	type caller = func(context.Context, string) error
	return []endpoint{
		action("expire-token", "Ends all access tokens given out so far, and returns a new one.", []string{"ExpireToken"},
			func(_ context.Context, p *running, _ nothing) (accessToken, error) {
				return accessToken{p.ExpireToken()}, nil
			}),
		simple("revoke-tokens", "Takes back all tokens and codes; the application stays installed.", []string{"RevokeTokens"},
			func(p *running, _ nothing) { p.RevokeTokens() }),
		simple("answer", "Gives a REST method an answer that it has from now on.", []string{"Answer"},
			func(p *running, in canned) {
				answer := in.answer()
				if answer == nil {
					answer = p.spec.answerOf(in.Method)
				}
				p.Answer(in.Method, answer)
			}),
		action("token", "Gives out a pair of tokens for a user, as the exchange of a code does.", []string{"Token"},
			func(_ context.Context, p *running, in user) (token, error) { return token(p.Token(in.User)), nil }),
		simple("sign-in", "Says who uses the portal's pages from now on, and authorizes and installs.", []string{"SignIn"},
			func(p *running, in user) { p.SignIn(in.User) }),
		call("install", "Installs the application, and posts to its install handler.", "Install",
			func(p *running) caller { return p.Install }),
		call("install-by-event", "Installs the application, and tells it by the event ONAPPINSTALL.", "InstallByEvent",
			func(p *running) caller { return p.InstallByEvent }),
		call("open", "Opens the application: posts to its address what it gets then.", "Open",
			func(p *running) caller { return p.Open }),
		call("uninstall", "Removes the application with all its tokens, and tells it by ONAPPUNINSTALL.", "Uninstall",
			func(p *running) caller { return p.Uninstall }),
		action("move", "Gives the portal another address; at the old ones it answers 302.", []string{"Move"},
			func(_ context.Context, p *running, in move) (moved, error) { return moved{p.Move(in.To)}, nil }),
		simple("watch", "Subscribes a user to tags, as an open page does.", []string{"Watch"},
			func(p *running, in tags) { p.Watch(in.User, in.Tags...) }),
		simple("unwatch", "Ends watches of a user.", []string{"Unwatch"},
			func(p *running, in tags) { p.Unwatch(in.User, in.Tags...) }),
		simple("activate", "Undoes deactivate.", []string{"Activate"},
			func(p *running, in user) { p.Activate(in.User) }),
		simple("deactivate", "Makes a user inactive.", []string{"Deactivate"},
			func(p *running, in user) { p.Deactivate(in.User) }),
	}
}
