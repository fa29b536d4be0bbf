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
// At each moment a key has one subscription at the most: one that is added
// while another is drained begins when that has ended.
package fleet
