// Package fleet listens to many portals in one process.
//
// A [Fleet] runs subscriptions, each under a key, that are added and removed
// while it runs. One that ends with an error is begun again after a delay, or
// waits, as its restart policy says; an error of one portal is no other's. What
// they tell comes as one stream of [Event], each with its key.
//
//	f, err := fleet.New(fleet.WithLogger(slog.Default()))
//	err = f.Add("portal.example", client, handler)
//	…
//	err = f.Remove(ctx, "portal.example") // what has come is handled
//	err = f.Shutdown(ctx)                 // all of them, within one deadline
//
// An [Application] is a fleet of the portals that have installed an
// application. It takes their callbacks, keeps their tokens by way of an
// [oauth.Tokens], and listens to each portal from its installation until it
// uninstalls the application:
//
//	app, err := fleet.NewApplication(tokens, handler, fleet.WithCursors(cursors.Cursors))
//	app.Start(ctx, keys...) // those of the token store: the portals of before
//	http.Handle("POST /install", app.Callback(fleet.InstallPage()))
//	http.Handle("POST /open", app.Callback(page))
//	http.Handle("POST /event", app.Callback(nil))
//
// # What many portals share
//
// However many portals there are, what they take together is bounded:
//
//   - 128 requests are under way at once, to all hosts together and so to each:
//     calls for configs, refreshes of tokens, handshakes, reads of the history.
//     The others wait for their turn, so that no herd comes to a server at a
//     start, or when a network returns. Portals that hang take up an eighth of
//     that while others wait ([WithRequests]).
//   - 256 MiB are queued for handlers, and 16 KiB of each portal beside that. A
//     portal for which there is no more room pauses, and loses nothing
//     ([WithQueueBytes]).
//   - The subscriptions of Clients that were given one [http.Client], or several
//     with one [http.Transport], share one copy of that: its dialer, its TLS
//     configuration and its connections for polls. So give all of them one; an
//     Application does. A websocket is a connection, and so is a poll that
//     hangs, for as long as it does, so MaxConnsPerHost of the Transport has to
//     be 0, or larger than there are portals on a host.
//
// Each portal has its own goroutines, queue, delays between attempts, and
// restart policy, each delay with a random part. So one that sends without end,
// or whose handler is stuck, or whose server fails for ever, holds up no other,
// but for the machine's processors: it takes part in them as any goroutine does.
//
// At each moment a key has one subscription at the most: one that is added
// while another is drained begins when that has ended.
package fleet
