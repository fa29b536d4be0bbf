package jstest_test

import (
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/jstest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestClient_Rules: what the client loses, and what it tells twice, by its own
// rules, while the server does all it has to.
func TestClient_Rules(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, version int, polling bool, opts ...pulltest.Option) {
		l := listen(t, polling, append(opts, pulltest.WithHandover(0))...)
		var want []int

		// Before the first message it has no position to go on from.
		l.cut()
		l.emit(1, pulltest.Message{})
		l.back()
		want = append(want, l.emit(1, pulltest.Message{}))
		l.await(2)

		// A message that comes by two channels has one mid.
		want = append(want, l.emit(1, pulltest.Message{To: pulltest.Both}))
		l.await(3)

		// nginx sends the history channel by channel. The client goes on from
		// what came last, here that of the shared channel, and knows no repeats
		// without mids.
		l.cut()
		l.emit(1, pulltest.Message{})
		l.emit(1, pulltest.Message{To: pulltest.Shared})
		l.emit(1, pulltest.Message{})
		if l.await(5); version <= 2 {
			want = append(want, 4, 6, 5, 6)
		} else {
			l.await(6)
			want = append(want, 4, 5, 6)
		}
		l.back()
		l.cut()
		want = append(want, l.emit(1, pulltest.Message{}))
		l.await(7)
		l.back()

		// Text frames are cut at each delimiter. Where nothing could be read of
		// a frame the client forgets the mid, but not tag and time.
		n := l.emit(1, pulltest.Message{Params: "#!NGINXNME!#"})
		if version >= 4 {
			want = append(want, n)
			l.await(n)
		} else {
			wait(t, func() bool { return l.lastFrame() == nil })
		}
		l.cut()
		n = l.emit(1, pulltest.Message{})
		if version != 3 {
			want = append(want, n)
		}
		l.back()
		want = append(want, l.emit(1, pulltest.Message{}))
		l.await(n + 1)

		if got := l.told(); !slices.Equal(got, want) {
			t.Errorf("told %v, not %v", got, want)
		}
	})
}

// TestClient_CannotPublish: below version 4 nobody can, and of version 5 the
// client calls over its websocket only.
func TestClient_CannotPublish(t *testing.T) {
	t.Parallel()
	for version, words := range map[int]string{1: "not supported", 2: "not supported", 3: "not supported", 5: "not connected"} {
		l := listen(t, version == 5, pulltest.WithVersion(version))
		err := l.client.Publish(t.Context(), "hello", nil, 0, 1)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("version %d: %v", version, err)
		}
		if version < 5 {
			continue
		}
		if _, err := l.client.CountChannels(t.Context()); err == nil || !strings.Contains(err.Error(), words) {
			t.Error(err)
		}
		// Batches it posts all the same, and hears of no answer.
		if err := l.client.Flood(t.Context(), 1, 20, 10, 1); err != nil {
			t.Error(err)
		}
		wait(t, func() bool { return l.portal.Stats().ClientMessages == 20 })
	}
}

// TestClient_Losses: where the server has holes, the client loses what it was
// never sent, though the history has it, and tells what it was sent but for
// repeats of the last ten.
func TestClient_Losses(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, version int, polling bool, opts ...pulltest.Option) {
		if version < 3 {
			t.Skip("nginx has one process, which keeps the order")
		}
		l := listen(t, polling, append(opts, pulltest.WithProcesses(2, 2), pulltest.WithHostileTiming(), pulltest.WithPingInterval(0))...)
		wait(t, func() bool { l.emit(1, pulltest.Message{}); return len(l.told()) > 0 })
		lost, cuts, last, told := 0, 0, 0, []int(nil)
		for lost == 0 {
			if cuts++; cuts > 30 {
				t.Fatal("nothing is lost: there are no holes")
			}
			before := len(l.told())
			wait(t, func() bool { l.emit(2, pulltest.Message{}); return len(l.told()) > before+10 && l.cutNow() })
			last = len(l.kept) - 1
			wait(t, func() bool { s := l.portal.Stats(); return s.Stored == last && s.Connections == 1 })
			// Whatever comes now comes behind the rest.
			wait(t, func() bool { l.emit(1, pulltest.Message{}); return slices.Max(l.told()) > last })
			told = l.told()
			lost = 0
			for n := 1; n <= last; n++ {
				if !slices.Contains(told, n) {
					lost++
				}
			}
		}
		if sent := withoutRepeats(t, version, l.client.Connections()); !slices.Equal(told, sent[:len(told)]) {
			t.Errorf("told %v of what was sent: %v", told, sent)
		}
		history := l.history()
		for n := 1; n <= last; n++ {
			if !slices.Contains(history, n) {
				t.Errorf("%d is not in the history", n)
			}
		}
		twice := len(told) - len(slices.Compact(slices.Sorted(slices.Values(told))))
		t.Logf("%d lost and %d twice of %d, in %d cuts", lost, twice, last, cuts)
	})
}

// withoutRepeats are the messages of connections, without those whose mid is
// among the last ten that a frame before has left, or in this frame before;
// in version 5 those of a batch are looked at one by one.
func withoutRepeats(t *testing.T, version int, connections []jstest.Connection) (numbers []int) {
	t.Helper()
	var mids []string
	for _, c := range connections {
		for _, frame := range c.Frames {
			for _, m := range frame {
				if !slices.Contains(mids, m.Mid) {
					mids = append(mids, m.Mid)
					numbers = append(numbers, number(t, m.Params))
				}
				if version == 5 {
					mids = mids[max(0, len(mids)-10):]
				}
			}
			mids = mids[max(0, len(mids)-10):]
		}
	}
	return numbers
}

// history are the numbers of all that is kept for user 1, by a poll of a text
// mode subscriber.
func (l *listener) history() (numbers []int) {
	l.Helper()
	var config struct {
		Server struct {
			LongPoolingSecure string `json:"long_pooling_secure"`
		}
		Channels struct{ Private struct{ ID string } }
		JWT      string
		ClientID string
	}
	if err := json.Unmarshal(l.portal.ConfigJSON(), &config); err != nil {
		l.Fatal(err)
	}
	query := url.Values{"mid": {strings.Repeat("0", 26)}, "CHANNEL_ID": {config.Channels.Private.ID}}
	if config.JWT != "" {
		query = url.Values{"mid": query["mid"], "token": {config.JWT}}
	}
	if config.ClientID != "" {
		query.Set("clientId", config.ClientID)
	}
	answer, err := l.portal.HTTPClient().Get(config.Server.LongPoolingSecure + "?" + query.Encode())
	if err != nil {
		l.Fatal("the history cannot be had")
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		l.Fatal(err)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(string(all), "#!NGINXNME!#"), "#!NGINXNME!#") {
		var m struct{ Text jstest.Message }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(part, "#!NGINXNMS!#")), &m); err != nil {
			l.Fatal(err)
		}
		numbers = append(numbers, number(l.T, m.Text.Params))
	}
	return numbers
}
