package jstest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

// everyWay runs a test with each version, over websockets and by long polling,
// and with a push server that many portals share.
func everyWay(t *testing.T, test func(t *testing.T, version int, polling bool, opts ...pulltest.Option)) {
	t.Helper()
	for _, polling := range []bool{false, true} {
		by := "by websocket"
		if polling {
			by = "by polls"
		}
		for version := 1; version <= 5; version++ {
			t.Run(fmt.Sprintf("version %d %s", version, by), func(t *testing.T) {
				t.Parallel()
				test(t, version, polling, pulltest.WithVersion(version))
			})
		}
		t.Run("version 4 shared "+by, func(t *testing.T) {
			t.Parallel()
			test(t, 4, polling, pulltest.WithSharedMode())
		})
	}
}

// A listener is a watched client of user 1, and what was emitted for it: events
// with their number, from 1 on, and a text for a parameter.
type listener struct {
	*testing.T
	portal *pulltest.Portal
	client *jstest.Client
	kept   []bool // by number, from 0 on
}

func listen(t *testing.T, polling bool, opts ...pulltest.Option) *listener {
	t.Helper()
	portal := pulltest.NewPortal(opts...)
	t.Cleanup(portal.Close)
	return &listener{t, portal, jstest.Start(t, jstest.Login{
		Portal: portal.URL(), Certificate: portal.Certificate(), MemberID: portal.MemberID(),
		AccessToken: portal.Token(1).AccessToken, User: 1, Polling: polling, Watched: true,
	}, 1), []bool{true}}
}

// emit emits some events, whose text is in Params if there is one, and returns
// the number of the last.
func (l *listener) emit(count int, m pulltest.Message) int {
	text, _ := m.Params.(string)
	for range count {
		n := len(l.kept)
		m.Command, m.Params = "tick", map[string]any{"n": n, "text": text}
		l.portal.Emit(m)
		l.kept = append(l.kept, m.Expiry >= 0)
	}
	return len(l.kept) - 1
}

// told are the numbers of what the client has told, in its order.
func (l *listener) told() (numbers []int) {
	for _, m := range l.client.Events() {
		numbers = append(numbers, number(l.T, m.Params))
	}
	return numbers
}

func number(t *testing.T, params json.RawMessage) int {
	t.Helper()
	var p struct{ N int }
	if err := json.Unmarshal(params, &p); err != nil {
		t.Fatal(err)
	}
	return p.N
}

// await waits until the client has told an event.
func (l *listener) await(number int) {
	l.Helper()
	wait(l.T, func() bool { return slices.Contains(l.told(), number) })
}

// cut cuts the client's connection, and returns while it is away: it comes back
// half a second later at the soonest.
func (l *listener) cut() {
	l.Helper()
	wait(l.T, l.cutNow)
}

// cutNow reports whether there was a connection to cut.
func (l *listener) cutNow() bool {
	n, err := l.portal.Cut()
	if err != nil {
		l.Fatal(err)
	}
	return n > 0
}

// back waits until the client is connected again.
func (l *listener) back() {
	l.Helper()
	wait(l.T, func() bool { return l.portal.Stats().Connections == 1 })
}

// lastFrame are the numbers in what came last of all; none if the client could
// not read it.
func (l *listener) lastFrame() (numbers []int) {
	for _, c := range l.client.Connections() {
		for _, f := range c.Frames {
			numbers = numbersOf(l.T, f)
		}
	}
	return numbers
}

func numbersOf(t *testing.T, frame []jstest.Arrived) (numbers []int) {
	t.Helper()
	for _, m := range frame {
		numbers = append(numbers, number(t, m.Params))
	}
	return numbers
}

