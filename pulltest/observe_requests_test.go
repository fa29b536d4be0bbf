package pulltest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// ask makes a request, whatever comes of it.
func (w watched) ask(method, target, body string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, target, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	resp, err := w.HTTPClient().Transport.RoundTrip(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// requestLine is what is told of a request, in short.
func requestLine(e pulltest.Event) string {
	return strings.Join(strings.Fields(strings.Join([]string{
		e.Service, e.HTTPMethod, e.Path, e.Method, fmt.Sprint(e.Status), e.Reason, e.Fault, e.Duration.Round(time.Second).String(),
	}, " ")), " ")
}

func TestObserver_Requests(t *testing.T) {
	fault := func(s pulltest.Service, f pulltest.Fault, then func(w watched)) func(watched) {
		return func(w watched) { w.Misbehave(s, f); then(w) }
	}
	config := func(w watched) { w.ask("GET", w.URL()+"/rest/pull.application.config.get?auth="+w.AccessToken(), "") }
	poll := func(w watched) { w.ask("GET", subURL(w.T, w.Portal, ""), "") }
	upgrade := func(w watched) {
		if ws, _, err := dialURL(w.Portal, subURL(w.T, w.Portal, "")); err == nil {
			ws.Close()
		}
	}
	for _, c := range []struct {
		name, want string
		do         func(w watched)
	}{
		{"rest", "rest GET /rest/pull.application.config.get pull.application.config.get 200 0s", config},
		{"webhook", "rest POST /rest/1/…/pull.config.get.json pull.config.get 200 0s", func(w watched) { w.ask("POST", w.Webhook()+"pull.config.get.json", "") }},
		{"newer webhook", "rest GET /rest/api/1/…/pull.config.get pull.config.get 200 0s", func(w watched) { w.ask("GET", w.APIWebhook()+"pull.config.get", "") }},
		{"refused", "rest GET /rest/im.v2.chat.add im.v2.chat.add 401 NO_AUTH_FOUND 0s", func(w watched) { w.ask("GET", w.URL()+"/rest/im.v2.chat.add?auth=s3cr3t", "") }},
		{"another's webhook", "rest GET /rest/1/…/profile profile 403 INVALID_CREDENTIALS 0s", func(w watched) { w.ask("GET", w.URL()+"/rest/1/abcdefgh/profile", "") }},
		{"no method", "rest GET /rest/1/… 404 ERROR_METHOD_NOT_FOUND 0s", func(w watched) { w.ask("GET", w.URL()+"/rest/1/abcdefghijklmnop", "") }},
		{"oauth", "oauth POST /oauth/token/ 400 invalid_request 0s", func(w watched) { w.ask("POST", w.AuthServer()+"/oauth/token/", "client_secret=s3cr3t") }},
		{"authorize", "oauth GET /oauth/authorize/ 302 0s", func(w watched) {
			w.ask("GET", w.URL()+"/oauth/authorize/?redirect_uri=https://x.example/&client_id="+w.Application().ClientID, "")
		}},
		{"poll", "poll GET /push/sub/ 304 40s", poll},
		{"cut poll", "poll GET /push/sub/ 0 3s", func(w watched) { time.AfterFunc(3*time.Second, func() { w.Cut() }); poll(w) }},
		{"refused poll", "poll GET /push/sub/ 400 0s", func(w watched) { w.ask("GET", w.PushURL()+"/sub/?CHANNEL_ID=s3cr3t", "") }},
		{"websocket", "websocket GET /push/sub/ 101 0s", upgrade},
		{"publish", "publish POST /push/rest/ 400 0s", func(w watched) { w.ask("POST", w.PushURL()+"/rest/?CHANNEL_ID=s3cr3t", "x") }},
		{"pub", "push POST /push/pub/ 200 0s", func(w watched) { w.ask("POST", w.PushURL()+"/pub/?CHANNEL_ID=s3cr3t", "x") }},
		{"server-stat", "push GET /push/server-stat/ 200 0s", func(w watched) { w.ask("GET", w.PushURL()+"/server-stat/", "") }},
		{"anything", "other GET /…/a 404 0s", func(w watched) { w.ask("GET", w.URL()+"/s3cr3ts3cr3ts3cr3t/a", "") }},
		{"bad gateway", "rest GET /rest/pull.application.config.get pull.application.config.get 502 bad_gateway 0s", fault(pulltest.REST, pulltest.BadGateway, config)},
		{"rest error", "rest GET /rest/pull.application.config.get pull.application.config.get 503 OVERLOAD_LIMIT rest_error 0s",
			fault(pulltest.REST, pulltest.RESTError(503, "OVERLOAD_LIMIT"), config)},
		{"delay", "rest GET /rest/pull.application.config.get pull.application.config.get 200 delay 5s",
			fault(pulltest.REST, pulltest.Delay(5*time.Second), config)},
		{"lost answer", "rest GET /rest/pull.application.config.get pull.application.config.get 0 lose_answer 0s",
			fault(pulltest.REST, pulltest.LoseAnswer, config)},
		{"zero fault", "rest GET /rest/pull.application.config.get pull.application.config.get 502 bad_gateway 0s", fault(pulltest.REST, pulltest.Fault{}, config)},
		{"of tokens only", "rest GET /rest/pull.application.config.get pull.application.config.get 200 0s", fault(pulltest.REST, pulltest.TokenField("x", 1), config)},
		{"not of publishing", "publish POST /push/rest/ 400 0s", fault(pulltest.Publishing, pulltest.Garble, func(w watched) { w.ask("POST", w.PushURL()+"/rest/?CHANNEL_ID=s3cr3t", "x") })},
		{"garble", "rest GET /rest/pull.application.config.get pull.application.config.get 200 garble 0s", fault(pulltest.REST, pulltest.Garble, config)},
		{"stall", "poll GET /push/sub/ 0 stall 7s", fault(pulltest.Polls, pulltest.Stall, func(w watched) {
			time.AfterFunc(7*time.Second, func() { w.Behave(pulltest.Polls) })
			poll(w)
		})},
		{"stalled websocket", "websocket GET /push/sub/ 0 stall 7s", fault(pulltest.WebSockets, pulltest.Stall, func(w watched) {
			time.AfterFunc(7*time.Second, func() { w.Behave(pulltest.WebSockets) })
			upgrade(w)
		})},
		{"unknown to the service", "rest GET /rest/pull.application.config.get pull.application.config.get 200 0s", fault(pulltest.REST, pulltest.StaleCache, config)},
		{"once only", "rest GET /rest/pull.application.config.get pull.application.config.get 200 0s",
			fault(pulltest.REST, pulltest.BadGateway.Times(1), func(w watched) { config(w); synctest.Wait(); w.take(true); config(w) })},
		{"restart", "push GET /push/server-stat/ 0 0s", func(w watched) {
			w.RestartServer(time.Hour)
			time.Sleep(time.Second)
			w.ask("GET", w.PushURL()+"/server-stat/", "")
		}},
		{"implied status", "poll OPTIONS /push/sub/ 200 0s", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opts []pulltest.Option
			if c.do == nil {
				c.want = strings.Replace(c.want, "poll", "push", 1)
				opts = append(opts, pulltest.WithVersion(2))
				c.do = func(w watched) { w.ask("OPTIONS", w.PushURL()+"/sub/", "") }
			}
			observed(t, func(w watched) {
				c.do(w)
				synctest.Wait()
				list := w.take(true)
				if len(list) != 1 || requestLine(list[0]) != c.want {
					for _, e := range list {
						w.Errorf("told %s", requestLine(e))
					}
					w.Errorf("want %s", c.want)
				}
			}, opts...)
		})
	}
}

// TestObserver_Middleware: a handler before the portal's finds the same
// ResponseWriter, observed or not.
func TestObserver_Middleware(t *testing.T) {
	observed(t, func(w watched) {
		w.ask("GET", w.URL()+"/hijack", "")
		synctest.Wait() // until its handler, which answers itself, has returned
		w.ask("GET", w.URL()+"/flush", "")
		synctest.Wait()
		list := w.take(true)
		if len(list) != 2 || requestLine(list[0]) != "other GET /hijack 0 0s" || requestLine(list[1]) != "other GET /flush 200 0s" {
			w.Errorf("told %+v", list)
		}
	}, pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/hijack":
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					conn.Close()
				}
			case "/flush":
				w.(http.Flusher).Flush()
			default:
				next.ServeHTTP(w, r)
			}
		})
	}))
}

