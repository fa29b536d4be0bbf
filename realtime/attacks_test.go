package realtime

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// An attack is what a server does to a subscription for half a minute, and what
// of it may be seen outside of it meanwhile.
type attack struct {
	versions []int     // 2 to 5 if there are none
	over     Transport // both if it is zero
	// strike is what the server sends, every so often.
	strike func(a *assault, n int)
	every  time.Duration
	// answer answers in the server's place, or reports that it does not.
	answer func(a *assault, w http.ResponseWriter, r *http.Request, next http.Handler) bool
	most   counted
}

// counted is what is seen in half a minute, at the most.
type counted struct {
	polls, sockets, configs int // asked for
	lines                   int // logged, at Info and above
	told                    int // to the observer
	open                    int // connections, at any time
}

// What is seen of attacks at the most, unless they say otherwise: four reads a
// second where there are websockets, and over long polling ten short ones and
// 20 polls.
var (
	overSockets = counted{polls: 145, sockets: 10, configs: 8, lines: 20, told: 160, open: 10}
	overPolls   = counted{polls: 1110, configs: 8, lines: 50, told: 410, open: 10}
)

// assault is an attack under way.
type assault struct {
	*life
	version int
	attack  attack
	asked   counts
	going   atomic.Bool
	written atomic.Uint64 // messages made up, or bytes
	log     lineCount
}

// handler counts what is asked, and lets the attack answer while it is under
// way.
func (a *assault) handler() pulltest.Option {
	a.asked.n = make(map[string]int)
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.asked.mu.Lock()
			a.asked.n[requestKind(r)]++
			a.asked.mu.Unlock()
			if !a.going.Load() || a.attack.answer == nil || !a.attack.answer(a, w, r, next) {
				next.ServeHTTP(w, r)
			}
		})
	})
}

func (a *assault) seen() counted {
	synctest.Wait()
	a.mu.Lock()
	told := len(a.events)
	a.mu.Unlock()
	a.log.mu.Lock()
	lines := a.log.n
	a.log.mu.Unlock()
	return counted{polls: a.asked.of("poll"), sockets: a.asked.of("websocket"), configs: a.asked.of("config"), lines: lines, told: told}
}

// halfMinute goes on for half a minute, and returns what is seen.
func (a *assault) halfMinute() counted {
	before, open := a.seen(), 0
	for n, end := 0, time.Now().Add(30*time.Second); time.Now().Before(end); n++ {
		if a.attack.strike != nil {
			a.attack.strike(a, n)
		}
		open = max(open, a.portal.Stats().Connections)
		time.Sleep(max(a.attack.every, time.Millisecond))
	}
	after := a.seen()
	return counted{
		polls: after.polls - before.polls, sockets: after.sockets - before.sockets, configs: after.configs - before.configs,
		lines: after.lines - before.lines, told: after.told - before.told, open: open,
	}
}

func (s counted) within(most counted) bool {
	return s.polls <= most.polls && s.sockets <= most.sockets && s.configs <= most.configs &&
		s.lines <= most.lines && s.told <= most.told && s.open <= most.open
}

// made is a message that is made up, in the framing of a version: the nth,
// which no portal keeps.
func (a *assault) made(n uint64, command string) []byte {
	body := `{"module_id":"application","command":"` + command + `","params":[]}`
	switch a.version {
	case 2:
		return fmt.Appendf(nil, `#!NGINXNMS!#{"id":%d,"channel":"c","tag":"%d","time":"Sun, 02 Jan 2000 10:00:00 GMT","text":%s}#!NGINXNME!#`, n, n, body)
	case 3:
		return fmt.Appendf(nil, `#!NGINXNMS!#{"id":%d,"mid":"%s","channel":"c","tag":"1","time":"Sun, 02 Jan 2000 10:00:00 GMT","text":%s}#!NGINXNME!#`, n, wire.Mid{Epoch: 0x9467_0000, Counter: n}, body)
	case 4:
		return wiretest.Frame([][]byte{wiretest.Message(0x9467_0000, n, command)})
	default:
		return []byte(wiretest.Call(fmt.Sprintf(`{"mid":"%s","body":%s}`, wire.Mid{Epoch: 0x9467_0000, Counter: n}, body)))
	}
}

