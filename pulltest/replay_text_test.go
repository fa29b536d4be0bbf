package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// textMessage is one message in text framing.
type textMessage struct {
	ID      uint64
	Mid     string
	Channel string
	Tag     string
	Time    string
	Text    json.RawMessage
}

// decodeText takes text framing apart.
func decodeText(t *testing.T, text string) []textMessage {
	t.Helper()
	var list []textMessage
	for text != "" {
		rest, ok := strings.CutPrefix(text, "#!NGINXNMS!#")
		d := json.NewDecoder(strings.NewReader(rest))
		var m textMessage
		if err := d.Decode(&m); !ok || err != nil {
			t.Fatalf("no message: %.100q: %v", text, err)
		}
		if text, ok = strings.CutPrefix(rest[d.InputOffset():], "#!NGINXNME!#"); !ok {
			t.Fatalf("a message without its end: %.100q", rest)
		}
		list = append(list, m)
	}
	return list
}

// TestReplayText_TextRecordings plays the recordings of versions 1 to 3 at the moments
// when they were made, after other messages that bring the counters to where
// they were. So every byte must be as recorded, times, tags and ids too.
func TestReplayText_TextRecordings(t *testing.T) {
	for version, server := range map[int]string{1: "nginxpush", 2: "nginxpush", 3: "pushserver3"} {
		for _, rec := range recordings(t, server) {
			t.Run(fmt.Sprintf("version %d/%s", version, rec.Case), func(t *testing.T) {
				inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
					r := &replay{T: t, p: p, rec: rec}
					r.play(newPast(r).stage())
				}, pulltest.WithVersion(version), pulltest.WithKey(labKey), pulltest.WithPingInterval(0))
			})
		}
	}
}

// past publishes recorded messages as they were published then.
type past struct {
	*replay
	channel  string // private id
	messages []textMessage
	mids     bool

	published uint64
	second    int64
	tag       int // of the last message in that second
}

func newPast(r *replay) *past {
	p := &past{replay: r}
	u, err := url.Parse(r.rec.Path)
	if err != nil {
		r.Fatal(err)
	}
	p.channel, _, _ = strings.Cut(u.Query().Get("CHANNEL_ID"), ".")
	if strings.HasSuffix(r.rec.Case, "_history") || strings.HasSuffix(r.rec.Case, "_live") {
		for _, f := range r.rec.Frames {
			p.messages = append(p.messages, decodeText(r.T, f.Text)...)
		}
		p.mids = p.messages[0].Mid != ""
	}
	return p
}

func (p *past) stage() stage {
	switch _, what, _ := strings.Cut(p.rec.Case, "_"); what {
	case "history":
		return stage{before: func(*replay) { p.prepare(); p.publishAll() }}
	case "live":
		return stage{before: func(*replay) { p.prepare() }, during: func(*replay) { p.publishAll() }}
	case "timeout":
		return stage{before: func(*replay) {
			if at, err := http.ParseTime(p.rec.Headers["Last-Modified"]); err == nil {
				time.Sleep(time.Until(at) - 40*time.Second)
			}
		}}
	}
	return stage{}
}

// prepare counts up to the first recorded id and comes close to its moment.
// Mids count all messages of the server from its first second on, the ids of
// nginx those of a channel.
func (p *past) prepare() {
	first := p.messages[0]
	start, others := p.moment(first).Add(-time.Hour), p.channel
	if p.mids {
		epoch, _ := strconv.ParseInt(first.Mid[:10], 10, 64)
		start, others = time.Unix(epoch, 0), md5hex("others")
	}
	time.Sleep(time.Until(start))
	for p.published+1 < first.ID {
		p.publish(others, "{}")
	}
	time.Sleep(time.Until(p.moment(first)) - time.Second)
}

func (p *past) publishAll() {
	for _, m := range p.messages {
		time.Sleep(time.Until(p.moment(m)))
		for tag, _ := strconv.Atoi(m.Tag); !p.mids && p.nextTag() < tag; {
			p.publish(md5hex("others"), "{}")
		}
		p.publish(p.channel, string(m.Text))
	}
}

// moment is when a message was published; with mids its tag is the millisecond.
func (p *past) moment(m textMessage) time.Time {
	at, err := http.ParseTime(m.Time)
	if err != nil {
		p.Fatal(err)
	}
	if p.mids {
		ms, _ := strconv.Atoi(m.Tag)
		at = at.Add(time.Duration(ms) * time.Millisecond)
	}
	return at
}

func (p *past) nextTag() int {
	if time.Now().Unix() != p.second {
		return 1
	}
	return p.tag + 1
}

func (p *past) publish(channel, body string) {
	p.tag = p.nextTag()
	p.second = time.Now().Unix()
	p.published++
	rawPublish(p.T, p.p, channel, body)
}

// stored waits until what was published by POST is stored, which is after the
// answer.
func stored() { time.Sleep(time.Millisecond) }

// rawPublish publishes to one channel, by its private id.
func rawPublish(t *testing.T, p *pulltest.Portal, channel, body string) {
	t.Helper()
	r := post(t, p, p.PushURL()+"/pub/?CHANNEL_ID="+channel, []byte(body), "Message-Expiry", "86400")
	if r.status != http.StatusOK {
		t.Fatalf("publishing: %d", r.status)
	}
	stored()
}
