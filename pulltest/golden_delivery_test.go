package pulltest_test

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// responses counts the messages in each response of a ResponseBatch.
func responses(t *testing.T, frame []byte) (messages []int) {
	t.Helper()
	fields(t, frame, func(_ protowire.Number, response []byte, _ uint64) {
		n := 0
		fields(t, response, func(_ protowire.Number, content []byte, _ uint64) {
			fields(t, content, func(protowire.Number, []byte, uint64) { n++ })
		})
		messages = append(messages, n)
	})
	return messages
}

// TestGolden_GatheredFrame: it is that many responses of one message, but a
// history is one response.
func TestGolden_GatheredFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		for i := range 4 {
			p.Emit(text(fmt.Sprint(i)))
		}
		if first, then := responses(t, nextFrame(t, ws)), responses(t, nextFrame(t, ws)); !slices.Equal(first, []int{1}) || !slices.Equal(then, []int{1, 1, 1}) {
			t.Errorf("frames of %v and %v", first, then)
		}
		if got := responses(t, pollMid(t, p, zeros).body); !slices.Equal(got, []int{4}) {
			t.Errorf("a poll's history: %v", got)
		}
		again := dial(t, p, zeros)
		defer again.Close()
		if got := responses(t, nextFrame(t, again)); !slices.Equal(got, []int{4}) {
			t.Errorf("a websocket's history: %v", got)
		}
	})
}

// TestGolden_MessageExpiry: how long a message is kept that the portal publishes
// with that header.
func TestGolden_MessageExpiry(t *testing.T) {
	const day = 24 * 3600
	tests := []struct {
		header string
		v4, v3 int // seconds
	}{
		{"", 0, day}, {"0", 0, day}, {"abc", 0, day}, {"-5", 0, day}, {"0x10", 0, day},
		{"60", 60, 60}, {"60s", 60, 60}, {"60.9", 60, 60}, {"1e3", 1, 1}, {"100000", day, day}, {"99999999999999999999", day, day},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			for version, seconds := range map[int]int{4: tt.v4, 3: tt.v3, 1: day} {
				ofVersion(t, []int{version}, func(t *testing.T, p *pulltest.Portal) {
					private := strings.FieldsFunc(readConfig(t, p).Channels["private"].ID, func(r rune) bool { return r == ':' || r == '.' })[0]
					head := []string{"Message-Expiry", tt.header}
					if tt.header == "" {
						head = nil
					}
					post(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+private, []byte(`{"params":{"text":"x"}}`), head...)
					stored()
					for _, after := range []int{seconds - 1, seconds + 1} {
						if after < 0 {
							continue
						}
						time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, after, 500, time.UTC)))
						if got := len(frameTexts(t, pollAs(t, p, fromTheStart...).body)); (got == 1) != (after < seconds) {
							t.Errorf("version %d, after %d s: %d messages", version, after, got)
						}
					}
				}, pulltest.WithChannelLife(48*time.Hour))
			}
		})
	}
}

// TestGolden_Statistics: over a websocket they are gathered like messages.
func TestGolden_Statistics(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws, _, err := dialURL(p, p.PushURL()+"/sub/?binaryMode=true&CHANNEL_ID="+url.QueryEscape(signedChannel("ann")))
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		id := unhex(t, md5hex("annpublic"))
		asked := publicReceiver(id, unhex(t, sign("public:"+md5hex("annpublic"))))
		answer := field(1, field(2, field(1, field(1, id), number(2, 0), number(3, 1))))
		for range 2 {
			start := time.Now()
			ws.WriteMessage(websocket.BinaryMessage, statsRequest(asked))
			if got := nextFrame(t, ws); !bytes.Equal(got, answer) || time.Since(start) != 0 {
				t.Errorf("after %v: %x", time.Since(start), got)
			}
			trusted(t, p, publishRequest(incomingMessage(`{}`, 0, privateReceiver(unhex(t, md5hex("ann"))))))
			ws.WriteMessage(websocket.BinaryMessage, statsRequest(asked))
			got := nextFrame(t, ws)
			if n := responses(t, got); !slices.Equal(n, []int{1, 1}) || !bytes.HasSuffix(got, answer) || time.Since(start) != 400*time.Millisecond {
				t.Errorf("after %v: %v, %x", time.Since(start), n, got)
			}
			time.Sleep(time.Second)
		}
	}, pulltest.WithKey(labKey))
}

// TestGolden_ReceiverTwice: who names a receiver twice has it hear the message
// twice, and keep it once.
func TestGolden_ReceiverTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		query := "?binaryMode=true&CHANNEL_ID=" + url.QueryEscape(signedChannel("ann"))
		ws, _, err := dialURL(p, p.PushURL()+"/sub/"+query)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		to := publicReceiver(unhex(t, md5hex("annpublic")), unhex(t, sign("public:"+md5hex("annpublic"))))
		twice := publishRequest(incomingMessage(`{}`, 60, to, to))
		sends := map[string]func(){
			"a client's POST": func() { post(t, p, p.PushURL()+"/rest/"+query, twice) },
			"a websocket":     func() { ws.WriteMessage(websocket.BinaryMessage, twice) },
			"the portal":      func() { trusted(t, p, twice) },
			"the portal by names": func() {
				post(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+md5hex("ann")+"/"+md5hex("ann"), []byte(`{}`), "Message-Expiry", "60")
			},
		}
		kept := 0
		for name, send := range sends {
			send()
			first, then := next(t, ws), next(t, ws)
			if len(first) != 1 || len(then) != 1 || first[0] != then[0] {
				t.Errorf("%s: %v and %v", name, first, then)
			}
			kept++
			if n := len(decode(t, get(t, p, p.PushURL()+"/sub/"+query+"&mid="+zeros).body)); n != kept {
				t.Errorf("%s: %d are kept, want %d", name, n, kept)
			}
			time.Sleep(time.Second)
		}
	}, pulltest.WithKey(labKey))
}