func control(command string, params any) func(*assault, int) {
	return func(a *assault, _ int) { a.portal.Control(command, params, pulltest.Private) }
}

// bomb is 16 MiB of nothing in 16 kB.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	nothing := bytes.Repeat([]byte{' '}, 1<<20)
	for range 16 {
		_, _ = z.Write(nothing)
	}
	_ = z.Close()
	return b.Bytes()
})

// endless answers with a header that does not end.
func (a *assault) endless(w http.ResponseWriter, begin string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.t.Error(err)
		return
	}
	defer conn.Close()
	_, err = conn.Write([]byte(begin))
	part := []byte(strings.Repeat("X-More: 0123456789\r\n", 200))
	for n := 0; err == nil; n += len(part) {
		if n > 1<<20 {
			a.t.Errorf("%d bytes of a header were taken", n)
			return
		}
		_, err = conn.Write(part)
	}
}

// everyPoll answers polls, which are reads where there are websockets.
func everyPoll(answer func(a *assault, w http.ResponseWriter, r *http.Request)) func(*assault, http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(a *assault, w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if requestKind(r) != "poll" {
			return false
		}
		answer(a, w, r)
		return true
	}
}

// everySocket answers what asks for a websocket.
func everySocket(answer func(a *assault, w http.ResponseWriter)) func(*assault, http.ResponseWriter, *http.Request, http.Handler) bool {
	return func(a *assault, w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if requestKind(r) != "websocket" {
			return false
		}
		answer(a, w)
		return true
	}
}

func cutOnce(a *assault, n int) {
	if n == 0 {
		a.portal.Cut()
	}
}

var attacks = map[string]attack{
	"peace": {every: time.Second, most: counted{polls: 8, told: 8, open: 1}},

	"storm of channel_expire": {every: 250 * time.Millisecond, strike: control("channel_expire", map[string]any{"action": "get_config"})},
	"storm of config_expire":  {every: 250 * time.Millisecond, strike: control("config_expire", nil)},
	"storm of server_restart": {every: 250 * time.Millisecond, strike: control("server_restart", nil)},
	"storm of false successors": {every: 250 * time.Millisecond, strike: func(a *assault, n int) {
		a.portal.Control("channel_expire", forged("", fmt.Sprintf("%032x", n)), pulltest.Private)
	}},
	"storm of true successors": {every: 250 * time.Millisecond, strike: func(a *assault, n int) {
		a.portal.ExpireChannel(pulltest.Target(n%2), "reconnect")
	}},
	"commands of a client": {versions: []int{4, 5}, every: 250 * time.Millisecond, strike: func(a *assault, n int) {
		a.portal.EmitAsClient(pulltest.Message{Module: "pull", Command: []string{"channel_expire", "config_expire", "server_restart"}[n%3]})
	}, most: counted{polls: 260, told: 160, open: 1}},
	"thousands of commands in a frame": {every: 10 * time.Second, strike: func(a *assault, n int) {
		for i := range 500 {
			a.portal.Control("channel_expire", forged(fmt.Sprintf("%032x", i), fmt.Sprintf("%032x", n)), pulltest.Both)
		}
	}},

	"flood of pings":   {every: 10 * time.Millisecond, over: TransportWebSocket, strike: func(a *assault, _ int) { a.portal.Ping() }, most: counted{polls: 17, told: 17, open: 1}},
	"flood of repeats": {every: 100 * time.Millisecond, strike: func(a *assault, _ int) { a.portal.Emit(pulltest.Message{To: pulltest.Both}) }},
	"flood of what cannot be decoded": {every: 250 * time.Millisecond, strike: func(a *assault, n int) {
		a.portal.Emit(pulltest.Message{Body: fmt.Sprint("no json ", n)})
	}},
	"flood of sequences": {every: 100 * time.Millisecond, strike: func(a *assault, _ int) { a.portal.Forget(); a.emit("of another sequence") }},
	"flood of messages": {every: 100 * time.Millisecond, strike: func(a *assault, _ int) {
		for range 20 {
			a.emit("one of many")
		}
	}},

	"news at once, one by one": {answer: everyPoll(func(a *assault, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(a.made(a.written.Add(1), "news"))
	})},
	"the same at once": {answer: everyPoll(func(a *assault, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(a.made(1, "same")) })},
	"giant ids": {answer: everyPoll(func(a *assault, w http.ResponseWriter, _ *http.Request) {
		made := string(a.made(a.written.Add(1), "giant"))
		_, _ = io.WriteString(w, strings.Replace(made, `"id":`, `"id":1`+strings.Repeat("0", 100_000), 1)+made)
	})},
	"bombs": {answer: everyPoll(func(_ *assault, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	})},
	"bombs of what cannot be decoded": {versions: []int{3}, answer: everyPoll(func(a *assault, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(a.made(a.written.Add(1), "good"))
		_, _ = io.WriteString(w, strings.Repeat(`#!NGINXNMS!#{"id":1}#!NGINXNME!#`, 1000))
	})},
	"trickled answers": {strike: cutOnce, every: time.Second, answer: func(a *assault, w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if requestKind(r) != "poll" {
			return false
		}
		trickle(w, r, next, 10, time.Second)
		return true
	}},

	"endless headers of websockets": {over: TransportWebSocket, strike: cutOnce, every: time.Second, answer: everySocket(func(a *assault, w http.ResponseWriter) {
		a.endless(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
	})},
	"endless headers of polls": {strike: cutOnce, every: time.Second, answer: everyPoll(func(a *assault, w http.ResponseWriter, _ *http.Request) {
		a.endless(w, "HTTP/1.1 200 OK\r\n")
	})},
	"cuts": {every: 100 * time.Millisecond, strike: func(a *assault, _ int) { a.portal.Cut() }},
	"closed as too many": {every: 100 * time.Millisecond, over: TransportWebSocket, strike: func(a *assault, _ int) {
		a.portal.CloseWebSockets(4029, "4029: Too many connections")
	}},
	"refused channels": {every: 100 * time.Millisecond, over: TransportWebSocket, strike: func(a *assault, _ int) {
		a.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
	}},
	"refused after a while": {every: 11 * time.Second, over: TransportWebSocket, strike: func(a *assault, _ int) {
		a.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
	}},
	"refused polls": {strike: cutOnce, answer: everyPoll(func(_ *assault, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadRequest) })},
	"come back in a second": {strike: cutOnce, every: time.Second, answer: func(_ *assault, w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}},
}

