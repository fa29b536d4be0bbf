package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

const (
	// eventHold is how long an event may take that was sent.
	eventHold = 8 * time.Second
	// readyHold is how long a subscription may take to begin.
	readyHold = 12 * time.Second

	// sendHold is how long the events of a sequence are sent.
	sendHold = 4 * time.Second

	largeSize  = 20_000 // bytes
	sequence   = 10     // events
	whatToSend = "the portal says true before it sends: look whether it reaches its push server (the address for publishing, and the log of both)"
)

// checkEvents sends events by way of the portal, and waits for them in a
// subscription as any program has it.
func (x *examination) checkEvents(ctx context.Context, socket socketState) {
	names := []string{nameShared, namePrivate, nameLarge, nameValues, nameOrder}
	if why := x.sendsNothing(socket); why != "" {
		x.skipped(why, names...)
		return
	}
	began := time.Now()
	l, err := x.listen(ctx, socket)
	if err != nil {
		f := failed(err)
		f.detail = "no subscription to hear it: " + f.detail
		x.found(names[0], began, f)
		x.skipped("there is no subscription to hear it", names[1:]...)
		return
	}
	defer l.close()
	shared := x.timed(ctx, nameShared, func(ctx context.Context) finding { return x.roundTrip(ctx, l, nil) })
	var to []int64
	private := x.timed(ctx, namePrivate, func(ctx context.Context) finding {
		if x.user == 0 {
			return skip("the portal has not said who calls")
		}
		to = []int64{x.user}
		return x.roundTrip(ctx, l, to)
	})
	switch {
	case came(shared):
		to = nil
	case !came(private):
		why := "no event comes back"
		if shared.status == Skip {
			why = shared.detail
		}
		x.skipped(why, names[2:]...)
		return
	}
	x.timed(ctx, nameLarge, func(ctx context.Context) finding { return x.large(ctx, l, to) })
	x.timed(ctx, nameValues, func(ctx context.Context) finding { return x.values(ctx, l, to) })
	x.timed(ctx, nameOrder, func(ctx context.Context) finding { return x.order(ctx, l, to) })
}

const asWebhook = "a webhook cannot send events: an application can"

func came(f finding) bool { return f.status == Pass || f.status == Warn }

// sendsNothing says why no events are sent; empty: they are.
func (x *examination) sendsNothing(socket socketState) string {
	switch {
	case !x.options.events:
		return "nothing is sent unless that is wanted: WithEvents, or -emit"
	case x.client == nil || x.options.config != nil:
		return "a saved config cannot send"
	case x.ofUser:
		return asWebhook
	case x.server == nil:
		return "there is no push server to hear it from"
	case !socket.works && x.server.poll.URL == "", x.server.poll.URL == "" && !x.server.readBySocket():
		return "there is no way to hear it"
	}
	return ""
}

// An event is one of ours on its way.
type event struct {
	command string
	params  map[string]any
	run     string // tells it from those of other runs
	n       int
	sent    time.Time
}

// is reports whether a message is that event.
func (e *event) is(command string, params []byte) bool {
	run, n := marksOf(params)
	return command == e.command && run == e.run && n == e.n
}

func marksOf(params []byte) (run string, n int) {
	var marks struct {
		Run string `json:"doctor_run"`
		N   int    `json:"doctor_n"`
	}
	_ = json.Unmarshal(params, &marks) // another's event has none
	return marks.Run, marks.N
}

// A listener is a subscription that keeps what comes of a run.
type listener struct {
	run     string
	sent    int
	sub     *realtime.Subscription
	arrived chan arrival
	cancel  context.CancelFunc
	ended   chan error
	polls   bool // there is no websocket
}

type arrival struct {
	message realtime.Message
	at      time.Time
}

// listen subscribes, and waits until nothing that is sent is missed.
func (x *examination) listen(ctx context.Context, socket socketState) (*listener, error) {
	way := realtime.TransportAuto
	if !socket.works {
		way = realtime.TransportLongPolling // five failures in a row would lead there as well
	}
	connected := make(chan struct{}, 1)
	var trouble error
	sub, err := realtime.Subscribe(x.client,
		realtime.WithHTTPClient(x.httpClient), realtime.WithTransport(way),
		realtime.WithBackoff(func(int) time.Duration { return 300 * time.Millisecond }),
		realtime.WithObserver(func(e realtime.Event) {
			s, ok := e.(realtime.StateChange)
			if ok && s.To == realtime.StateWaiting && s.Cause != nil {
				trouble = s.Cause
			}
			if ok && (s.To == realtime.StateLive || s.To == realtime.StateDegraded) {
				select {
				case connected <- struct{}{}:
				default:
				}
			}
		}))
	if err != nil {
		return nil, err
	}
	l := &listener{run: rand.Text(), sub: sub, arrived: make(chan arrival, 64), ended: make(chan error, 1), polls: !socket.works}
	ctx, l.cancel = context.WithCancel(ctx)
	go func() { l.ended <- sub.Run(ctx, realtime.HandlerFunc(l.handle)) }()
	late := time.NewTimer(readyHold)
	defer late.Stop()
	select {
	case <-sub.Ready():
		return l, nil
	case err := <-l.ended:
		l.cancel()
		return nil, cmp.Or(err, errNotCome)
	case <-late.C:
	}
	select {
	case <-connected: // what is sent now comes live
		return l, nil
	default:
		l.close() // and with it the observer
		if trouble == nil {
			trouble = fmt.Errorf("not connected in %v", readyHold)
		}
		return nil, trouble
	}
}

