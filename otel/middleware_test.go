package b24otel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/b24pull/b24pull/realtime"
)

// traced returns a middleware, the spans that it makes, and its metrics.
func traced(t *testing.T) (func(realtime.Handler) realtime.Handler, *tracetest.InMemoryExporter, *sdkmetric.ManualReader) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	i, reader := metered(t, WithTracerProvider(trace.NewTracerProvider(trace.WithSyncer(spans))))
	return i.Middleware("portal.example"), spans, reader
}

// only is the one span that there is.
func only(t *testing.T, spans *tracetest.InMemoryExporter) tracetest.SpanStub {
	t.Helper()
	all := spans.GetSpans()
	spans.Reset()
	if len(all) != 1 {
		t.Fatalf("there are %d spans", len(all))
	}
	return all[0]
}

const secretParams = `{"password":"s3cr3t"}`

// message is one of the portal's.
func message() realtime.Message {
	return realtime.Message{
		Module: "application", Command: "order.paid", Params: json.RawMessage(secretParams), Extra: json.RawMessage(secretParams),
		ID: "10000000000000000000000001", Sender: realtime.Sender{Type: realtime.SenderBackend, ID: "s3cr3t"},
		Channel: realtime.ChannelPrivate, Replayed: true, Gap: &realtime.Gap{Reason: realtime.GapPaused},
	}
}

// TestMiddleware_Span: what a span says of a message, and what it does not.
func TestMiddleware_Span(t *testing.T) {
	wrap, spans, _ := traced(t)
	var inside oteltrace.SpanContext
	err := wrap(realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
		inside = oteltrace.SpanContextFromContext(ctx)
		if string(m.Params) != secretParams {
			t.Errorf("the handler got %d bytes", len(m.Params))
		}
		return nil
	})).Handle(t.Context(), message())
	if err != nil {
		t.Fatal(err)
	}
	span := only(t, spans)
	if span.Name != "process application order.paid" || span.SpanKind != oteltrace.SpanKindConsumer || span.Status.Code != codes.Unset || len(span.Links) != 0 || len(span.Events) != 0 {
		t.Errorf("the span is %q, %v, %v", span.Name, span.SpanKind, span.Status)
	}
	if !inside.Equal(span.SpanContext) {
		t.Error("what the handler does is not below the span")
	}
	want := attribute.NewSet(
		attribute.String("messaging.system", "bitrix24"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.subscription.name", "portal.example"),
		attribute.String("messaging.message.id", "10000000000000000000000001"),
		attribute.Int("messaging.message.body.size", len(secretParams)),
		attribute.String("b24pull.module", "application"),
		attribute.String("b24pull.command", "order.paid"),
		attribute.String("b24pull.sender", "backend"),
		attribute.String("b24pull.channel", "private"),
		attribute.String("b24pull.gap", "paused"),
		attribute.Bool("b24pull.replayed", true),
		attribute.Bool("b24pull.late", false),
	)
	if got := attribute.NewSet(span.Attributes...); !got.Equals(&want) {
		t.Errorf("the attributes differ from those that were wanted: %d of %d", got.Len(), want.Len())
	}
	if told(t, span) {
		t.Error("the span tells a secret")
	}
}

// told reports whether a span has a secret in it.
func told(t *testing.T, span tracetest.SpanStub) bool {
	t.Helper()
	return strings.Contains(fmt.Sprintf("%+v", span), "s3cr3t")
}

// TestMiddleware_Foreign: a message of a client's has no say in the span's
// name, and is told of with measure.
func TestMiddleware_Foreign(t *testing.T) {
	wrap, spans, _ := traced(t)
	m := realtime.Message{Module: "im", Command: strings.Repeat("é", 1000) + "\xff", Sender: realtime.Sender{Type: realtime.SenderClient, ID: "s3cr3t"}}
	if err := wrap(handler(nil)).Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	span := only(t, spans)
	if span.Name != "process" || told(t, span) {
		t.Errorf("the span is %q", span.Name)
	}
	for _, attr := range span.Attributes {
		switch {
		case attr.Key == "b24pull.command" && attr.Value.AsString() != strings.Repeat("é", nameLimit/2):
			t.Errorf("the command is %q", attr.Value.AsString())
		case attr.Key == "messaging.message.id" || attr.Key == "b24pull.gap":
			t.Errorf("there is %s", attr.Key)
		}
	}
}

type order struct {
	Number string `json:"number"`
}

// undecodable is what On's handlers return for params that are none of theirs.
func undecodable() error {
	_, err := realtime.Decode[order](realtime.Message{Module: "application", Command: "order.paid", Params: json.RawMessage(`{"number":7777777}`)})
	return err
}

