package b24otel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/b24pull/b24pull/realtime"
)

// scope names this package among what instruments a program.
const scope = "github.com/b24pull/b24pull/otel"

// Attributes that several signals have.
const (
	systemKey       = attribute.Key("messaging.system")
	subscriptionKey = attribute.Key("messaging.destination.subscription.name")
	operationKey    = attribute.Key("messaging.operation.name")
	errorTypeKey    = attribute.Key("error.type")
)

var system = systemKey.String("bitrix24")

// Instrumentation gives OpenTelemetry what happens in subscriptions. Its
// methods can be called by several goroutines.
type Instrumentation struct {
	tracer   trace.Tracer // nil: there are to be no spans
	duration metric.Float64Histogram
	stats    *statInstruments
	callback metric.Registration

	listing sync.Mutex // of who ranges over each; locked before mu

	mu       sync.Mutex
	observed map[string]source
	each     []iter.Seq2[string, *realtime.Subscription]
}

// source is a *realtime.Subscription, as far as it is observed.
type source interface {
	Stats() realtime.Stats
	State() realtime.State
	Done() <-chan struct{}
}

type options struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
}

// An Option says where telemetry goes.
type Option func(*options) error

// WithMeterProvider sets where metrics go, in place of OpenTelemetry's global
// provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(o *options) error {
		if p == nil {
			return errors.New("b24otel: WithMeterProvider: the provider is nil; for no metrics give noop.NewMeterProvider()")
		}
		o.meters = p
		return nil
	}
}

// WithTracerProvider sets where spans go, in place of OpenTelemetry's global
// provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(o *options) error {
		if p == nil {
			return errors.New("b24otel: WithTracerProvider: the provider is nil; for no spans give noop.NewTracerProvider()")
		}
		o.tracers = p
		return nil
	}
}

// New makes the instruments. One Instrumentation serves all subscriptions of a
// program.
func New(opts ...Option) (*Instrumentation, error) {
	o := options{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	meter := o.meters.Meter(scope)
	i := &Instrumentation{observed: make(map[string]source)}
	if _, none := o.tracers.(noop.TracerProvider); !none {
		i.tracer = o.tracers.Tracer(scope)
	}
	var err error
	i.duration, err = meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of processing operation."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	if err != nil {
		return nil, fmt.Errorf("b24otel: %w", err)
	}
	if i.stats, err = newStatInstruments(meter); err != nil {
		return nil, fmt.Errorf("b24otel: %w", err)
	}
	if i.callback, err = meter.RegisterCallback(i.collect, i.stats.all...); err != nil {
		return nil, fmt.Errorf("b24otel: %w", err)
	}
	return i, nil
}

// Shutdown ends the observing of subscriptions. What a Middleware measures goes
// on.
func (i *Instrumentation) Shutdown() error { return i.callback.Unregister() }

// Observe has the Stats of a subscription collected under a key. When its run
// has ended they are collected once more, and the key is free again. A key that
// another subscription has is an error.
func (i *Instrumentation) Observe(key string, sub *realtime.Subscription) error {
	if sub == nil {
		return errors.New("b24otel: Observe: the subscription is nil")
	}
	return i.observe(key, sub)
}

func (i *Instrumentation) observe(key string, sub source) error {
	if key == "" {
		return errors.New("b24otel: Observe: the key is empty; give the portal's name, or whatever tells subscriptions apart")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if other, taken := i.observed[key]; taken && other != sub && !ended(other) {
		return fmt.Errorf("b24otel: Observe: another subscription has the key %q, and has not ended", key)
	}
	i.observed[key] = sub
	return nil
}

// ObserveEach has the Stats of whatever subscriptions there are collected,
// under their keys: subs is ranged over each time, by one goroutine at a time,
// and has to come to its end soon. It is for those of a program that come and
// go. Keys that are there twice, or in Observe too, count once.
func (i *Instrumentation) ObserveEach(subs iter.Seq2[string, *realtime.Subscription]) error {
	if subs == nil {
		return errors.New("b24otel: ObserveEach: the function is nil")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.each = append(i.each, subs)
	return nil
}

func ended(s source) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// collect is called by OpenTelemetry.
func (i *Instrumentation) collect(_ context.Context, o metric.Observer) error {
	for key, sub := range i.sources() {
		i.stats.observe(o, key, sub.Stats(), sub.State())
	}
	return nil
}

// sources are the subscriptions to collect from. Of those that have ended it is
// the last time.
func (i *Instrumentation) sources() map[string]source {
	i.listing.Lock()
	defer i.listing.Unlock()
	i.mu.Lock()
	each := slices.Clone(i.each)
	i.mu.Unlock()
	all := make(map[string]source)
	for _, subs := range each { // without mu: it may wait for who waits for mu
		for key, sub := range subs {
			if key != "" && sub != nil {
				all[key] = sub
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for key, sub := range i.observed {
		if ended(sub) {
			delete(i.observed, key)
		}
		all[key] = sub
	}
	return all
}
