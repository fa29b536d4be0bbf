package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/b24pull/b24pull/realtime"
)

const (
	// streamName is the stream that events go to, as subject makes subjects of
	// them.
	streamName    = "PORTAL"
	subjectPrefix = "portal"

	// window is for how long an event can come again: the portal keeps it a
	// day.
	window = 24 * time.Hour

	// positions is a bucket of keys and values, position one of its keys. It
	// makes the program one that keeps nothing on its disk.
	positions = "positions"
	position  = "portal"
)

// forwarder publishes events to a stream.
type forwarder struct {
	js  jetstream.JetStream
	kv  jetstream.KeyValue
	out io.Writer
}

// newForwarder makes the stream and the bucket where they are missing.
func newForwarder(ctx context.Context, conn *nats.Conn, out io.Writer) (*forwarder, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{subjectPrefix + ".>"}, Duplicates: window,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", streamName, err)
	}
	if has := stream.CachedInfo().Config.Duplicates; has < window {
		return nil, fmt.Errorf("stream %s: its duplicate window is %v, and events can come again for %v: nats stream edit %[1]s --dupe-window=%[3]v", streamName, has, window)
	}
	kv, err := js.KeyValue(ctx, positions)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: positions})
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", positions, err)
	}
	return &forwarder{js: js, kv: kv, out: out}, nil
}

// run forwards the portal's own events until ctx is done. It begins behind the
// last one that was forwarded, or else with all that the server still keeps.
func (f *forwarder) run(ctx context.Context, source realtime.ConfigSource) error {
	sub, err := realtime.Subscribe(source,
		realtime.WithCursorStore(f), realtime.WithHistory(), // the latter where there is no cursor
		realtime.WithLogger(slog.Default()), realtime.WithErrorPolicy(policy), realtime.WithObserver(tellGap))
	if err != nil {
		return err
	}
	mux := realtime.NewMux()
	mux.HandleDefault(realtime.HandlerFunc(f.forward))
	return sub.Run(ctx, mux)
}

// again is for a server that is away, or has no room, for a while, however
// long: after a second, two, four and so on up to a minute.
var again = realtime.RetryPolicy(1<<30, time.Second, time.Minute, realtime.StopRun())

// policy says what becomes of an event that was not forwarded. What is larger
// than the server or the stream takes is skipped, or nothing that comes after it
// would be forwarded; it is in the log, and [realtime.WithDeadLetters] could
// keep it.
func policy(err *realtime.HandlerError, attempt int) realtime.ErrorAction {
	var refused *jetstream.APIError
	if errors.Is(err, nats.ErrMaxPayload) ||
		errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum {
		return realtime.SkipMessage()
	}
	return again(err, attempt)
}

// tellGap tells of each gap. That of a message could be one of a message that is
// not forwarded.
func tellGap(e realtime.Event) {
	if gap, is := e.(realtime.Gap); is {
		slog.Error("events may be missing", "gap", gap.Reason)
	}
}

// forward publishes an event and waits until JetStream has stored it. Where an
// answer is lost the event is published again, and dropped there.
func (f *forwarder) forward(ctx context.Context, m realtime.Message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ack, err := f.js.PublishMsg(ctx, &nats.Msg{Subject: subject(m), Data: data},
		jetstream.WithMsgID(m.Key()), jetstream.WithExpectStream(streamName))
	if err != nil {
		return err
	}
	fmt.Fprintln(f.out, ack.Sequence, subject(m))
	return nil
}

// subjectLimit bounds subjects: NATS takes no line of more than 4,096 bytes, and
// a command may be longer.
const subjectLimit = 1000

// subject is portal.MODULE.COMMAND, so that who consumes can ask for
// portal.application.> or portal.*.order.paid. What has a meaning of its own in
// subjects, and what does not print, is an underscore there, and of a long one
// it is the beginning; the message has the command as it is.
func subject(m realtime.Message) string {
	tokens := append([]string{subjectPrefix, m.Module}, strings.Split(m.Command, ".")...)
	for i, token := range tokens {
		tokens[i] = strings.Map(func(r rune) rune {
			if r <= ' ' || r > '~' || strings.ContainsRune(".*>", r) {
				return '_'
			}
			return r
		}, token)
		if token == "" {
			tokens[i] = "_"
		}
	}
	whole := strings.Join(tokens, ".")
	return strings.TrimSuffix(whole[:min(len(whole), subjectLimit)], ".")
}

// Load has the forwarder be the store of its cursor.
func (f *forwarder) Load(ctx context.Context) (realtime.Cursor, error) {
	var c realtime.Cursor
	entry, err := f.kv.Get(ctx, position)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return c, nil
	case err != nil:
		return c, err
	}
	err = c.UnmarshalText(entry.Value())
	return c, err
}

// Save keeps a cursor.
func (f *forwarder) Save(ctx context.Context, c realtime.Cursor) error {
	_, err := f.kv.PutString(ctx, position, c.String())
	return err
}
