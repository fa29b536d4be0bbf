// Package publish talks back: it publishes to other clients of a portal's push
// server, and asks which of them are online. It stands beside package realtime,
// which listens.
//
//	client, err := b24pull.New(b24pull.OAuth(portal, tokens))
//	…
//	p, err := publish.New(client)
//	…
//	defer p.Close()
//	err = p.Publish(ctx, publish.Message{
//		Users: []int64{2, 3}, Module: "application", Command: "typing",
//		Params: map[string]any{"chat": 7},
//	})
//
// A message goes from client to client. The portal does not see it and stores
// nothing; what has to be true, an order's state say, belongs in REST, and what
// the application says to its users in [b24pull.Client.AddApplicationEvent],
// which needs an administrator to reach anybody but the caller himself. Here
// any user can reach any other one who listens to the same application.
//
// # What it takes
//
// A push server of version 4 or later with publish_enabled, and of the portal
// the scopes pull, for the config, and pull_channel, for the public channels of
// others. Anything else is [ErrUnavailable], or the portal's own error, before
// the push server is asked. Version 4 is sent protobuf by POST, over connections
// that are kept for some seconds; on version 5 calls are made over the
// connection of a subscription ([WithSubscription]), or over one of the
// publisher's own, which is opened when it is needed and closed when it has not
// been for half a minute. Version 5 is built from its documentation, and has
// never been tried.
//
// # What nil means
//
// That the push server has answered as it does when it takes a message, and no
// more ([Publisher.Publish]). Nobody tells whether it was delivered. Receivers
// who are not connected find it later if it has an Expiry. Where it matters, let
// the receiver answer with a message of its own.
//
// An error says by its class, [b24pull.ClassOf], whether the messages may have
// been published. Where nobody knows they are not sent again, unless
// [WithRepeat] says that twice is better than not at all.
//
// # Receivers
//
// Users are reached by their public channels, which live for 12 hours. The
// publisher asks the portal for them, keeps them until their end, and asks anew
// when the push server refuses one. A user without one is an
// [*UnknownUsersError], and nothing of the call is sent. On version 5 the push
// server looks users up by itself, and leaves out in silence whom it does not
// know.
//
// For a *b24pull.Client these are the channels of the application: what its own
// clients listen to. [WithPortalChannels] reaches the portal's own pages.
//
// # What receivers may believe
//
// Whoever listens gets such a message with a [realtime.Sender] of type
// [realtime.SenderClient], with the sender's public id and, where that is known,
// his user id. Nothing else in it proves anything: a client can write what it
// likes, also what looks like an event of the portal.
//
// Whose a public id is stands in lists that a subscription has to be told of,
// from time to time, since channels are replaced after 12 hours:
//
//	channels, err := client.ListPublicChannels(ctx, users, b24pull.ApplicationChannels)
//	…
//	sub.AddSenders(channels)
package publish
