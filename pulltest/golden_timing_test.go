package pulltest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// TestGolden_Pings: each websocket has a timer of its own, and a payload.
func TestGolden_Pings(t *testing.T) {
	ofVersion(t, []int{3, 4}, func(t *testing.T, p *pulltest.Portal) {
		for range 2 {
			ws, opened := connectAs(t, p), time.Now()
			ws.SetPingHandler(func(payload string) error {
				if after := time.Since(opened); after != 120*time.Second || payload != "ws ping" {
					t.Errorf("a ping %v after its websocket was opened: %q", after, payload)
				}
				return ws.Close()
			})
			go ws.ReadMessage()
			time.Sleep(7 * time.Second)
		}
		time.Sleep(3 * time.Minute)
		if n := p.Stats().Pings; n != 2 {
			t.Errorf("%d pings", n)
		}
	})
}

// TestGolden_PingWhileGathering: what is gathered is sent if the pong is there
// by then; what came before it goes on being gathered. With hostile timing a
// ping drops what is being gathered whenever the pong comes.
func TestGolden_PingWhileGathering(t *testing.T) {
	// no pings but the test's own, and no disorder
	hostile := []pulltest.Option{pulltest.WithHostileTiming(), pulltest.WithPingInterval(0), pulltest.WithDisorder(0)}
	for _, tt := range []struct {
		name string
		pong time.Duration
		want []string
		opts []pulltest.Option
	}{
		{"a quick pong", 0, []string{"first", "gathered", "in the hole", "late"}, nil},
		{"a pong after 300 ms", 300 * time.Millisecond, []string{"first", "gathered", "in the hole", "late"}, nil},
		{"a pong after 450 ms", 450 * time.Millisecond, []string{"first", "late"}, nil},
		{"hostile, a quick pong", 0, []string{"first", "in the hole", "late"}, hostile},
		{"hostile, a pong after 300 ms", 300 * time.Millisecond, []string{"first", "late"}, hostile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				ws := dial(t, p, "")
				defer ws.Close()
				ws.SetPingHandler(func(payload string) error {
					time.AfterFunc(tt.pong, func() { ws.WriteControl(websocket.PongMessage, []byte(payload), time.Time{}) })
					return nil
				})
				l := listen(t, ws)
				p.Emit(text("first"))
				p.Emit(text("gathered"))
				p.Ping()
				time.Sleep(100 * time.Millisecond)
				p.Emit(text("in the hole"))
				time.Sleep(400 * time.Millisecond)
				p.Emit(text("late"))
				time.Sleep(time.Second)
				expect(t, "heard", l.soFar(), tt.want...)
			}, tt.opts...)
		})
	}
}

// TestGolden_Handover: what is published between the history and the
// registration is not sent; where one process finds no history there is no such
// time.
func TestGolden_Handover(t *testing.T) {
	tests := []struct {
		name    string
		version int
		kept    bool
		wide    time.Duration
		opts    []pulltest.Option
	}{
		{"one process", 4, true, 500 * time.Microsecond, nil},
		{"one process, nothing kept", 4, false, 0, nil},
		{"a cluster", 4, true, 400 * time.Microsecond, []pulltest.Option{pulltest.WithProcesses(2, 2)}},
		{"a cluster, nothing kept", 4, false, 400 * time.Microsecond, []pulltest.Option{pulltest.WithProcesses(2, 2)}},
		{"version 3", 3, true, 400 * time.Microsecond, nil},
		{"version 3, nothing kept", 3, false, 0, nil},
		{"hostile", 4, false, 2 * time.Millisecond, []pulltest.Option{pulltest.WithHostileTiming(), pulltest.WithDisorder(0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, after := range []time.Duration{tt.wide - 100*time.Microsecond, tt.wide + 100*time.Microsecond} {
				if after < 0 {
					continue
				}
				ofVersion(t, []int{tt.version}, func(t *testing.T, p *pulltest.Portal) {
					last := zeros
					if tt.kept {
						p.Emit(text("kept"))
					} else {
						last = p.Emit(text("kept"))
					}
					ws := connectAs(t, p, "mid", last)
					defer ws.Close()
					time.Sleep(after)
					p.Emit(text("meanwhile"))
					var got []string
					for ws.SetReadDeadline(time.Now().Add(5 * time.Second)); ; {
						_, frame, err := ws.ReadMessage()
						if err != nil {
							break
						}
						got = append(got, frameTexts(t, frame)...)
					}
					var want []string
					if tt.kept {
						want = append(want, "kept")
					}
					if after > tt.wide {
						want = append(want, "meanwhile")
					}
					expect(t, fmt.Sprintf("published %v after the 101", after), got, want...)
				}, tt.opts...)
			}
		})
	}
}

// TestHostileTiming: what is kept takes up to a second to be stored, and pings
// come every 5 s.
func TestHostileTiming(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		listen(t, ws) // and answer pings
		longest := time.Duration(0)
		for range 20 {
			start, before := time.Now(), p.Stats().Stored
			p.Emit(text("kept"))
			for p.Stats().Stored == before {
				time.Sleep(time.Millisecond)
			}
			longest = max(longest, time.Since(start))
		}
		if longest < 800*time.Millisecond || longest > 1001*time.Millisecond {
			t.Errorf("a message was stored after %v", longest)
		}
		before := p.Stats().Pings
		time.Sleep(20 * time.Second)
		if n := p.Stats().Pings - before; n != 4 {
			t.Errorf("%d pings in 20 s", n)
		}
	}, pulltest.WithHostileTiming())
}