// handle keeps a message of this run.
func (l *listener) handle(ctx context.Context, m realtime.Message) error {
	if run, _ := marksOf(m.Params); run != l.run || m.Sender.Type == realtime.SenderClient {
		return nil
	}
	select {
	case l.arrived <- arrival{m.Clone(), time.Now()}:
	case <-ctx.Done():
	}
	return nil
}

func (l *listener) close() {
	l.cancel()
	<-l.ended
}

// send sends an event to everybody, or to users.
func (x *examination) send(ctx context.Context, l *listener, command string, to []int64, params map[string]any) (*event, error) {
	l.sent++
	e := &event{command: "doctor." + command, params: params, run: l.run, n: l.sent, sent: time.Now()}
	all := map[string]any{"doctor_run": e.run, "doctor_n": e.n}
	for name, v := range params {
		all[name] = v
	}
	return e, x.client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: e.command, Params: all, UserIDs: to})
}

var errNotCome = errors.New("it did not come")

// wait waits for an event; those before it that were not waited for are let
// go.
func (l *listener) wait(ctx context.Context, e *event) (arrival, error) {
	late := time.NewTimer(eventHold)
	defer late.Stop()
	for {
		select {
		case a := <-l.arrived:
			if e.is(a.message.Command, a.message.Params) {
				return a, nil
			}
		case <-late.C:
			return arrival{}, errNotCome
		case <-ctx.Done():
			return arrival{}, ctx.Err()
		}
	}
}

// back sends an event and waits until it is back.
func (x *examination) back(ctx context.Context, l *listener, command string, to []int64, params map[string]any) (arrival, finding) {
	e, err := x.send(ctx, l, command, to, params)
	switch {
	case errors.Is(err, b24pull.ErrWrongAuthType):
		return arrival{}, skip(asWebhook)
	case err != nil:
		return arrival{}, failed(err)
	}
	a, err := l.wait(ctx, e)
	if err == nil {
		x.came, x.answered = &a.message, true
		return a, pass("back %s after it was sent", short(a.at.Sub(e.sent)))
	}
	if !errors.Is(err, errNotCome) {
		return arrival{}, failed(err)
	}
	return arrival{}, x.lookFor(ctx, e)
}

// roundTrip looks whether an event comes back, and whether live.
func (x *examination) roundTrip(ctx context.Context, l *listener, to []int64) finding {
	command, active := "private", "; or the user is not active"
	if to == nil {
		command, active = "shared", ""
	}
	a, f := x.back(ctx, l, command, to, nil)
	if f.status == Pass && a.message.Replayed { // the connection may have been a new one
		a, f = x.back(ctx, l, command, to, nil)
	}
	switch {
	case f.status == Fail && strings.HasSuffix(f.advice, whatToSend):
		f.advice += active
	case f.status == Pass && a.message.Replayed && !l.polls: // behind each poll there is a replay
		f = finding{Warn, f.detail + ", but out of the history, not live", "live delivery has a hole: look whether the push server has several processes, and each its Redis"}
	}
	return f
}

// large sends a body that is larger than buffers on the way are as a rule.
func (x *examination) large(ctx context.Context, l *listener, to []int64) finding {
	text := strings.Repeat("0123456789abcdef", largeSize/16)
	a, f := x.back(ctx, l, "large", to, map[string]any{"text": text})
	if f.status != Pass {
		return f
	}
	var got struct{ Text string }
	if err := json.Unmarshal(a.message.Params, &got); err != nil || got.Text != text {
		return finding{Fail, fmt.Sprintf("of %d bytes %d came back", len(text), len(got.Text)), "something on the way cuts large messages: look at the buffers of the gateway"}
	}
	return pass("%d bytes %s", len(text), f.detail)
}

// order sends events one after the other.
func (x *examination) order(ctx context.Context, l *listener, to []int64) finding {
	var events []*event
	for began := time.Now(); len(events) < sequence && time.Since(began) < sendHold; {
		e, err := x.send(ctx, l, "order", to, nil)
		if err != nil {
			return failed(err)
		}
		events = append(events, e)
	}
	var took []time.Duration
	var numbers []int
	late := time.NewTimer(patience - sendHold - time.Second)
	defer late.Stop()
	for len(numbers) < len(events) {
		select {
		case a := <-l.arrived:
			i := slices.IndexFunc(events, func(e *event) bool { return e.is(a.message.Command, a.message.Params) })
			if i >= 0 {
				numbers, took = append(numbers, i+1), append(took, a.at.Sub(events[i].sent))
			}
		case <-late.C:
			return finding{Fail, fmt.Sprintf("%d of %d events came back", len(numbers), len(events)), "the portal or its push server drops events: look at the log of both"}
		case <-ctx.Done():
			return failed(ctx.Err())
		}
	}
	if !slices.IsSorted(numbers) {
		return finding{Warn, fmt.Sprintf("%d events came in another order than they were sent: %s", len(events), strings.Trim(fmt.Sprint(numbers), "[]")), "several processes publish: number your events where their order matters"}
	}
	slices.Sort(took)
	return pass("%d events in order, each back in %s to %s, half of them within %s", len(events), short(took[0]), short(took[len(took)-1]), short(took[(len(took)-1)/2]))
}
