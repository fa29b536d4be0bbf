package b24otel

import (
	"context"
	"fmt"
	"iter"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestObserve_AllStats: each field of Stats is a metric, under the key of its
// subscription.
func TestObserve_AllStats(t *testing.T) {
	i, reader := metered(t)
	f := filled(t)
	if err := i.observe("one", f); err != nil {
		t.Fatal(err)
	}
	if err := i.observe("two", &fake{done: make(chan struct{})}); err != nil {
		t.Fatal(err)
	}
	values := map[float64]string{}
	zeros := 0
	for name, m := range collected(t, reader) {
		all, _ := points(m.Data)
		for _, p := range all {
			if p.attr("messaging.system") != "bitrix24" {
				t.Errorf("%s has %v", name, p.attrs.ToSlice())
			}
			switch key := p.attr("messaging.destination.subscription.name"); {
			case key == "one" && p.value >= 1000:
				values[p.value] = name
			case key == "two" && p.value == 0:
				zeros++
			case name == "b24pull.state" && p.value == 1:
				want := map[string]string{"one": "live", "two": "idle"}[key]
				if got := p.attr("b24pull.state"); got != want {
					t.Errorf("the state of %s is %q, want %q", key, got, want)
				}
			case name == "b24pull.state", name == "b24pull.reconnects" && p.value == 0:
			default:
				t.Errorf("%s of %q is %v", name, key, p.value)
			}
		}
	}
	fields := reflect.TypeFor[realtime.Stats]()
	for n := range fields.NumField() {
		if values[float64(1000+n)] == "" {
			t.Errorf("no metric has Stats.%s", fields.Field(n).Name)
		}
	}
	if want := fields.NumField() - 2 + len(causes) + len(states) - 1; zeros != want { // no last save
		t.Errorf("%d numbers of a new subscription are told, want %d", zeros, want)
	}
}

// TestObserve_Enums: the causes and states are all that there are.
func TestObserve_Enums(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range states {
		if text := s.String(); seen[text] {
			t.Errorf("state %q is there twice", text)
		} else {
			seen[text] = true
		}
	}
	if beyond := realtime.State(len(states)).String(); !strings.Contains(beyond, fmt.Sprint(len(states))) {
		t.Errorf("there is a state %q", beyond)
	}
	source, err := os.ReadFile("../realtime/stats.go")
	if err != nil {
		t.Skip("the source of package realtime is not here")
	}
	if n := len(regexp.MustCompile(`(?m)^\tCause\w+ +Cause = `).FindAll(source, -1)); n != len(causes) {
		t.Errorf("there are %d causes, and %d are told", n, len(causes))
	}
}

// TestDoc_Metrics: the table of the package's documentation has each metric
// with its kind and its unit, and no other.
func TestDoc_Metrics(t *testing.T) {
	i, reader := metered(t)
	if err := i.observe("one", filled(t)); err != nil {
		t.Fatal(err)
	}
	_ = i.Middleware("one")(handler(nil)).Handle(t.Context(), realtime.Message{})
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	told := collected(t, reader)
	heading := regexp.MustCompile(`^//\t(counters|gauges|histogram)\b`)
	row := regexp.MustCompile(`^//\t([a-z0-9_.]+) +(\{\w+\}|By|s) +\S`)
	kind := ""
	for line := range strings.Lines(string(doc)) {
		if found := heading.FindStringSubmatch(line); found != nil {
			kind = found[1]
			continue
		}
		found := row.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		m, there := told[found[1]]
		_, is := points(m.Data)
		if !there || m.Unit != found[2] || is != kind || m.Description == "" {
			t.Errorf("the documentation has %s in %s among the %s; the metric is %q in %q", found[1], found[2], kind, is, m.Unit)
		}
		delete(told, found[1])
	}
	for name := range told {
		t.Errorf("the documentation lacks %s", name)
	}
}

// TestObserve_Ends: what a subscription has come to is told once after its end,
// and then its key is free.
func TestObserve_Ends(t *testing.T) {
	i, reader := metered(t)
	first, second := filled(t), filled(t)
	handled := func() []float64 {
		all, _ := points(collected(t, reader)["b24pull.messages.handled"].Data)
		values := []float64{}
		for _, p := range all {
			values = append(values, p.value)
		}
		return values
	}
	if err := i.observe("portal", first); err != nil {
		t.Fatal(err)
	}
	if err := i.observe("portal", second); err == nil || !strings.Contains(err.Error(), `"portal"`) {
		t.Errorf("the key of another subscription: %v", err)
	}
	first.stats.Handled = 5
	close(first.done)
	if got := handled(); !slices.Equal(got, []float64{5}) {
		t.Errorf("at the end %v are handled, want 5", got)
	}
	if got := handled(); len(got) != 0 {
		t.Errorf("after the end %v are told", got)
	}
	second.stats.Handled = 1
	if err := i.observe("portal", second); err != nil {
		t.Error(err)
	}
	if got := handled(); !slices.Equal(got, []float64{1}) {
		t.Errorf("of the next one %v are handled, want 1", got)
	}
	if err := i.Shutdown(); err != nil {
		t.Error(err)
	}
	if got := handled(); len(got) != 0 {
		t.Errorf("after Shutdown %v are told", got)
	}
}

// TestObserve_Subscription: of a real subscription, observed by itself and
// among those that come and go.
func TestObserve_Subscription(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	i, reader := metered(t)
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := realtime.Subscribe(client, realtime.WithHistory())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Observe("one", sub); err != nil {
		t.Fatal(err)
	}
	each := func(yield func(string, *realtime.Subscription) bool) {
		_ = yield("several", sub) && yield("", sub) && yield("none", nil)
	}
	if err := i.ObserveEach(iter.Seq2[string, *realtime.Subscription](each)); err != nil {
		t.Fatal(err)
	}
	const n = 5
	for range n {
		portal.Emit(pulltest.Message{Command: "order.paid"})
	}
	mux, handled := realtime.NewMux(), 0
	mux.HandleMessage("application", "order.paid", handler(func() error {
		if handled++; handled == n {
			sub.Close()
		}
		return nil
	}))
	if err := sub.Run(t.Context(), i.Middleware("one")(mux)); err != nil {
		t.Fatal(err)
	}
	metrics := collected(t, reader)
	for name, want := range map[string][]string{
		"messaging.client.consumed.messages": {"one", "several"},
		"b24pull.messages.handled":           {"one", "several"},
		"messaging.process.duration":         {"one"},
	} {
		all, _ := points(metrics[name].Data)
		var keys []string
		for _, p := range all {
			keys = append(keys, p.attr("messaging.destination.subscription.name"))
			if p.value != n {
				t.Errorf("%s is %v, want %d", name, p.value, n)
			}
		}
		if slices.Sort(keys); !slices.Equal(keys, want) {
			t.Errorf("%s is told of %q, want %q", name, keys, want)
		}
	}
}

// TestObserveEach_Locks: what lists the subscriptions may hold a lock that is
// held while others are observed, and observe some itself.
func TestObserveEach_Locks(t *testing.T) {
	i, reader := metered(t)
	var mu sync.Mutex
	listing, observing := make(chan struct{}), make(chan struct{})
	err := i.ObserveEach(func(func(string, *realtime.Subscription) bool) {
		if err := i.observe("listed", filled(t)); err != nil {
			t.Error(err)
		}
		close(listing)
		<-observing
		mu.Lock()
		defer mu.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	var adding sync.WaitGroup
	adding.Go(func() {
		<-listing
		mu.Lock()
		defer mu.Unlock()
		close(observing)
		if err := i.observe("added", filled(t)); err != nil {
			t.Error(err)
		}
	})
	all, _ := points(collected(t, reader)["b24pull.messages.handled"].Data)
	adding.Wait()
	if len(all) == 0 {
		t.Error("what the function has observed is not told")
	}
}

// TestErrors: what is missing is an error that says what to give.
func TestErrors(t *testing.T) {
	i, _ := metered(t)
	for want, err := range map[string]error{
		"give noop.NewMeterProvider":  second(New(WithMeterProvider(nil))),
		"give noop.NewTracerProvider": second(New(WithTracerProvider(nil))),
		"the key is empty":            i.observe("", filled(t)),
		"the subscription is nil":     i.Observe("one", nil),
		"the function is nil":         i.ObserveEach(nil),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "b24otel: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if _, err := New(WithMeterProvider(noop.NewMeterProvider())); err != nil {
		t.Error(err)
	}
}

func second(_ *Instrumentation, err error) error { return err }

// handler calls f, if there is one.
func handler(f func() error) realtime.Handler {
	return realtime.HandlerFunc(func(context.Context, realtime.Message) error {
		if f == nil {
			return nil
		}
		return f()
	})
}
