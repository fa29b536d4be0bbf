package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestLog: what happened has numbers, messages are kept apart, and one can wait
// for what is still to come.
func TestLog(t *testing.T) {
	a := newAPI(t)
	var empty, log, messages events
	a.get("log", &empty)
	if len(empty.Events) != 0 || empty.Last != 0 {
		t.Fatalf("in the beginning: %+v", empty)
	}
	waited := make(chan answer)
	go func() { waited <- a.do("GET", "/v1/portals/main/log?kind=published&after=0&wait_seconds=30", "") }()
	status(t, a.portal())
	a.post("emit", `{"command":"hello","params":{"text":"<&>"}}`)
	if err := json.Unmarshal([]byte((<-waited).body), &log); err != nil || len(log.Events) != 1 {
		t.Fatalf("waited for %d events, %v", len(log.Events), err)
	}
	var e event
	if err := json.Unmarshal(log.Events[0], &e); err != nil || e.Kind != pulltest.Published || e.Command != "hello" || e.N == 0 || e.N > log.Last {
		t.Errorf("the event is %d, %s %q, %v", e.N, e.Kind, e.Command, err)
	}
	a.get("messages?after=0", &messages)
	if len(messages.Events) != 1 || messages.Lost {
		t.Errorf("messages: %d, lost: %t", len(messages.Events), messages.Lost)
	}
	a.get(fmt.Sprintf("log?after=%d", log.Last), &empty)
	if len(empty.Events) != 0 {
		t.Errorf("behind the last: %d events", len(empty.Events))
	}
}

// TestJournal_Bounds: the log is bounded in number and bytes, says what is
// lost, and requests do not push out messages.
func TestJournal_Bounds(t *testing.T) {
	j := newJournal()
	j.add(pulltest.Event{Kind: pulltest.Published})
	for range mostRecords + 10 {
		j.add(pulltest.Event{Kind: pulltest.Requested})
	}
	all := j.read(0, false, 10)
	if len(j.all.records) != mostRecords || !all.lost || all.records[0].n != 12 {
		t.Errorf("kept %d records from %d on, lost: %t", len(j.all.records), all.records[0].n, all.lost)
	}
	if c := j.read(11, false, 10); c.lost {
		t.Error("behind what was lost nothing is")
	}
	if c := j.read(0, true, 10); c.lost || len(c.records) != 1 {
		t.Errorf("of messages %d are kept, lost: %t", len(c.records), c.lost)
	}
	large := pulltest.Event{Kind: pulltest.Published, Body: strings.Repeat("x", 1<<20)}
	for range 40 {
		j.add(large)
	}
	for _, r := range []ring{j.all, j.messages} {
		if r.bytes > mostRecordBytes || len(r.records) == 0 {
			t.Errorf("%d bytes in %d records", r.bytes, len(r.records))
		}
	}
	j.clear(time.Now())
	j.add(pulltest.Event{Kind: pulltest.Published}) // told of late
	if c := j.read(0, false, 10); c.lost || len(c.records) != 0 || c.last == 0 {
		t.Errorf("cleared: %d records, lost: %t, last %d", len(c.records), c.lost, c.last)
	}
}

// TestStream: a stream begins with the present or behind a number, goes on
// behind Last-Event-ID, and ends with its portal.
func TestStream(t *testing.T) {
	a := newAPI(t)
	listen := func(query string, header ...string) *stream { return openStream(t, a, query, header...) }
	now := listen("")
	a.post("emit", `{"command":"one"}`)
	id, e := now.next()
	if e.Command != "one" || id != fmt.Sprint(e.N) {
		t.Errorf("got %q as %s, want one as %d", e.Command, id, e.N)
	}
	a.post("emit", `{"command":"two"}`)
	now.next()
	if _, e := listen("", "Last-Event-ID", id).next(); e.Command != "two" {
		t.Errorf("behind one comes %q", e.Command)
	}
	if _, e := listen("?after=0").next(); e.Command != "one" {
		t.Errorf("all begins with %q", e.Command)
	}
	if got := a.do("GET", "/v1/portals/main/events", "", "Last-Event-ID", "x"); got.status != 400 {
		t.Errorf("behind x: %d", got.status)
	}
	a.do("DELETE", "/v1/portals/main", "")
	for {
		if _, err := now.lines.ReadString('\n'); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestStream_Slow: a reader that takes nothing is let go; others and the portal
// do not wait for it.
func TestStream_Slow(t *testing.T) {
	if testing.Short() {
		t.Skip("much is written")
	}
	t.Parallel()
	a := newAPI(t)
	a.server.patience = 100 * time.Millisecond
	p := a.portal()
	openStream(t, a, "") // and nothing is read of it
	body, _ := json.Marshal(map[string]string{"body": strings.Repeat("x", 1<<20)})
	for i := 0; p.streams.Load() > 0; i++ {
		if i < resttest.Rounds(64) {
			a.post("emit", string(body)) // more than sockets hold
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stream is an open stream of events.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
}

func openStream(t *testing.T, a *api, query string, header ...string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/v1/portals/main/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if media := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || media != "text/event-stream" {
		t.Fatalf("a stream: %d, %s", resp.StatusCode, media)
	}
	return &stream{t, bufio.NewReader(resp.Body)}
}

// next is the next event.
func (s *stream) next() (id string, e event) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if after, ok := strings.CutPrefix(line, "id: "); ok {
			id = after
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				s.t.Fatal(err)
			}
			return id, e
		}
	}
}
