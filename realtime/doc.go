// Package realtime receives the events of a Bitrix24 portal from its push server, and loses none that the server
// keeps.
//
// A [Subscription] is made from a source of the connection data, usually a *b24pull.Client, and run once:
//
//	sub, err := realtime.Subscribe(client, realtime.WithLogger(slog.Default()))
//	for msg, err := range sub.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		order, err := realtime.Decode[OrderChanged](msg)
//	}
//
// or with a handler for each module and command:
//
//	mux := realtime.NewMux()
//	realtime.On(mux, "application", "order.changed", func(ctx context.Context, o OrderChanged, m realtime.Message) error { … })
//	err = sub.Run(ctx, mux)
//
// It begins now: what was published before the subscription was run is not delivered, and what is published until
// [Subscription.Ready] may or may not be. To be sure of an event, wait for Ready and then have it sent. [WithCursor] begins behind a message that was handled earlier instead.
//
// # What arrives
//
// A push server keeps most messages for a while, the portal's own events for a day, and sends them as they come.
// Live delivery has holes: between the history and the first live message of a connection, around each of the
// server's pings, and where messages are stored in another order than they are sent. Therefore live messages are
// taken for early delivery only, and the history for the truth. The subscription reads the history after every
// connect, after every server ping and after many messages, always from below a cursor; and only such reads move
// the cursor, never beyond what was settled when they began. So a kept message arrives whatever the holes are,
// once in the life of a subscription, and what the server sent in order arrives in order. What a read has found is
// marked Replayed; what comes behind its turn is marked Late.
//
// Messages that the portal sends without a time to live are not kept by the server and cannot be recovered. A
// kept one can be lost only if it expires before the next read: while nobody is connected, or if the server could
// not be read, for as long as it is kept.
//
// # Servers and connections
//
// Portals run push servers of versions 1 to 5, and the config says which: the subscription speaks to all of them
// and messages look the same, but that versions 1 and 2 give no IDs, and that the sender is named from version 4 on
// only (before, it is always the backend). A websocket comes first. Long polling stands in for it where the server has
// websockets off, where [WithTransport] says so, or when websockets have failed five times in a row; then they are
// tried again every 10 to 30 minutes.
//
// A config and its channels end, usually after 12 hours, by the portal's clock, whose difference from ours is known
// from the answer to the REST call. Some minutes before, and when the push server says that a channel or the config has
// expired, a new config is fetched. The new channels are connected beside the old ones, which are listened to until
// their end has passed and has been read. Such commands of the server are obeyed and not delivered.
//
// What cannot be helped by trying again ends the subscription with its error: credentials that the portal refuses,
// [b24pull.ErrWrongAuthType], a missing scope, a portal without push server, one that is deleted or has not paid, and
// [ErrConfigExpired]. All else is tried again for as long as the context lives, with the delays of [WithBackoff].
//
// # Slow handlers
//
// Between the connection and the user stands a queue of 4,096 messages and 16 MiB. A push server cannot be told
// to wait, so a full queue disconnects (StatePaused), and once it is half empty what was
// missed is read, and then there is a connection again. Messages without a time to live that come meanwhile are lost.
//
// # Two processes
//
// Two subscriptions to the same channels, in one process or two, both receive everything.
package realtime