func numbers(from, to int) (all []int) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// TestClient_Cuts: whatever is cut, the client tells each kept event once and
// in order, once it knows a position: where the server has no holes, what it
// sends live and of the history is what a client needs that goes on from the
// last message it was sent. What is not kept comes only while it listens.
func TestClient_Cuts(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, version int, polling bool, opts ...pulltest.Option) {
		l := listen(t, polling, append(opts, pulltest.WithHandover(0))...)
		if l.client.Version != version {
			t.Errorf("the client says version %d", l.client.Version)
		}
		l.await(l.emit(10, pulltest.Message{}))
		want := numbers(1, 10)
		rounds := 3
		if testing.Short() {
			rounds = 1
		}
		for range rounds {
			want = append(want, l.away(version, polling)...)
		}
		first := len(l.kept)
		last := l.stream(rounds)
		want = append(want, numbers(first, last)...)
		if got := l.told(); !slices.Equal(got, want) {
			t.Errorf("of %d, told %d\n%v,\nnot %d\n%v", last, len(got), got, len(want), want)
		}
		l.checkConnections(polling)
		if s := l.portal.Stats(); s.Replayed == 0 || (s.WebSockets > 0) == polling || s.Refused > 0 || s.RefusedRequests > 0 {
			t.Errorf("%d replayed, %d websockets, %d refused, %d requests refused", s.Replayed, s.WebSockets, s.Refused, s.RefusedRequests)
		}
		if version == 5 { // by the frame mack:, or a POST of it, which a cut can lose
			all := l.client.Connections()
			wait(t, func() bool { return l.portal.Stats().Acknowledged >= len(all[len(all)-1].Frames) })
		}
		if troubles := l.client.Troubles(); len(troubles) > 0 {
			t.Errorf("troubles: %q", troubles)
		}
	})
}

// away cuts the client, emits while it is away and when it is back, and returns
// what it should tell of that.
func (l *listener) away(version int, polling bool) (want []int) {
	l.Helper()
	l.cut()
	first := len(l.kept)
	last := l.emit(20, pulltest.Message{})
	want = numbers(first, last)
	if version >= 4 { // the servers of the others keep everything
		l.emit(1, pulltest.Message{Expiry: -1})
	}
	before := l.portal.Stats().Replayed
	l.await(last)
	if got := l.portal.Stats().Replayed - before; got != len(want) {
		l.Errorf("%d came of the history, not %d", got, len(want))
	}
	if got := l.lastFrame(); (version > 2 || polling) && !slices.Equal(got, want) {
		l.Errorf("in one frame came %v, not %v", got, want)
	}
	l.back()
	first = len(l.kept)
	if !polling && version >= 4 {
		l.emit(1, pulltest.Message{Expiry: -1})
	}
	last = l.emit(5, pulltest.Message{})
	l.await(last)
	return append(want, numbers(first, last)...)
}

// stream emits all the while, also when the connection is cut, and returns when
// the client has told the last.
func (l *listener) stream(cuts int) (last int) {
	l.Helper()
	for i := range cuts + 1 {
		first := l.emit(1, pulltest.Message{})
		wait(l.T, func() bool {
			l.emit(1, pulltest.Message{})
			told := l.told()
			return told[len(told)-1] > first+10 && (i == cuts || l.cutNow())
		})
	}
	last = l.emit(1, pulltest.Message{})
	l.await(last)
	return last
}

// checkConnections: each connection asks from the last message that came before,
// and of what is kept it is sent all from there on, without a gap, as far as it
// gets; it has a position whenever something came before.
func (l *listener) checkConnections(polling bool) {
	l.Helper()
	var last jstest.Arrived // nothing yet
	next := 1
	for i, c := range l.client.Connections() {
		if (c.Transport == "poll") != polling {
			l.Errorf("connection %d is a %s", i, c.Transport)
		}
		if c.Position != last.Position {
			l.Errorf("connection %d asks from another position than that of the last message", i)
		}
		for _, frame := range c.Frames {
			for _, n := range numbersOf(l.T, frame) {
				switch {
				case !l.kept[n]:
				case n != next:
					l.Errorf("connection %d is sent %d instead of %d", i, n, next)
					next = n + 1
				default:
					for next++; next < len(l.kept) && !l.kept[next]; next++ {
					}
				}
			}
			if len(frame) > 0 { // others answer calls
				last = frame[len(frame)-1]
			}
		}
	}
	if next != len(l.kept) {
		l.Errorf("%d was never sent", next)
	}
}
