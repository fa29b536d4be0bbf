// Package b24otel gives OpenTelemetry what subscriptions of package realtime
// count, how long their handlers take, and a span for each handled message.
//
//	telemetry, err := b24otel.New() // OpenTelemetry's global providers
//	…
//	mux.Use(telemetry.Middleware("portal.bitrix24.com"))
//	sub, err := realtime.Subscribe(client)
//	…
//	err = telemetry.Observe("portal.bitrix24.com", sub)
//	…
//	err = sub.Run(ctx, mux)
//
// The key, here the portal's name, tells one subscription from another: it is
// the attribute messaging.destination.subscription.name of all that is said of
// one. So it must hold no secret.
//
// # Metrics
//
// All of [realtime.Stats] is read when metrics are collected, and costs nothing
// in between. Each has the attributes messaging.system, which is "bitrix24",
// and messaging.destination.subscription.name.
//
//	counters
//	messaging.client.consumed.messages  {message}    Messages: put into the queue for the user
//	b24pull.messages.size               By           Bytes: that these took
//	b24pull.messages.repeated           {message}    Repeats: came live a second time, and were dropped
//	b24pull.messages.found              {message}    Found: only a replay has brought them
//	b24pull.messages.undecodable        {message}    Undecodable: passed over
//	b24pull.messages.forgotten          {message}    Forgotten: may come again
//	b24pull.messages.handled            {message}    Handled: count as handled
//	b24pull.messages.skipped            {message}    Skipped: of these, those whose handler failed
//	b24pull.handler.failures            {failure}    Failed: calls that returned an error
//	b24pull.handler.retries             {retry}      Retried: of these, those that are made again
//	b24pull.replay.done                 {replay}     Replays: answered, or nothing to read
//	b24pull.replay.broken               {replay}     BrokenReplays: broke off, and were gone on with
//	b24pull.gaps                        {gap}        Gaps: messages may have been lost
//	b24pull.renewals                    {renewal}    Renewals: of the config
//	b24pull.reconnects                  {reconnect}  Reconnects, by b24pull.cause
//	b24pull.cursor.saves                {save}       Saves
//	b24pull.cursor.failed_saves         {save}       FailedSaves
//
//	gauges
//	b24pull.cursor.last_save            s            LastSave: Unix time; absent before there is one
//	b24pull.cursor.lag                  s            CursorLag: how long the oldest message waits that is not handled
//	b24pull.delivery.lag                s            Lag: from the portal's clock to the arrival
//	b24pull.queue.messages              {message}    QueuedMessages: not yet taken by a handler
//	b24pull.queue.size                  By           QueuedBytes: that these take
//	b24pull.state                       {state}      1 for the State that b24pull.state names, 0 for the others
//
//	histogram, of Middleware
//	messaging.process.duration          s            of each call of a handler; error.type if it failed
//
// Modules and commands are no attributes of metrics: what clients publish has
// any that they like.
//
// # Spans
//
// [Instrumentation.Middleware] makes a span of each call of a handler, of kind
// consumer and named "process", with module and command behind it if the
// portal itself has sent the message. Its parent is that of the handler's
// context, and the handler's work is below it. Its attributes are
//
//	messaging.system                          bitrix24
//	messaging.operation.name, .type           process
//	messaging.destination.subscription.name   the key
//	messaging.message.id                      Message.ID, where there is one
//	messaging.message.body.size               bytes of Params
//	b24pull.module, b24pull.command           the first 128 bytes
//	b24pull.sender, b24pull.channel           backend, client or unknown; private, shared or unknown
//	b24pull.replayed, b24pull.late            as Message has them
//	b24pull.gap                               the reason of its Gap, where it has one
//	error.type                                of an error: "params", "panic", or the Go type
//
// A loop over [realtime.Subscription.Messages] has none of its own: make its
// body a handler, and have the middleware call it.
//
// Params, Extra and ids of senders are never among them. The text of an error
// is recorded as the handler has returned it, but for a
// [realtime.ParamsError], of which only the type is told: its text can hold
// some of what did not decode.
package b24otel