// TestAttacks: whatever a server does to a subscription for half a minute, what
// is seen of it outside is bounded; and when it is over, what the server keeps
// is delivered once.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for name, attack := range attacks {
		if attack.versions == nil {
			attack.versions = []int{2, 3, 4, 5}
		}
		for _, version := range attack.versions {
			for _, transport := range both {
				if attack.over != TransportAuto && attack.over != transport || !resttest.Thorough && transport == TransportLongPolling && version != 3 {
					continue
				}
				t.Run(fmt.Sprint(name, "/version ", version, " ", transport), func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) { (&assault{life: l, version: version, attack: attack}).run(transport) })
				})
			}
		}
	}
}

func (a *assault) run(transport Transport) {
	a.open(pulltest.WithVersion(a.version), a.handler())
	a.subscribe(nil, WithTransport(transport), WithLogger(slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelInfo}))))
	a.life.run(nil)
	<-a.sub.Ready()
	a.tickFor(20*time.Second, time.Second)
	time.Sleep(2 * time.Minute)
	a.going.Store(true)
	seen := a.halfMinute()
	a.going.Store(false)
	a.t.Logf("%s: %+v", a.t.Name(), seen)
	most := a.attack.most
	switch {
	case most != (counted{}):
	case transport == TransportLongPolling:
		most = overPolls
	default:
		most = overSockets
	}
	if !seen.within(most) {
		a.t.Errorf("in half a minute %+v, at most there should be %+v", seen, most)
	}
	time.Sleep(10 * time.Minute)
	before := a.ticks
	gaps := countEvents[Gap](a.life)
	a.tickFor(20*time.Second, time.Second)
	time.Sleep(10 * time.Minute)
	if lost, repeated, _ := a.ticked(); lost+repeated > 0 {
		a.t.Errorf("lost %d, repeated %d of %d, %d of them before", lost, repeated, a.ticks, before)
	}
	if n := countEvents[Gap](a.life); n > gaps {
		a.t.Errorf("%d gaps afterwards", n-gaps)
	}
}