// TestMiddleware_Errors: what a handler returns is what the caller gets, the
// status of the span and an attribute of the metric.
func TestMiddleware_Errors(t *testing.T) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name       string
		ctx        context.Context
		err        error
		kind, text string
	}{
		{"plain", t.Context(), errors.New("no room"), "*errors.errorString", "no room"},
		{"wrapped", t.Context(), fmt.Errorf("storing: %w", &json.SyntaxError{Offset: 1}), "*json.SyntaxError", "storing: "},
		{"params", t.Context(), undecodable(), "params", "the params are no b24otel.order"},
		{"params wrapped", t.Context(), fmt.Errorf("outer: %w", undecodable()), "params", "the params are no b24otel.order"},
		{"a context of its own", t.Context(), context.DeadlineExceeded, "context.deadlineExceededError", "context deadline exceeded"},
		{"told to end", done, fmt.Errorf("storing: %w", context.Canceled), "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrap, spans, reader := traced(t)
			if err := wrap(handler(func() error { return tt.err })).Handle(tt.ctx, message()); err != tt.err {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			span := only(t, spans)
			if tt.kind == "" {
				if span.Status.Code != codes.Unset || len(span.Events) != 0 {
					t.Errorf("the status is %v", span.Status)
				}
			} else if span.Status.Code != codes.Error || span.Status.Description != tt.text || len(span.Events) != 1 || told(t, span) {
				t.Errorf("the status is %v, and there are %d events", span.Status, len(span.Events))
			}
			if strings.Contains(fmt.Sprintf("%+v", span), "7777777") {
				t.Error("the span tells of the params")
			}
			all, _ := points(collected(t, reader)["messaging.process.duration"].Data)
			if len(all) != 1 || all[0].value != 1 || all[0].attr("error.type") != tt.kind {
				t.Errorf("measured is %+v", all)
			}
		})
	}
}

// TestMiddleware_Panic: a panic goes on, and so does the end of a goroutine;
// both end the span.
func TestMiddleware_Panic(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("s3cr3t") }, "Goexit": runtime.Goexit} {
		wrap, spans, _ := traced(t)
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = wrap(handler(func() error { end(); return nil })).Handle(t.Context(), message())
			t.Error("the handler has returned")
		}()
		if v := <-panicked; name == "panic" && v != "s3cr3t" {
			t.Errorf("%s: recovered is something else", name)
		}
		if span := only(t, spans); span.Status.Code != codes.Error || told(t, span) {
			t.Errorf("%s: the status is %v", name, span.Status)
		}
	}
}

// TestMiddleware_Mux: with Use, for the handlers of a Mux.
func TestMiddleware_Mux(t *testing.T) {
	wrap, spans, _ := traced(t)
	mux := realtime.NewMux()
	mux.Use(wrap)
	realtime.On(mux, "application", "order.paid", func(context.Context, struct{ Password string }, realtime.Message) error { return nil })
	if err := mux.Handle(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	if span := only(t, spans); span.Name != "process application order.paid" {
		t.Errorf("the span is %q", span.Name)
	}
}

// TestMiddleware_Unused: where there is neither a tracer nor a meter nothing is
// allocated.
func TestMiddleware_Unused(t *testing.T) {
	h, m, ctx := unused(t)(handler(nil)), message(), t.Context()
	if n := testing.AllocsPerRun(100, func() { _ = h.Handle(ctx, m) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func unused(t testing.TB) func(realtime.Handler) realtime.Handler {
	i, err := New(WithMeterProvider(metricnoop.NewMeterProvider()), WithTracerProvider(tracenoop.NewTracerProvider()))
	if err != nil {
		t.Fatal(err)
	}
	return i.Middleware("portal.example")
}

// BenchmarkMiddleware compares a handler without and with what is around it.
func BenchmarkMiddleware(b *testing.B) {
	with := func(opts ...Option) func(realtime.Handler) realtime.Handler {
		i, err := New(opts...)
		if err != nil {
			b.Fatal(err)
		}
		return i.Middleware("portal.example")
	}
	meters := WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())))
	never := WithTracerProvider(trace.NewTracerProvider(trace.WithSampler(trace.NeverSample())))
	for _, bb := range []struct {
		name string
		wrap func(realtime.Handler) realtime.Handler
	}{
		{"none", func(h realtime.Handler) realtime.Handler { return h }},
		{"unused", unused(b)},
		{"global providers, not set", with()},
		{"metrics", with(meters, WithTracerProvider(tracenoop.NewTracerProvider()))},
		{"metrics, spans not sampled", with(meters, never)},
		{"metrics and spans", with(meters, WithTracerProvider(trace.NewTracerProvider()))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			h, m, ctx := bb.wrap(handler(nil)), message(), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(ctx, m)
			}
		})
	}
}
