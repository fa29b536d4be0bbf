// Command prometheus listens to a portal and tells Prometheus how it goes, by
// way of OpenTelemetry's exporter.
//
//	cd examples/recipes
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… go run ./prometheus
//	curl http://127.0.0.1:9464/metrics
//
// Without these it listens to a portal in memory. METRICS_ADDRESS is where the
// metrics are served. alerts.yml, beside this file, has what is worth an alert;
// docs/metrics.md of this module's repository explains it. Ctrl-C ends it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	registry "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/examples/internal/demo"
	b24otel "github.com/b24pull/b24pull/otel"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	client, portal, err := demo.Connect(func(n int) pulltest.Message {
		return pulltest.Message{Command: "order.paid", Params: order{Cents: n}}
	})
	if err != nil {
		return err
	}
	defer portal.Close()

	metrics := registry.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(metrics), prometheus.WithoutScopeInfo())
	if err != nil {
		return err
	}
	telemetry, err := b24otel.New(b24otel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(exporter))))
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("METRICS_ADDRESS"), "127.0.0.1:9464"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(listener) }()
	fmt.Fprintf(out, "http://%s/metrics\n", listener.Addr())

	return listen(ctx, client, telemetry, out)
}

// order is the params of order.paid.
type order struct {
	Cents int `json:"cents"`
}

func listen(ctx context.Context, client *b24pull.Client, telemetry *b24otel.Instrumentation, out io.Writer) error {
	key := client.Portal() // tells it from other portals
	mux := realtime.NewMux()
	mux.Use(telemetry.Middleware(key))
	realtime.On(mux, "application", "order.paid", func(_ context.Context, o order, _ realtime.Message) error {
		if o.Cents < 0 {
			return errors.New("nobody pays less than nothing")
		}
		_, err := fmt.Fprintf(out, "%d cents paid\n", o.Cents)
		return err
	})
	sub, err := realtime.Subscribe(client, realtime.WithCursorStore(new(realtime.MemoryStore)), realtime.WithLogger(slog.Default()),
		realtime.WithErrorPolicy(realtime.RetryPolicy(3, time.Second, time.Minute, realtime.SkipMessage())))
	if err != nil {
		return err
	}
	if err := telemetry.Observe(key, sub); err != nil {
		return err
	}
	err = sub.Run(ctx, mux)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // asked to end
	}
	return err
}
