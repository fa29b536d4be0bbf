package b24otel

import (
	"reflect"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/b24pull/b24pull/realtime"
)

// fake is a subscription with Stats of the test's own.
type fake struct {
	stats realtime.Stats
	state realtime.State
	done  chan struct{}
}

func (f *fake) Stats() realtime.Stats { return f.stats }
func (f *fake) State() realtime.State { return f.state }
func (f *fake) Done() <-chan struct{} { return f.done }

// filled is a fake each number of whose Stats is another.
func filled(t *testing.T) *fake {
	t.Helper()
	f := &fake{state: realtime.StateLive, done: make(chan struct{})}
	v := reflect.ValueOf(&f.stats).Elem()
	for i := range v.NumField() {
		n := int64(1000 + i)
		switch field := v.Field(i); field.Interface().(type) {
		case uint64:
			field.SetUint(uint64(n))
		case int:
			field.SetInt(n)
		case time.Duration:
			field.SetInt(n * int64(time.Second))
		case time.Time:
			field.Set(reflect.ValueOf(time.Unix(n, 0)))
		case map[realtime.Cause]uint64:
			field.Set(reflect.ValueOf(map[realtime.Cause]uint64{realtime.CauseStuck: uint64(n)}))
		default:
			t.Fatalf("Stats.%s is a %s, which this test does not know", v.Type().Field(i).Name, field.Type())
		}
	}
	return f
}

// metered returns an Instrumentation, and what it has told.
func metered(t *testing.T, opts ...Option) (*Instrumentation, *metric.ManualReader) {
	t.Helper()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	i, err := New(append([]Option{WithMeterProvider(provider)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return i, reader
}

// point is what a metric said of one set of attributes.
type point struct {
	value float64
	attrs attribute.Set
}

func (p point) attr(key string) string {
	v, _ := p.attrs.Value(attribute.Key(key))
	return v.String()
}

func points(data metricdata.Aggregation) (all []point, kind string) {
	add := func(v float64, attrs attribute.Set) { all = append(all, point{v, attrs}) }
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		kind = "gauges"
		if d.IsMonotonic {
			kind = "counters"
		}
		for _, p := range d.DataPoints {
			add(float64(p.Value), p.Attributes)
		}
	case metricdata.Gauge[int64]:
		kind = "gauges"
		for _, p := range d.DataPoints {
			add(float64(p.Value), p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauges"
		for _, p := range d.DataPoints {
			add(p.Value, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range d.DataPoints {
			add(float64(p.Count), p.Attributes)
		}
	}
	return all, kind
}

// collected are the metrics by their names.
func collected(t *testing.T, reader *metric.ManualReader) map[string]metricdata.Metrics {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]metricdata.Metrics)
	for _, s := range data.ScopeMetrics {
		if s.Scope.Name != scope {
			t.Errorf("the scope is %q", s.Scope.Name)
		}
		for _, m := range s.Metrics {
			all[m.Name] = m
		}
	}
	return all
}
