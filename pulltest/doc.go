// Package pulltest plays a Bitrix24 portal in memory: its REST methods for
// the pull API, a push server, and the authorization server of its application.
// It is to pull clients what net/http/httptest is to HTTP clients.
//
// A [Portal] listens on a loopback port by default. On a [Network] it needs no
// sockets at all, so that a whole scenario can run in a testing/synctest
// bubble, where forty seconds of long polling or twelve hours of a channel's
// life pass at once. Create the Network, the Portal and everything that talks
// to it inside the bubble, and close the Portal before the bubble ends. Without
// a Network a Portal listens on a real socket, which does not work in a bubble.
//
// The portal behaves like a real one where that hurts: what is published
// between a history read and the registration is not sent live, and from
// version 4 on a websocket gets nothing between a ping and its pong. On request
// it does worse:
//
//   - [Portal.Cut], [Portal.CloseWebSockets] and [Portal.RestartServer] end
//     connections, whoever has accepted them, or return an error.
//   - [Portal.Misbehave] makes REST, websockets, polls or the authorization
//     server fail, hang, talk nonsense, lose their answers or send clients to a
//     login page, until [Portal.Behave]; [Fault.WithRetryAfter] has them say
//     for how long, and [Fault.Times] bounds how many requests meet it.
//     [WebPage], [FalseAnswer], [Compressed] and their like answer in their
//     place.
//   - [Portal.ReplaceChannel], [Portal.ExpireChannel] and [Portal.ExpireConfig]
//     do what a portal does with channels that grow old, [WithChannelLife] lets
//     them age sooner, [Portal.OmitChannel] leaves one out of configs,
//     [Portal.RetireChannel] names the wrong successor, [Portal.EmitOld]
//     publishes to the one before, [Portal.Control] sends other commands, and
//     [Portal.EmitAsClient] forges them.
//   - By default messages fall into the holes that real servers were measured to
//     have, and are late as often; [WithHostileTiming] makes the holes wide.
//   - [WithProcesses] and [WithDisorder] let message ids overtake each other,
//     [WithIdleTimeout] puts a middle box before the push server that ends what
//     is idle, [Portal.Silence] makes a process deaf, [Portal.Forget] loses the
//     history, [Portal.SetBack] the place, and [WithClockShift] and
//     [Portal.SetClock] set the clocks wrong.
//   - [Portal.Reset] undoes all of it, so that one portal can serve many tests.
//
// [WithHistory] has its channels hold something from before, as those of a
// portal at work do: a subscription is then ready at once, where it has to wait
// two seconds to be sure of an empty history.
//
// [Portal.EmitAndWait] publishes, and waits until the message has been sent to all
// who listen.
//
// [WithObserver] is told what happens, one [Event] after another: who connects
// and leaves and why, what is published and to whom it is delivered, live or
// from the history, pings, and requests with the faults that met them.
// [Portal.Subscribers] are the open connections, [Portal.Stats] counts.
//
// An application lives with it as with a real one:
//
//   - /oauth/authorize/ of the portal and /oauth/token/ of [Portal.AuthServer]
//     give the tokens of [Portal.Application]: codes live 30 s, access tokens
//     an hour, refresh tokens 180 days or until they are used. [Portal.Token]
//     is the short way there, [Portal.ExpireToken] lets access tokens expire,
//     [Portal.SignIn] changes the user.
//   - [NewAuthServer] is one authorization server for all portals of an
//     application, which [WithAuthServer] gives to each of them, and
//     [Network.HTTPClient] or [AuthServer.HTTPClient] reaches them all.
//   - [Portal.Install], [Portal.InstallByEvent], [Portal.Open] and
//     [Portal.Uninstall] call its handlers.
//   - [Portal.Move] takes the portal to another address, [WithQueryLimit] and
//     [WithOperatingLimit] throttle REST, and [WithScope] limits what may be
//     called.
//   - User 1 is an administrator and user 2 is not, unless [WithUsers] has
//     others: the portal checks the USER_ID of an event as PHP
//     does, and refuses others' push notifications. It answers true to events
//     that it drops, for nobody or for a user that [Portal.Deactivate] names,
//     larger than 1 MiB, or with invalid UTF-8 in a form, and counts them in
//     Stats.DroppedEvents. Of JSON that PHP's json_decode refuses for its text,
//     as for half a surrogate pair, it reads nothing: «Wrong authorization
//     data» is the answer then.
//   - [Portal.PushNotifications] and [Portal.Watched] tell what its calls came
//     to.
//   - Beside the pull API there is what SDKs call when they start: batch, with
//     its references $result[key][field], profile, app.info, user.current,
//     user.admin, scope, methods, server.time, event.bind, event.unbind and
//     event.get. [Portal.Answer] gives any other method an answer,
//     and [WithMethod] has a function of the test carry it out.
//
// Programs in other languages use it over a real socket: [WithAddress] and
// [WithPlainHTTP] set where, [Portal.Certificate] is what they are to trust, or
// [WithCertificate] sets another, and [WithPlainURLs] has them need none.
// [WithUsers] sets who uses the portal, and [WithPushPath] has the push server
// stand where one alone has its paths.
//
// [WithVersion] chooses among the push servers that portals have:
//
//   - 1 and 2 are nginx with its push-stream module: text framing, unsigned
//     channels, a history by the time and tag of a message. In version 1 the
//     extra object of an event names its channel.
//   - 3 has text framing with mids, and signed channels without public ids.
//   - 4, the default, has protobuf and public ids, by which clients publish.
//   - 5 is 4 with a jwt in place of the channels, and JSON-RPC for those who
//     ask for it with jsonRpc=true: they call publish, getUsersLastSeen,
//     subscribeStatusChange, unsubscribeStatusChange, listChannels and ping,
//     over their websocket or, but for what is about that, by POST to /rest/.
//
// Clients publish to public channels that are signed; [Stats] counts what was
// taken and what was refused. Requests of version 4 are checked in the order of
// a real server, and refused in its words. [Portal.Misbehave] with [Publishing]
// has what clients send fail.
//
// Versions 1 to 4 answer what recorded servers of these versions did; version 5
// follows what the official clients expect of it, and has the holes of version
// 4. All of the above works in every version, unless it says otherwise.
//
// A test of a service that listens with package realtime, on virtual time:
//
//	synctest.Test(t, func(t *testing.T) {
//		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
//		defer portal.Close()
//		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
//		client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
//		…
//		sub, err := realtime.Subscribe(client)
//		…
//		go sub.Run(t.Context(), service)
//		<-sub.Ready()
//		portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]any{"id": 7}})
//		portal.Cut()
//		portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]any{"id": 8}})
//		time.Sleep(time.Minute) // passes at once
//		// the service has seen both
//	})
package pulltest
