// Package realtime receives the events of a Bitrix24 portal from its push
// server, and loses none that the server keeps.
//
// A [Subscription] is made from a source of the connection data, usually a
// *b24pull.Client, and run once:
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
//	realtime.On(mux, "application", "order.changed",
//		func(ctx context.Context, o OrderChanged, m realtime.Message) error { … })
//	err = sub.Run(ctx, mux)
//
// Connections that break do not surface, nor do channels that end: the one
// error that comes out is one that trying again cannot help. [WithLogger] and
// [WithObserver] tell of the rest, and [Subscription.Stats] counts it.
//
// # What arrives
//
// What the server keeps arrives, whatever is cut, killed or restarted on the
// way, and within a process never twice. The portal's own events are kept for a
// day. Messages arrive in the order in which the server has sent them. Live
// delivery has holes, on every push server; what they leave out is found in the
// server's history, which is read after each connect, after each ping of the
// server, and as messages add up. Such a message is marked Replayed; one that
// comes when its turn has passed is marked Late. Live messages wait up to two
// seconds for a replay that may bring older ones; up to ten for the first
// replay of a subscription that goes on from a cursor; and no longer, however
// long the replay goes on answering.
//
// How this works, why it loses nothing, and which test proves which part of it,
// is in docs/delivery.md of this module's repository.
//
// From version 4 of the push server on its clients can publish, too, what looks
// like any event of the portal. A [Mux] keeps them apart; a loop or another
// handler looks at the [Sender].
//
// # Where it begins
//
// A subscription begins now: what was published before it was run is not
// delivered, and what is published until [Subscription.Ready] may or may not
// be. To be sure of an event, wait for that ([Subscription.WaitReady]) and then
// have it sent.
// [WithHistory] begins with all that the server still keeps, [WithCursor] and
// [WithCursorStore] where an earlier run has stopped.
//
// # Handled, committed, and the cursor
//
// A message counts as handled when its handler returns nil, when the loop over
// Messages asks for the next one, or by [Subscription.Commit]. A [Cursor] says
// how far everything is handled, and what is handled beyond: it passes no
// message that is not, however many have been handled after it.
//
// [WithCursorStore] loads the cursor at the start, saves it every second as it
// changes ([WithSaveInterval]) and at the end. [NewCursorFile] keeps it in a
// file. After a crash what was handled since the last save comes again. When
// Commit returns nil, the store has saved the message's cursor.
//
// To have a message neither lost nor repeated by a crash, store
// [Message.Cursor] in one transaction with what the message has caused, and
// give it to WithCursor at the next start. A cursor takes 3 bytes for each
// message that was handled since the history was last replayed: some 4 kB at 10
// messages a second, 12 kB at 300.
//
// Where the effects are elsewhere, and can be had by a name of their own,
// [Message.Key] is that name: the same whenever the message comes, and no other
// message's. The ID is not: versions 1 and 2 give none, and a server that has
// lost its data gives IDs anew.
//
// A cursor belongs to a portal and to a kind of push server; one of another is
// [ErrCursorMismatch].
//
// # What may be lost, and how it is told
//
// Nothing is lost, provided that
//
//   - the message has a time to live above 0: one without is not kept by the
//     server, and is lost in every hole of live delivery, and while there is no
//     connection;
//   - the server keeps it for longer than the time between two replays, or
//     between two runs of a program;
//   - a publish takes no longer than the settle time ([WithSettleTime], 5
//     seconds) on the server from its id to the store;
//   - the portal says when channels have begun that replace others.
//
// Where something may have been lost all the same, there is a [Gap], for the
// observer and with the next message, of several the gravest. One that was
// found at a start is found again until that message is handled. A Gap comes
//
//   - after a full queue, of messages that are not kept (GapPaused);
//   - when the history could not be read for a minute while there was a
//     connection (GapUnread);
//   - when channels were replaced and their end or the new ones' beginning
//     could not be read, or when there was room for others between them
//     (GapChannelReplaced). Until what came over the old channels is handled,
//     cursors are bound to them: a restart cannot read it over the new ones,
//     and says so;
//   - when, after five minutes without a connection or without a process, the
//     history does not reach back any more to where it was known (GapExpired).
//     The quiet portal whose messages have expired in their time has none;
//   - when there is another server, or its ids have begun anew or been set back
//     (GapServerChanged).
//
// Three things are not told of: what expires unhandled while later messages are
// kept; channels that a portal replaces twice before their end, while there is
// no connection; and, on version 5, a channel that is replaced unannounced
// within a second or so after another replacement, which was announced. Its
// messages bear no time, so what the channel in between had can be lost.
//
// What has been seen is remembered to drop what comes again: 262,144 messages
// at the most, which are some 20 MB. More of them within five minutes, or while
// the history cannot be read, are forgotten, which may repeat, never lose, and
// is reported as [Forgotten].
//
// # When something else answers
//
// Web servers, login pages, gateways and caches answer in a push server's
// place, with a good HTTP status. An answer to a poll therefore has to prove
// itself: it has a message of a push server in it, or is a 304 that comes, with
// a push server's headers, when a poll can have hung. Anything else settles
// nothing, makes nothing ready, and is an [AnswerError] for the observer, which
// says what has answered. So is an answer out of a cache, as far as it can be
// told: by its Age, by messages that were not asked for, on version 4 by one
// that it lacks. An old answer to the very same poll, without an Age, cannot be
// told from a true one on other versions; caches are asked not to give any.
//
// A poll without an answer makes a subscription ready where nothing is known to
// be kept, since a quiet portal is as silent. But a push server says after 40
// seconds that nothing came; where it does not, or where something is known to
// be kept, the history has not been read.
//
// Where polls are false or fail, the history is read by short websockets
// instead, from version 3 on, and polls are tried again after a minute, then
// less and less often. Where there is no way to read it, and on versions 1 and
// 2 there is no other, the subscription does not become ready, or is no longer
// live but [StateDegraded]. Live messages arrive meanwhile, and what they leave
// out comes late, if the history can be read again before it has expired. What
// was published before the connection stood is not delivered then either, as
// far as the server's clock tells; of version 5, whose messages bear no time,
// only what has come live is known to be new.
//
// # Servers and transports
//
// Portals run push servers of versions 1 to 5, and the config says which: the
// subscription speaks to all of them and messages look the same, but that
// versions 1 and 2 give no IDs, and that the sender is named from version 4 on
// only (before, it is always the backend). Versions 1 to 4 were measured on
// real servers; version 5 and the Bitrix24 cloud were not.
//
// A websocket comes first. Long polling stands in for it where the server has
// websockets off, where [WithTransport] says so, or when websockets have failed
// five times in a row; then they are tried again every 10 to 30 minutes, and in
// between whenever polls fail as well.
//
// All requests to the push server, the handshakes of websockets among them, are
// made by the HTTP client of [WithHTTPClient] or of the source: they go through
// its proxies and by its dial functions, with its TLS configuration and its
// cookies; only its timeouts are left out, which a websocket outlives.
// [WithHeader] adds what a gateway wants to see. A way that is barred is an
// error, and nothing goes around it.
//
// Middle boxes end websockets that are silent for long, nginx after a minute.
// When three connections in a row have broken off after about the same silence,
// of both sides or of ours, or have gone dead, a subscription pings often
// enough to keep theirs shorter; [WithPingInterval] has it do so from the
// start. Such pings cause no replays.
//
// # Channels that end
//
// A config and its channels end, usually after 12 hours, by the portal's clock,
// whose difference from ours is known from the answer to the REST call. Some
// minutes before, and when the push server says that a channel or the config
// has expired, a new config is fetched. The new channels are connected beside
// the old ones, which are listened to until their end has passed and has been
// read. Such commands of the server are carried out and not delivered.
//
// A config that lacks a kind of channel that there was before, as portals give
// them for a moment when channels are replaced, is asked for again, after 2
// seconds at first and every 10 minutes at last; the channel is listened to on,
// to its end. A first config that lacks the private or the shared channel is
// asked for again twice, within 8 seconds, and then taken as it is. When
// connecting has failed five times in a row another config is asked for, since
// the server may have moved; where there is none, or the portal refuses, the
// present one is used to its end.
//
// A portal that has been renamed, and its push server with it, is known by the
// channels that it still has, one of the cloud by its clientId as well: a
// subscription goes on from where it was.
//
// # Errors
//
// What cannot be helped by trying again ends the subscription with its error:
// credentials that the portal refuses, [b24pull.ErrWrongAuthType], a portal
// that is deleted, an application that was uninstalled, and [ErrConfigExpired].
//
// What somebody has to see to ends one that has never worked, at once, and the
// error says what to do:
//
//   - before the first config, of the portal and of the authorization server:
//     an address that is none of theirs (a host that does not exist, a port that
//     does not speak TLS, a web page, HTTP 404, a redirect), a proxy that wants a
//     password, a certificate that is not trusted, an empty token, an expired one whose source has no other or
//     that has no refresh token, a missing scope, a plan that does not allow REST
//     or has not been paid, no push server, one that is not supported, or that
//     the config has no address of, and any refusal by an error code that is
//     unknown ([b24pull.EndingOf]);
//   - before anything has come from the push server: a certificate that is not
//     trusted, a host that does not exist, and one that does not speak TLS, if it
//     is so for every way that there is, websockets and polls.
//
// What has worked can work again, as who has changed it can take that back: once
// there has been a config, or a connection, these are met with patience. So is,
// from the start, what answers in a push server's place in any other way: the
// portal has named the address.
//
// All else is tried again for as long as the context lives, with the delays of
// [WithBackoff]. Where a server says how long it wants to be left alone
// (Retry-After), neither is it connected to nor read sooner, up to a quarter of
// an hour. A redirect is not followed: the error says where it leads, which is
// a login page or that of an expired licence, or the address that has been
// moved to for good.
//
// # Slow, failing and parallel handlers
//
// Pings are answered however long a handler takes. Between the connection and
// the user stands a queue of 4,096 messages and 16 MiB. A push server cannot be
// told to wait, so a full queue disconnects ([StatePaused]), and once it is
// half empty what was missed is read, and then there is a connection again. If
// it cannot be read there is one after a few attempts, [StateDegraded].
//
// A handler's error stops Run with a [*HandlerError] and leaves the message
// unhandled, unless [WithErrorPolicy] skips it or tries again, which a
// [RetryPolicy] does with growing delays. Params that do not decode, a
// [*ParamsError], skip their message without a policy: after a restart they
// would not decode either. [WithDeadLetters] is given what is skipped.
//
// A handler that panics takes Run with it, its message unhandled, and so does
// whatever else of yours panics ([CallbackPanic]): the cursor is saved, every
// goroutine is gone, and the panic can be recovered. [Mux.Use] shows how to make
// an error of it. A handler that blocks is waited for, up to its context's end
// and beyond.
//
// [WithParallel] runs several handlers at a time, in order by a key, and no
// further than 16 messages for each of them behind the oldest that is not
// handled.
//
// [Subscription.Drain] ends a run when what was received is handled, and waits
// for that; [Subscription.Close] ends it as soon as the running handler returns.
// Both, and Commit, can be called from a handler, where Drain only begins.
// [Subscription.Done] and [Subscription.Err] tell of the end, for a run in the
// background; [Subscription.WaitReady] waits for its beginning.
//
// # What to watch
//
// [Subscription.Stats] has counters and gauges for a metrics library, and each
// of what follows is an [Event] and a line of the log as well. Worth an alert
// are
//
//   - CursorLag that grows: for so long a message has been waiting to be
//     handled, whatever the reason;
//   - FailedSaves: a crash repeats what has been handled since LastSave;
//   - Skipped, and Undecodable: messages that nobody has handled;
//   - Gaps, and Forgotten: messages may have been lost, or may come again;
//   - a [State] that is not StateLive for minutes.
//
// # What it costs
//
// An idle subscription over a websocket has two goroutines, that of Run and one
// that waits for the next frame, and takes some 40 kB of memory, 50 kB with TLS;
// a bare websocket takes 10 and 24. One *http.Transport serves all subscriptions
// that are given it. (b24pull bench -idle measures it.)
//
// An idle subscription costs the server one replay for each of its pings, every
// two minutes: a poll that is answered at once with the one message that the
// cursor stands on. (On a channel that keeps nothing the poll hangs for forty
// seconds and counts among the channel's 100 connections.) A busy one is
// read about once for each thousand messages, unless their ids show that none is
// missing, and a replay shows again what was published since the settle time
// before the last one: each message crosses the network 1.1 to 2.25 times
// (docs/delivery.md says when). A subscription that polls costs
// about 300 requests an hour when idle: the polls themselves, a short replay
// behind each, and a replay every half minute; when busy, up to two requests a
// message. What polls of version 5 bring is confirmed, by a request a second at
// the most for each 500 messages; nothing waits for that.
//
// # Calls
//
// From version 5 on a push server answers calls of its clients:
// [Subscription.Call] makes one over the subscription's own websocket. Package
// publish stands on it, and does on version 4 what that has instead.
//
// # Servers that go too far
//
// Whatever a server sends, what it causes keeps a distance:
//
//   - Commands of the server have the config fetched, or a channel replaced,
//     three times at once, and then after 10 seconds, 20, 40 and so on up to
//     five minutes, for as long as they go on. Ten minutes without one end
//     that. Meanwhile they are gathered. A successor that was passed over so is
//     a Gap. Up to two minutes after a channel was replaced at a command's word
//     the portal is asked whether it knows of that.
//   - Where a server refuses the channels of one config after another, the next
//     is fetched after the delays of a reconnect, or after a minute if
//     connections last for a while before they are refused.
//   - Up to 24 sets of replaced channels are listened to at a time. Beyond that
//     the oldest is left at once, which is a Gap. The replays of the channels
//     in use go first.
//   - One replay follows all the pings of two seconds. While a connection lasts
//     there are 20 replays at once, and then four a second; of the short ones
//     behind polls 100, and then ten a second.
//   - An answer has five minutes to come to its end, however it goes on: then
//     it is broken off, and the next one goes on where it has stopped. One to a
//     replay of replaced channels has a minute while those in use are to be
//     read.
//   - Polls that bring news follow each other 100 times at once, and then at 20
//     a second: what is published meanwhile comes with the next one, all of it
//     that the server keeps. Those that only bring what a replay was faster to
//     bring do so 20 times, and then at five a second; any other a second after
//     the last one began.
//   - Of answers to calls only those are kept that a call waits for, up to 1 MiB
//     each, and 64 calls wait at a time, 20 seconds each.
//   - Messages that cannot be decoded, gaps, renewals, repeats, what is
//     forgotten, failures of handlers and saves are told of, to the log and the
//     observer, once in ten seconds for each kind, with their number ([Event]).
//
// SECURITY.md of this module's repository says against whom these and other
// bounds hold.
//
// # Two processes
//
// Two subscriptions to the same channels, in one process or two, both receive
// everything. They must not share a cursor store.
package realtime