// TestObserver_Secrets: nothing that is told has a secret in it.
func TestObserver_Secrets(t *testing.T) {
	for version := 1; version <= 5; version++ {
		for _, seed := range []string{"", "seed"} {
			t.Run(fmt.Sprint("version ", version, " seed ", seed), func(t *testing.T) {
				opts := []pulltest.Option{
					pulltest.WithVersion(version), pulltest.WithHandover(0),
					pulltest.WithApplication(pulltest.Application{Name: "x", ClientSecret: "s3cr3t-of-the-client", ApplicationToken: "s3cr3t-token"}),
				}
				if seed != "" {
					opts = append(opts, pulltest.WithChannels(seed))
				}
				observed(t, func(w watched) { everything(w, version) }, opts...)
			})
		}
	}
}

// TestObserver_SecretsAmongDigits: a channel id is found also where what stands
// before or behind it looks like a part of it.
func TestObserver_SecretsAmongDigits(t *testing.T) {
	observed(t, func(w watched) {
		id := channels(w.T, w.Portal).Channels["private"].ID[:32]
		for _, around := range [][2]string{{"", ""}, {"\\u00e9", ""}, {"\\f", "0"}, {"", "abcdef"}, {"0123456789", ""}} {
			w.Emit(pulltest.Message{Body: `{"a":"` + around[0] + id + around[1] + `"}`})
		}
		synctest.Wait()
		told := 0
		for _, e := range w.take(false) {
			if e.Kind != pulltest.Published {
				continue
			}
			if told++; strings.Contains(e.Body, id) || !strings.Contains(e.Body, "…") {
				w.Errorf("the id in message %d is told", told)
			}
		}
		if told != 5 {
			w.Errorf("%d messages are told of", told)
		}
	}, pulltest.WithChannels("seed"))
}