// TestGolden_PairByPortal: private:public.signature on pub is both ids; private
// with any signature is taken; nothing is published that is empty, and what is
// no UTF-8 is made some.
func TestGolden_PairByPortal(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		query := "/sub/?binaryMode=true&mid=" + zeros + "&CHANNEL_ID=" + url.QueryEscape(signedChannel("ann"))
		private := md5hex("ann")
		for _, tt := range []struct {
			id, body string
			want     []string
		}{
			{signedChannel("ann"), `"both"`, []string{`"both"`, `"both"`}},
			{private + "." + sign("x"), `"forged"`, []string{`"forged"`}},
			{private + ":" + md5hex("annpublic"), `"unsigned"`, nil},
			{private, "", nil},
			{private, "a\xff\xfeb", []string{"a\ufffd\ufffdb"}},
		} {
			p.Forget()
			post(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+tt.id, []byte(tt.body), "Message-Expiry", "60")
			stored()
			var got []string
			for _, m := range decode(t, get(t, p, p.PushURL()+query).body) {
				got = append(got, m.Body)
			}
			expect(t, tt.body, got, tt.want...)
		}
	}, pulltest.WithKey(labKey), pulltest.WithLongPollHold(time.Second))
}

// TestGolden_PublicIDOfPrivateListener: who listens to private.signature hears
// what is sent to the channel's public id once another has named the pair.
func TestGolden_PublicIDOfPrivateListener(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		to := publishRequest(incomingMessage(`{"params":{"text":"x"}}`, 60, publicReceiver(unhex(t, md5hex("annpublic")), nil)))
		sub := p.PushURL() + "/sub/?binaryMode=true&CHANNEL_ID="
		private, _, err := dialURL(p, sub+md5hex("ann")+"."+sign(md5hex("ann")))
		if err != nil {
			t.Fatal(err)
		}
		defer private.Close()
		l := listen(t, private)
		trusted(t, p, to)
		time.Sleep(time.Second)
		expect(t, "before anybody has named the pair", l.soFar())
		both, _, err := dialURL(p, sub+url.QueryEscape(signedChannel("ann")))
		if err != nil {
			t.Fatal(err)
		}
		defer both.Close()
		trusted(t, p, to)
		time.Sleep(time.Second)
		expect(t, "then", l.soFar(), "x")
	}, pulltest.WithKey(labKey))
}

// TestGolden_TwoChannelsOfVersion3: each copy names the first channel that was
// addressed, and the history has the message once.
func TestGolden_TwoChannelsOfVersion3(t *testing.T) {
	ofVersion(t, []int{3}, func(t *testing.T, p *pulltest.Portal) {
		ann, bob := md5hex("ann"), md5hex("bob")
		query := "/sub/?CHANNEL_ID=" + ann + "." + sign(ann) + "/" + bob + "." + sign(bob)
		ws, _, err := dialURL(p, p.PushURL()+query)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		rawPublish(t, p, ann+"/"+bob, `{}`)
		live := append(decodeText(t, string(nextFrame(t, ws))), decodeText(t, string(nextFrame(t, ws)))...)
		kept := decodeText(t, string(get(t, p, p.PushURL()+query+"&mid="+zeros).body))
		ofBob := decodeText(t, string(get(t, p, p.PushURL()+"/sub/?CHANNEL_ID="+bob+"."+sign(bob)+"&mid="+zeros).body))
		if len(live) != 2 || len(kept) != 1 || len(ofBob) != 1 {
			t.Errorf("%d live, %d and %d kept", len(live), len(kept), len(ofBob))
		}
		for _, m := range slices.Concat(live, kept, ofBob) {
			if m.Channel != ann {
				t.Errorf("channel %s", m.Channel)
			}
		}
	}, pulltest.WithKey(labKey))
}

// TestGolden_PresenceOnCluster: only the first channel of a connection counts,
// until 130 s after its last pong.
func TestGolden_PresenceOnCluster(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws, _, err := dialURL(p, p.PushURL()+"/sub/?binaryMode=true&CHANNEL_ID="+url.QueryEscape(signedChannel("ann")+"/"+signedChannel("bob")))
		if err != nil {
			t.Fatal(err)
		}
		online := func() (who []string) {
			for _, name := range []string{"ann", "bob"} {
				for id, to := range map[string][]byte{"": privateReceiver(unhex(t, md5hex(name))), "public": publicReceiver(unhex(t, md5hex(name+"public")), nil)} {
					r := post(t, p, p.PushURL()+"/pub/?binaryMode=true", statsRequest(to))
					if bytes.HasSuffix(r.body, number(3, 1)) {
						who = append(who, name+id)
					}
				}
			}
			slices.Sort(who)
			return who
		}
		expect(t, "at first", online(), "ann", "annpublic")
		go ws.ReadMessage() // answers pings
		time.Sleep(121 * time.Second)
		ws.Close()
		time.Sleep(time.Second)
		expect(t, "after a close", online(), "ann", "annpublic")
		time.Sleep(127 * time.Second)
		expect(t, "before the end", online(), "ann", "annpublic")
		time.Sleep(2 * time.Second)
		expect(t, "130 s after the pong", online())
	}, pulltest.WithKey(labKey), pulltest.WithProcesses(2, 2))
}
