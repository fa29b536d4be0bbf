package pulltest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// Connections are dealt in turn, and each process counts its own.
func TestProcesses(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		sockets := make([]*websocket.Conn, 200)
		for i := range sockets {
			sockets[i] = dial(t, p, "")
			defer sockets[i].Close()
		}
		if s := p.Stats(); s.Evicted != 0 || s.Connections != 200 {
			t.Errorf("stats %+v", s)
		}
		defer dial(t, p, "").Close()
		if _, _, err := sockets[0].ReadMessage(); !websocket.IsCloseError(err, 4029) {
			t.Errorf("the oldest websocket of the first process reads %v", err)
		}
		for i := range 3 {
			p.Emit(text(fmt.Sprint(i)))
		}
		for _, ws := range sockets[1:] {
			if got := append(next(t, ws), next(t, ws)...); len(got) != 3 {
				t.Fatalf("a process sends %d of 3 messages", len(got))
			}
		}
		var stats []map[string]any
		if err := json.Unmarshal(get(t, p, p.PushURL()+"/server-stat/").body, &stats); err != nil || len(stats) != 3 {
			t.Fatalf("server-stat: %v, %v", stats, err)
		}
		for i, want := range []map[string]any{{"websockets": 100.}, {"websockets": 100.}, {"websockets": 0.}} {
			for name, n := range want {
				if stats[i][name] != n {
					t.Errorf("process %d: %v", i, stats[i])
				}
			}
		}
	}, pulltest.WithProcesses(2, 3))
}

func TestProcesses_NeedAtLeastOne(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a push server without publishers")
		}
	}()
	pulltest.NewPortal(pulltest.WithProcesses(1, 0))
}

func TestProcesses_Silence(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		first, second := dial(t, p, ""), dial(t, p, "")
		defer first.Close()
		defer second.Close()
		silenced, other := listen(t, first), listen(t, second)
		p.Silence(0, 10*time.Second)
		seen := p.Emit(text("unheard"))
		p.Ping()
		time.Sleep(10*time.Second - time.Millisecond)
		p.Emit(text("just before"))
		time.Sleep(time.Second)
		p.Emit(text("heard"))
		expect(t, "the silenced process sent", silenced.soFar(), "heard")
		expect(t, "the other process sent", other.soFar(), "unheard", "just before", "heard")
		if s := p.Stats(); s.Unheard != 2 || s.Pings != 2 || s.Stored != 3 {
			t.Errorf("stats %+v", s)
		}
		expect(t, "the history holds", kept(t, p, seen), "just before", "heard")
	}, pulltest.WithProcesses(2, 1), pulltest.WithGather(0))
}

// disorder publishes n messages, every third of expiry 0 if mixed, and returns
// the numbers as they came over a websocket.
func disorder(t *testing.T, p *pulltest.Portal, n int, mixed bool) (mids []string, came []int) {
	ws := dial(t, p, "")
	defer ws.Close()
	l := listen(t, ws)
	for i := range n {
		m := text(fmt.Sprint(i))
		if mixed && i%3 == 0 {
			m.Expiry = -1
		}
		mids = append(mids, p.Emit(m))
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(time.Second)
	for _, s := range l.soFar() {
		i, _ := strconv.Atoi(s)
		came = append(came, i)
	}
	if len(came) != n {
		t.Fatalf("%d of %d messages came", len(came), n)
	}
	return mids, came
}

func inversions(numbers []int) (n int) {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] < numbers[i-1] {
			n++
		}
	}
	return n
}

func TestProcesses_Disorder(t *testing.T) {
	const n = 120
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		mids, came := disorder(t, p, n, false)
		if inversions(came) == 0 {
			t.Error("no message was overtaken")
		}
		for publisher := range 2 {
			own := slices.DeleteFunc(slices.Clone(came), func(i int) bool { return i%2 != publisher })
			if inversions(own) > 0 {
				t.Errorf("publisher %d overtook itself: %v", publisher, own)
			}
		}
		all := kept(t, p, zeros)
		for i := range n {
			if len(all) != n || all[i] != fmt.Sprint(i) {
				t.Fatalf("the history of %d messages is not in mid order", len(all))
			}
		}
		for i, mid := range mids[:n-1] { // whoever resumes from a mid never gets a lower one that came later
			expect(t, "the history after "+all[i], kept(t, p, mid), all[i+1:]...)
		}
	}, pulltest.WithGather(0), pulltest.WithProcesses(1, 2), pulltest.WithDisorder(100*time.Millisecond))
}

// One publisher keeps the order of what is kept; what is not overtakes it.
func TestProcesses_DisorderOfOnePublisher(t *testing.T) {
	const n = 120
	opts := []pulltest.Option{pulltest.WithGather(0), pulltest.WithDisorder(100 * time.Millisecond)}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if _, came := disorder(t, p, n, false); inversions(came) != 0 {
			t.Errorf("kept messages overtook each other: %v", came)
		}
	}, opts...)
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		_, came := disorder(t, p, n, true)
		if inversions(came) == 0 {
			t.Error("no message of expiry 0 overtook a kept one")
		}
		stored := slices.DeleteFunc(slices.Clone(came), func(i int) bool { return i%3 == 0 })
		sent := slices.DeleteFunc(slices.Clone(came), func(i int) bool { return i%3 != 0 })
		if inversions(stored)+inversions(sent) > 0 {
			t.Errorf("out of order: %v and %v", stored, sent)
		}
	}, opts...)
}

// The id is given out at once; storing and sending take up to the time set.
func TestProcesses_DisorderDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		l := listen(t, ws)
		p.Emit(text("kept"))
		synctest.Wait()
		if s := p.Stats(); s.Published != 1 || s.Stored != 0 {
			t.Errorf("at once: %+v", s)
		}
		time.Sleep(time.Second)
		if s := p.Stats(); s.Stored != 1 {
			t.Errorf("a second later: %+v", s)
		}
		if a := <-l.frames; a.at == 0 || a.at > time.Second {
			t.Errorf("sent after %v", a.at)
		}
		p.Emit(text("too late"))
	}, pulltest.WithDisorder(time.Second))
}

func TestProcesses_Forget(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		epoch := time.Now().Unix()
		ws := dial(t, p, "")
		defer ws.Close()
		p.Emit(text("a"))
		p.Emit(text("b"))
		p.Forget()
		p.Forget()
		if got, want := p.Emit(text("c")), fmt.Sprintf("%010d%016d", epoch+1, 1); got != want {
			t.Errorf("at once: mid %s, want %s", got, want)
		}
		expect(t, "the history holds", kept(t, p, zeros), "c")
		time.Sleep(time.Hour)
		p.Forget()
		if got, want := p.Emit(text("d")), fmt.Sprintf("%010d%016d", epoch+3600, 1); got != want {
			t.Errorf("later: mid %s, want %s", got, want)
		}
		if got := p.Emit(text("e")); got[10:] != fmt.Sprintf("%016d", 2) {
			t.Errorf("then: mid %s", got)
		}
		var live []string
		for range 5 {
			live = append(live, texts(t, next(t, ws))...)
		}
		expect(t, "the websocket heard", live, "a", "b", "c", "d", "e")
	}, pulltest.WithGather(0), pulltest.WithPingInterval(0))
}