// everything does much of what can be told of, and looks for secrets in it.
func everything(w watched, version int) {
	secrets := []string{w.AccessToken(), w.Token(1).RefreshToken, pulltest.SecretMark, "s3cr3t"}
	known := func() {
		ids := regexp.MustCompile(`[0-9a-f]{32,}`)
		secrets = append(secrets, ids.FindAllString(string(w.ConfigJSON()), -1)...)
		var config struct{ JWT string }
		json.Unmarshal(w.ConfigJSON(), &config)
		if config.JWT != "" {
			secrets = append(secrets, config.JWT)
		}
	}
	known()
	path := "/sub/"
	if version < 3 {
		path = "/subws/"
	}
	ws, _, err := dialURL(w.Portal, framedURL(w, path))
	if err != nil {
		w.Fatal(err)
	}
	defer ws.Close()
	w.ask("GET", w.URL()+"/rest/pull.application.config.get?auth="+w.AccessToken(), "")
	w.ask("GET", w.Webhook(), "")
	w.ask("GET", strings.TrimSuffix(w.Webhook(), "/"), "")
	w.ask("GET", w.URL()+"/rest/"+w.AccessToken(), "")
	w.ask("GET", w.URL()+"/rest/"+w.AccessToken()+".json", "")
	w.ask("GET", w.URL()+"/rest/1/"+w.AccessToken()+"/"+w.AccessToken(), "")
	w.ask("GET", w.PushURL()+"/sub/"+url.PathEscape(channelParam(w.T, w.Portal)), "")
	w.ask("GET", w.PushURL()+"/pub/"+channels(w.T, w.Portal).Channels["shared"].ID, "")
	w.ask(w.AccessToken(), w.URL()+"/rest/profile", "")
	app := w.Application()
	w.ask("POST", w.AuthServer()+"/oauth/token/?client_secret="+app.ClientSecret, "")
	ws.WriteMessage(websocket.TextMessage, []byte(w.AccessToken()))
	for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared, pulltest.UserPrivate} {
		for _, action := range []string{"reconnect", "get_config"} {
			w.ExpireChannel(to, action)
			known()
		}
		w.RetireChannel(to)
		known()
	}
	w.ExpireConfig()
	w.Emit(pulltest.Message{Command: w.AccessToken(), Module: app.ClientSecret, Params: map[string]string{app.ApplicationToken: string(w.ConfigJSON())}})
	w.Emit(pulltest.Message{Body: "no JSON " + channelParam(w.T, w.Portal)})
	synctest.Wait()
	list := w.take(false)
	if len(list) < 10 {
		w.Errorf("only %d events", len(list))
	}
	w.eventLog.mu.Lock()
	defer w.eventLog.mu.Unlock()
	for _, e := range append(list, w.eventLog.list...) {
		data, err := json.Marshal(e)
		if err != nil {
			w.Fatal(err)
		}
		for i, secret := range secrets {
			if strings.Contains(string(data), secret) {
				w.Errorf("%s %s tells secret %d", e.Kind, e.Service, i)
			}
		}
	}
}
