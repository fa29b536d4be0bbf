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
// From version 4 of the push server on its clients can publish, too, what looks like any event of the portal. A [Mux]
// keeps them apart; a loop or another handler looks at the [Sender].
//
// It begins now: what was published before the subscription was run is not delivered, and what is published until
// [Subscription.Ready] may or may not be. To be sure of an event, wait for Ready and then have it sent. [WithHistory]
// begins with all that the server still keeps, [WithCursor] and [WithCursorStore] where an earlier run has stopped.
//
// # What is guaranteed
//
// A push server keeps most messages for a while, the portal's own events for a day, and sends them as they come.
// Live delivery has holes: between the history and the first live message of a connection, around each of the
// server's pings, while a server process has lost its store, and where messages are stored in another order than their
// ids. Therefore live messages are taken for early delivery only, and the history for the truth. What the server keeps
// arrives, whatever is cut, killed or restarted, and within a process never twice. This rests on
//
//   - a time to live above 0: a message without is not kept by the server and cannot be recovered;
//   - the server's retention: a message must outlive the time between two reads, or between two runs of a program;
//   - the settle time ([WithSettleTime]): a publish takes no longer from its id to the store;
//   - and, for messages that came while channels were replaced, that the portal says when the new ones began.
//
// The invariants behind it, each with the test that breaks without it:
//
//   - A read follows every connect and every ping, begun only when the server has sent on since (TestHoles makes each hole
//     of live delivery and takes the reads out; TestSurvivesCuts, TestPingHole), and thousands of messages do not wait for
//     one (TestReadsByVolume).
//   - The cursor C is moved by whole reads from just below it alone, and only to a message that first arrived longer
//     than the settle time before the read began (TestCursorMovesBySettledReadsOnly, TestDisorder, TestModel). It
//     begins below all that was not settled, by the server's own clock, when the first read was made (TestAnchor).
//   - Everything from C on is remembered, by id and body, and for five minutes what C has passed: what comes again is
//     dropped (TestRepeats, TestSameMidOtherBody); a live message below C that is not remembered is new
//     (TestLateLiveMessage). That is 262,144 messages at the most, whatever comes (TestRememberedIsBounded,
//     TestFirstReadIsBounded): more are forgotten, first of what C has passed. That may repeat, never lose, and is
//     reported as [Forgotten] (TestForgottenComesAgain).
//   - An answer counts as the history only if it shows that it is (TestIncompleteReads, TestFirstReadAnsweredLive,
//     TestSingleAnswerMayHaveOvertaken); a read that breaks off is gone on with, and is one read
//     (TestBrokenReadGoesOn). One that is silent has the next one wait longer, up to twenty seconds: a server may be
//     slow to gather what it keeps (TestSlowServer).
//   - An answer to a poll proves itself, or is a failed read: it has a message of a push server in it, or is a 304 that
//     comes when a poll can have hung. What a web server, a login page, another application or a cache answers in the
//     server's place, however good its status, settles nothing and makes nothing ready (TestFalseFirstMinute,
//     TestFalseFromAMomentOn, TestFalsePolls, TestFalseForGood, TestFalseNowAndThen); neither does the first frame of a
//     websocket that is to read the history (TestFalseSockets). What is compressed unasked is understood, or refused
//     (TestCompressedAnswers). Some stale answers are found out as well: by their Age, by messages that were not asked for,
//     on version 4 by one that they lack (TestStaleCache, TestCacheByAddress). What is lacking at the cursor is looked for
//     twice, and by a websocket, before it is taken for expired (TestCursorOfAnother). An old answer to the very same poll,
//     without an Age, cannot be told from a true one on other versions; caches are asked not to give any.
//   - What a full queue refuses has not been seen (TestRefusedIsNotSeen, TestFullQueuePauses).
//   - What is persisted, P, is the smaller of C and the place before the oldest message that is not handled, with what
//     was handled above it (TestLedger, TestStoreResumes, TestParallel): 3 bytes a message, which makes a cursor of 4 kB
//     at 10 messages a second and of 12 kB at 300 (TestCursorSize). Committed means that Save has returned (TestCommit,
//     TestSaveFails).
//   - A history that does not reach back any more to where it was known, after five minutes without a connection or
//     without a process, is a Gap (TestGapAfterLongOutage, TestGapAfterLongPause, TestGapAtUnhandled), and that of a quiet
//     portal, whose messages have expired in their time, is none (TestNoGapWithoutNeed, TestNoGapOfTheShortLived). So is a
//     server whose ids have begun anew (TestForgetfulServer, TestOlderSequenceAfterRestart),
//     or have been set back to where they were a minute ago or longer (TestSetBack, TestSlowPublishers). What expires unhandled while
//     later messages are kept is not told of.
//   - Replaced channels are read once more after they have ended, and new ones from where the history was known when
//     they began (TestCourse, TestReplacedTwice). Where the times of the channels leave room for others between them, that
//     is a Gap (TestGapReplacedTwice); channels that a portal replaces twice before their end, while there is no
//     connection, leave no trace. Until what came over the old channels is handled, cursors are bound to them: a restart
//     cannot read it over the new ones, and says so (TestGapUnhandledOfReplaced).
//
// What the server sent in order arrives in order: live messages wait for a read that may bring older ones, up to two
// seconds, and up to ten for the first read of a subscription that goes on from somewhere. What only a read has found is
// marked Replayed; what comes behind its turn is marked Late.
//
// Where polls are false or fail, the history is read by short websockets instead, from version 3 on, and polls are tried
// again after a minute, then less and less often (TestFalseByTurns). Where there is no way to read it, and on versions 1
// and 2 there is no other, the subscription does not become ready, or is no longer live but [StateDegraded], with an
// [AnswerError] that says what has answered. Live messages arrive meanwhile, and what they leave out comes late, if the
// history can be read again before it has expired. When that takes longer than a minute there is a [Gap] (TestGapUnread).
// What was published before the connection stood is not delivered then either, as far as the server's clock tells; of
// version 5, whose messages bear no time, only what has come live is known to be new.
//
// Where something may be lost all the same, a [Gap] says so: to the observer, and with the next message; one that was
// found at a start is found again until that message is handled (TestGapIsToldUntilHandled).
//
// # What it costs
//
// An idle subscription costs the server one read for each of its pings, every two minutes: a poll that is answered at
// once with the one message that the cursor stands on. (On a channel that keeps nothing the poll hangs for up to twenty
// seconds and counts among the channel's 100 connections.) A busy one is read about once for each thousand messages, and
// a read shows again what was published since the settle time before the last one: at 300 messages a second each message
// crosses the network three times. A subscription that polls costs about 300 requests an hour when idle: the polls
// themselves, a short read behind each, and a read every half minute; when busy, up to two requests a message.
//
// # Servers and connections
//
// Portals run push servers of versions 1 to 5, and the config says which: the subscription speaks to all of them
// and messages look the same, but that versions 1 and 2 give no IDs, and that the sender is named from version 4 on
// only (before, it is always the backend). A websocket comes first. Long polling stands in for it where the server has
// websockets off, where [WithTransport] says so, or when websockets have failed five times in a row; then they are
// tried again every 10 to 30 minutes, and in between whenever polls fail as well.
//
// All requests to the push server, the handshakes of websockets among them, are made by the HTTP client of
// [WithHTTPClient] or of the source: they go through its proxies and by its dial functions, with its TLS configuration
// and its cookies (TestOneWayOut). [WithHeader] adds what a gateway wants to see. A way that is barred is an error, and
// nothing goes around it (TestRefusedWay).
//
// Middle boxes end websockets that are silent for long, nginx after a minute. When three connections in a row have broken
// off after about the same silence, or have gone dead, a subscription pings often enough to keep theirs shorter
// (TestIdleTimeout, TestForgottenSocket); [WithPingInterval] has it do so from the start. Such pings cause no reads.
//
// A config and its channels end, usually after 12 hours, by the portal's clock, whose difference from ours is known
// from the answer to the REST call. Some minutes before, and when the push server says that a channel or the config has
// expired, a new config is fetched. The new channels are connected beside the old ones, which are listened to until
// their end has passed and has been read. Such commands of the server are obeyed and not delivered. A config that lacks a
// kind of channel that there was before, as portals give them for a moment when channels are replaced, is asked for again,
// after 2 seconds at first and every 10 minutes at last; the channel is listened to on, to its end (TestChannelOmitted). When
// connecting has failed five times in a row another config is asked for, since the server may have moved; where there
// is none, or the portal refuses, the present one is used to its end.
//
// What cannot be helped by trying again ends the subscription with its error: credentials that the portal refuses,
// [b24pull.ErrWrongAuthType], a missing scope, a portal that is deleted, and [ErrConfigExpired]; and, before the first
// config, a portal without push server, or with one that is not supported, and one that has not paid. Those can pass:
// later they are met with patience (TestServerTurnedOff). All else is tried again for as long as the context lives, with the delays of [WithBackoff].
// Where a server says how long it wants to be left alone (Retry-After), neither is it connected to nor read sooner, up to
// a quarter of an hour. A redirect is not followed: the error says where it leads, which is a login page or that of an
// expired licence, or the address that has been moved to for good.
//
// # Slow, failing and parallel handlers
//
// Between the connection and the user stands a queue of 4,096 messages and 16 MiB. A push server cannot be told
// to wait, so a full queue disconnects (StatePaused), and once it is half empty what was
// missed is read, and then there is a connection again. Messages without a time to live that come meanwhile are lost
// ([GapPaused]). While it is only filling, pings are answered however long a handler takes.
//
// A handler's error stops Run with a [*HandlerError] and leaves the message unhandled, unless [WithErrorPolicy] skips
// it or tries again. A handler that panics takes Run with it, its message unhandled, and so does whatever else of yours
// panics (TestCallbackPanics): the cursor is saved, every goroutine is gone, and the panic can be recovered. A handler
// that blocks is waited for, up to its context's end and beyond. [WithParallel] runs several at a time, in order by a
// key, and no further than 16 messages for each of them behind the oldest that is not handled (TestParallelWindow).
//
// # Two processes
//
// Two subscriptions to the same channels, in one process or two, both receive everything. They must not share a cursor
// store.
package realtime
