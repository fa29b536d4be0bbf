package b24otel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/b24pull/b24pull/realtime"
)

// nameLimit is how many bytes of a module or a command are told.
const nameLimit = 128

// Middleware returns what goes around a handler of the subscription with that
// key: it measures each call and makes a span of it. Give it to
// [realtime.Mux.Use], or call it with any other handler. A handler that gives
// up since its context is done has not failed.
//
// Where neither spans nor metrics are wanted it costs next to nothing.
func (i *Instrumentation) Middleware(key string) func(realtime.Handler) realtime.Handler {
	base := []attribute.KeyValue{system, subscriptionKey.String(key), operationKey.String("process")}
	fixed := append(base[:len(base):len(base)], attribute.String("messaging.operation.type", "process"))
	w := &wrapper{
		Instrumentation: i, base: base,
		done:  metric.WithAttributeSet(attribute.NewSet(base...)),
		start: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(fixed...)},
	}
	return func(next realtime.Handler) realtime.Handler {
		return realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error { return w.handle(ctx, m, next) })
	}
}

// wrapper is what the calls for one subscription have in common.
type wrapper struct {
	*Instrumentation
	base  []attribute.KeyValue
	done  metric.MeasurementOption // of a call without an error
	start []trace.SpanStartOption
}

func (w *wrapper) handle(ctx context.Context, m realtime.Message, next realtime.Handler) error {
	span := trace.Span(noop.Span{})
	if w.tracer != nil {
		ctx, span = w.tracer.Start(ctx, "process", w.start...)
	}
	recording, measured := span.IsRecording(), w.duration.Enabled(ctx)
	if !recording && !measured {
		return next.Handle(ctx, m)
	}
	if recording {
		describe(span, m)
	}
	begun, returned := time.Now(), false
	var err error
	defer func() { // also where the handler panics, or ends its goroutine
		failure, text := failureOf(ctx, err, returned)
		if measured {
			with := w.done
			if failure != "" {
				with = metric.WithAttributeSet(attribute.NewSet(append(w.base[:len(w.base):len(w.base)], errorTypeKey.String(failure))...))
			}
			w.duration.Record(ctx, time.Since(begun).Seconds(), with)
		}
		if recording && failure != "" {
			span.SetAttributes(errorTypeKey.String(failure))
			span.SetStatus(codes.Error, text)
			if returned {
				span.RecordError(errors.New(text), trace.WithAttributes(attribute.String("exception.type", failure)))
			}
		}
		span.End()
	}()
	err = next.Handle(ctx, m)
	returned = true
	return err
}

// describe names a span after a message, and says what message it is.
func describe(span trace.Span, m realtime.Message) {
	module, command := name(m.Module), name(m.Command)
	if m.Sender.Type == realtime.SenderBackend { // clients make up any number
		span.SetName("process " + module + " " + command)
	}
	attrs := make([]attribute.KeyValue, 0, 10)
	if m.ID != "" {
		attrs = append(attrs, attribute.String("messaging.message.id", m.ID))
	}
	if m.Gap != nil {
		attrs = append(attrs, attribute.String("b24pull.gap", m.Gap.Reason.String()))
	}
	span.SetAttributes(append(attrs,
		attribute.Int("messaging.message.body.size", len(m.Params)),
		attribute.String("b24pull.module", module),
		attribute.String("b24pull.command", command),
		attribute.String("b24pull.sender", m.Sender.Type.String()),
		attribute.String("b24pull.channel", m.Channel.String()),
		attribute.Bool("b24pull.replayed", m.Replayed),
		attribute.Bool("b24pull.late", m.Late),
	)...)
}

// name is a module or a command, which may be anything, as far as it is told.
func name(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), nameLimit)], "\uFFFD")
}

// failureOf is what kind of failure a call has ended with, and what is told of
// it; none if it has ended well.
func failureOf(ctx context.Context, err error, returned bool) (kind, text string) {
	var params *realtime.ParamsError
	switch {
	case !returned:
		return "panic", "the handler panicked"
	case err == nil, ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return "", ""
	case errors.As(err, &params):
		return "params", fmt.Sprintf("the params are no %s", params.Type)
	default:
		return typeOf(err), err.Error()
	}
}

// typeOf is the type of an error, below what has only added words to it.
func typeOf(err error) string {
	for {
		text := fmt.Sprintf("%T", err)
		inner := errors.Unwrap(err)
		if text != "*fmt.wrapError" || inner == nil {
			return text
		}
		err = inner
	}
}
