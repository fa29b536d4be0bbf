package b24otel_test

import (
	"context"
	"log"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/b24pull/b24pull"
	b24otel "github.com/b24pull/b24pull/otel"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
)

func Example() {
	client, err := b24pull.New(b24pull.Webhook("https://portal.bitrix24.com/rest/1/CODE/"))
	if err != nil {
		log.Fatal(err)
	}
	telemetry, err := b24otel.New() // OpenTelemetry's global providers
	if err != nil {
		log.Fatal(err)
	}
	const key = "portal.bitrix24.com"
	mux := realtime.NewMux()
	mux.Use(telemetry.Middleware(key))
	realtime.On(mux, "im", "message", func(context.Context, struct{ Text string }, realtime.Message) error { return nil })

	sub, err := realtime.Subscribe(realtime.PortalConfig(client))
	if err != nil {
		log.Fatal(err)
	}
	if err := telemetry.Observe(key, sub); err != nil {
		log.Fatal(err)
	}
	log.Fatal(sub.Run(context.Background(), mux))
}

// Of portals that come and go, and without spans.
func ExampleInstrumentation_ObserveEach() {
	telemetry, err := b24otel.New(b24otel.WithTracerProvider(noop.NewTracerProvider()))
	if err != nil {
		log.Fatal(err)
	}
	portals, err := fleet.New()
	if err != nil {
		log.Fatal(err)
	}
	err = telemetry.ObserveEach(func(yield func(string, *realtime.Subscription) bool) {
		for _, key := range portals.Keys() {
			if !yield(key, portals.Subscription(key)) {
				return
			}
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	handler := realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil })
	for key, source := range map[string]realtime.ConfigSource{ /* … */ } {
		if err := portals.Add(key, source, telemetry.Middleware(key)(handler)); err != nil {
			log.Fatal(err)
		}
	}
}
