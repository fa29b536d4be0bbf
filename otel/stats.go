package b24otel

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/b24pull/b24pull/realtime"
)

const (
	causeKey = attribute.Key("b24pull.cause")
	stateKey = attribute.Key("b24pull.state")
)

// counts are the counters of Stats that are a number each.
var counts = []struct {
	name, unit, description string
	of                      func(*realtime.Stats) uint64
}{
	{"messaging.client.consumed.messages", "{message}", "Number of messages that were delivered to the application.", func(s *realtime.Stats) uint64 { return s.Messages }},
	{"b24pull.messages.size", "By", "Bytes of the messages that were delivered.", func(s *realtime.Stats) uint64 { return s.Bytes }},
	{"b24pull.messages.repeated", "{message}", "Messages that came live a second time and were dropped.", func(s *realtime.Stats) uint64 { return s.Repeats }},
	{"b24pull.messages.found", "{message}", "Messages that only a replay of the history has brought.", func(s *realtime.Stats) uint64 { return s.Found }},
	{"b24pull.messages.undecodable", "{message}", "Messages that could not be decoded and were passed over.", func(s *realtime.Stats) uint64 { return s.Undecodable }},
	{"b24pull.messages.forgotten", "{message}", "Messages that are not remembered any more and may come again.", func(s *realtime.Stats) uint64 { return s.Forgotten }},
	{"b24pull.messages.handled", "{message}", "Messages that count as handled.", func(s *realtime.Stats) uint64 { return s.Handled }},
	{"b24pull.messages.skipped", "{message}", "Messages that count as handled though their handler failed.", func(s *realtime.Stats) uint64 { return s.Skipped }},
	{"b24pull.handler.failures", "{failure}", "Calls of a handler that returned an error.", func(s *realtime.Stats) uint64 { return s.Failed }},
	{"b24pull.handler.retries", "{retry}", "Calls of a handler that failed and are made again.", func(s *realtime.Stats) uint64 { return s.Retried }},
	{"b24pull.replay.done", "{replay}", "Replays of the history that were answered.", func(s *realtime.Stats) uint64 { return s.Replays }},
	{"b24pull.replay.broken", "{replay}", "Replays of the history that broke off.", func(s *realtime.Stats) uint64 { return s.BrokenReplays }},
	{"b24pull.gaps", "{gap}", "Times that messages may have been lost.", func(s *realtime.Stats) uint64 { return s.Gaps }},
	{"b24pull.renewals", "{renewal}", "Configs fetched in place of another.", func(s *realtime.Stats) uint64 { return s.Renewals }},
	{"b24pull.cursor.saves", "{save}", "Saves of the cursor.", func(s *realtime.Stats) uint64 { return s.Saves }},
	{"b24pull.cursor.failed_saves", "{save}", "Saves of the cursor that failed.", func(s *realtime.Stats) uint64 { return s.FailedSaves }},
}

// seconds are the gauges of Stats that are a time or a duration.
var seconds = []struct {
	name, description string
	of                func(*realtime.Stats) (value float64, there bool)
}{
	{"b24pull.cursor.last_save", "Unix time of the last save of the cursor.", func(s *realtime.Stats) (float64, bool) {
		return float64(s.LastSave.UnixNano()) / float64(time.Second), !s.LastSave.IsZero()
	}},
	{"b24pull.cursor.lag", "How long the oldest message that is not handled has been waiting.", func(s *realtime.Stats) (float64, bool) { return s.CursorLag.Seconds(), true }},
	{"b24pull.delivery.lag", "Time from the portal's clock in a recent live message to its arrival.", func(s *realtime.Stats) (float64, bool) { return s.Lag.Seconds(), true }},
}

// queues are what Stats says of the queue.
var queues = []struct {
	name, unit, description string
	of                      func(*realtime.Stats) int
}{
	{"b24pull.queue.messages", "{message}", "Messages received and not yet taken by a handler.", func(s *realtime.Stats) int { return s.QueuedMessages }},
	{"b24pull.queue.size", "By", "Bytes of the messages in the queue.", func(s *realtime.Stats) int { return s.QueuedBytes }},
}

// causes are those of Reconnects, which begin with 0: what appears with its
// first occurrence has no rate.
var causes = []realtime.Cause{
	realtime.CauseNetwork, realtime.CauseClosed, realtime.CauseRefused, realtime.CauseStuck,
	realtime.CauseCrowded, realtime.CauseConfig, realtime.CausePaused,
}

var states = []realtime.State{
	realtime.StateIdle, realtime.StateConfiguring, realtime.StateConnecting, realtime.StateLive,
	realtime.StateDegraded, realtime.StateWaiting, realtime.StatePaused, realtime.StateClosed,
}

// statInstruments are what Stats are observed by.
type statInstruments struct {
	counts     []metric.Int64ObservableCounter       // as counts
	seconds    []metric.Float64ObservableGauge       // as seconds
	queues     []metric.Int64ObservableUpDownCounter // as queues
	reconnects metric.Int64ObservableCounter
	state      metric.Int64ObservableGauge

	all []metric.Observable
}

func newStatInstruments(meter metric.Meter) (*statInstruments, error) {
	s := new(statInstruments)
	for _, c := range counts {
		counter, err := meter.Int64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description))
		if err != nil {
			return nil, err
		}
		s.counts, s.all = append(s.counts, counter), append(s.all, counter)
	}
	for _, c := range seconds {
		gauge, err := meter.Float64ObservableGauge(c.name, metric.WithUnit("s"), metric.WithDescription(c.description))
		if err != nil {
			return nil, err
		}
		s.seconds, s.all = append(s.seconds, gauge), append(s.all, gauge)
	}
	for _, c := range queues {
		counter, err := meter.Int64ObservableUpDownCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description))
		if err != nil {
			return nil, err
		}
		s.queues, s.all = append(s.queues, counter), append(s.all, counter)
	}
	var err error
	s.reconnects, err = meter.Int64ObservableCounter("b24pull.reconnects", metric.WithUnit("{reconnect}"), metric.WithDescription("Connections that were lost or could not be made."))
	if err != nil {
		return nil, err
	}
	s.state, err = meter.Int64ObservableGauge("b24pull.state", metric.WithUnit("{state}"), metric.WithDescription("1 for the state that the subscription is in, 0 for the others."))
	if err != nil {
		return nil, err
	}
	s.all = append(s.all, s.reconnects, s.state)
	return s, nil
}

// observe tells of one subscription.
func (s *statInstruments) observe(o metric.Observer, key string, stats realtime.Stats, state realtime.State) {
	base := []attribute.KeyValue{system, subscriptionKey.String(key)}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(base[:len(base):len(base)], more...)...))
	}
	attrs := with()
	for i, c := range counts {
		o.ObserveInt64(s.counts[i], int64(c.of(&stats)), attrs)
	}
	for i, c := range seconds {
		if value, there := c.of(&stats); there {
			o.ObserveFloat64(s.seconds[i], value, attrs)
		}
	}
	for i, c := range queues {
		o.ObserveInt64(s.queues[i], int64(c.of(&stats)), attrs)
	}
	for _, cause := range causes {
		o.ObserveInt64(s.reconnects, int64(stats.Reconnects[cause]), with(causeKey.String(string(cause))))
	}
	for _, each := range states {
		in := int64(0)
		if each == state {
			in = 1
		}
		o.ObserveInt64(s.state, in, with(stateKey.String(each.String())))
	}
}