// TestHostileTiming_Disorder: kept messages overtake each other, unless an
// option behind it says that one process publishes.
func TestHostileTiming_Disorder(t *testing.T) {
	for _, tt := range []struct {
		overtaken bool
		opts      []pulltest.Option
	}{
		{true, []pulltest.Option{pulltest.WithHostileTiming()}},
		{false, []pulltest.Option{pulltest.WithHostileTiming(), pulltest.WithProcesses(1, 1)}},
	} {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			ws := dial(t, p, "")
			defer ws.Close()
			l := listen(t, ws)
			var sent []string
			for i := range 50 {
				sent = append(sent, fmt.Sprint(i))
				p.Emit(text(sent[i]))
			}
			time.Sleep(2 * time.Second)
			if got := l.soFar(); len(got) != len(sent) || slices.Equal(got, sent) == tt.overtaken {
				t.Errorf("overtaken: want %t, heard %v", tt.overtaken, got)
			}
		}, tt.opts...)
	}
}

// TestGolden_GatheringOfVersion3 ends at ticks of the server, not a while after
// a frame.
func TestGolden_GatheringOfVersion3(t *testing.T) {
	for version, want := range map[int]time.Duration{3: 300 * time.Millisecond, 4: 400 * time.Millisecond} {
		ofVersion(t, []int{version}, func(t *testing.T, p *pulltest.Portal) {
			ws := connectAs(t, p)
			defer ws.Close()
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 4, int(100*time.Millisecond), time.UTC)))
			start := time.Now()
			p.Emit(text("at once"))
			p.Emit(text("gathered"))
			for _, after := range []time.Duration{0, want} {
				nextFrame(t, ws)
				if got := time.Since(start); got != after {
					t.Errorf("a frame after %v, want %v", got, after)
				}
			}
		})
	}
}

// TestGolden_Tag: three digits of milliseconds.
func TestGolden_Tag(t *testing.T) {
	ofVersion(t, []int{3, 4}, func(t *testing.T, p *pulltest.Portal) {
		ws := connectAs(t, p, "binaryMode", "")
		defer ws.Close()
		time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 4, int(7*time.Millisecond), time.UTC)))
		p.Emit(text("x"))
		if frame := string(nextFrame(t, ws)); !strings.Contains(frame, `"tag":"007"`) {
			t.Error("the tag of the 7th millisecond is not 007")
		}
	})
}

// TestGolden_PollWhereNothingIsKept: one process registers it at once.
func TestGolden_PollWhereNothingIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		hanging := pollLater(t, p, zeros)
		synctest.Wait()
		p.Emit(text("at once"))
		expect(t, "the poll", texts(t, decode(t, (<-hanging).body)), "at once")
	})
}

// TestGolden_LiveOrder: on a real server of version 4 a third of the live
// messages came behind a greater mid when half had an expiry of 0, and on a
// cluster a fifth when none had. They were published in bursts.
func TestGolden_LiveOrder(t *testing.T) {
	tests := []struct {
		name     string
		version  int
		unkept   bool
		opts     []pulltest.Option
		measured float64
	}{
		{"one process", 4, false, nil, 0},
		{"one process, half not kept", 4, true, nil, 1. / 3},
		{"a cluster", 4, false, []pulltest.Option{pulltest.WithProcesses(2, 2)}, 1. / 5},
		{"version 3", 3, false, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ofVersion(t, []int{tt.version}, func(t *testing.T, p *pulltest.Portal) {
				channel := readConfig(t, p).Channels["private"].ID[:32]
				ws := connectAs(t, p)
				random := rand.New(rand.NewPCG(3, 4))
				bursts, size := 100, 6
				if testing.Short() {
					bursts = 50
				}
				go publishBursts(t, p, channel, random, bursts, size, tt.unkept, 50*time.Millisecond)
				late, greatest := 0, ""
				for n := 0; n < bursts*size; {
					for _, m := range frameMessages(t, nextFrame(t, ws)) {
						n++
						if m.Mid < greatest {
							late++
						}
						greatest = max(greatest, m.Mid)
					}
				}
				share := float64(late) / float64(bursts*size)
				if share < tt.measured/3 || share > tt.measured*3 {
					t.Errorf("%.2f of the messages came late, on a real server %.2f", share, tt.measured)
				}
			}, tt.opts...)
		})
	}
}

// publishBursts publishes bursts of so many messages to a channel, one within
// 300 µs of the other and a pause between the bursts; half of them are not kept
// if unkept says so.
func publishBursts(t *testing.T, p *pulltest.Portal, channel string, random *rand.Rand, bursts, size int, unkept bool, pause time.Duration) {
	for range bursts {
		for range size {
			expiry := "60"
			if unkept && random.IntN(2) == 0 {
				expiry = "0"
			}
			go publishSoon(t, p, channel, expiry)
			time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
		}
		time.Sleep(pause)
	}
}

// publishSoon publishes from a goroutine of its own.
func publishSoon(t *testing.T, p *pulltest.Portal, channel, expiry string) {
	req, err := http.NewRequest(http.MethodPost, p.PushURL()+"/pub/?CHANNEL_ID="+channel, strings.NewReader(`{}`))
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Message-Expiry", expiry)
	resp, err := p.HTTPClient().Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	resp.Body.Close()
}
