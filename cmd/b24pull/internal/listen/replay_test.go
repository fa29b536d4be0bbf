package listen

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// A replayCase is a server and what it is to be recorded from.
type replayCase struct {
	name    string
	version int
	polling bool
	secure  bool // TLS, and the secure addresses in the config
	dir     string
	answer  string   // of a poll
	live    string   // what is sent while somebody listens
	kept    []string // all that the server comes to keep
}

var (
	version1Socket = replayCase{"version 1, websocket", 1, false, true, "nginxpush", "poll_history", "ws_live", []string{"ws_history"}}
	version1Poll   = replayCase{"version 1, long polling", 1, true, false, "nginxpush", "poll_history", "poll_live", []string{"ws_history"}}
	version2Socket = replayCase{"version 2, websocket", 2, false, false, "nginxpush", "poll_history", "ws_live", []string{"ws_history"}}
	version2Poll   = replayCase{"version 2, long polling", 2, true, true, "nginxpush", "poll_history", "poll_live", []string{"ws_history"}}
	version3Socket = replayCase{"version 3, websocket", 3, false, true, "pushserver3", "poll_history", "ws_live", []string{"poll_history", "poll_live"}}
	version3Poll   = replayCase{"version 3, long polling", 3, true, false, "pushserver3", "poll_history", "poll_live", []string{"poll_history", "poll_live"}}
	version4Socket = replayCase{"version 4, websocket", 4, false, true, "pushserver", "poll_history_binary", "ws_binary", []string{"poll_history_binary"}}
	version4Twice  = replayCase{"version 4, websocket, each message twice", 4, false, false, "pushserver", "poll_history_binary", "ws_both_receivers", []string{"poll_both_receivers", "poll_live_binary"}}
	version4Poll   = replayCase{"version 4, long polling", 4, true, true, "pushserver", "poll_history_binary", "poll_live_binary", []string{"poll_both_receivers", "poll_live_binary"}}
)

var replayCases = []replayCase{
	version1Socket, version1Poll, version2Socket, version2Poll, version3Socket, version3Poll, version4Socket, version4Twice, version4Poll,
}

// start starts the case's server.
func (c replayCase) start(t *testing.T) *replayServer {
	s := &replayServer{t: t, version: c.version, polling: c.polling}
	tape := newTape(t, c.dir, c.answer, c.live, c.kept...)
	s.channel = tape.live.channel(t)
	s.text = tape
	if tape.binary {
		s.text, s.binary = nil, tape
	}
	if c.name == version4Socket.name { // the same was recorded in text framing
		s.text = newTape(t, c.dir, "poll_history_text", "ws_text", "poll_history_text")
	}
	s.silence = loadRecording(t, c.dir, "poll_timeout")
	s.nobody = s.silence.channel(t)
	poll, socket := "poll_wrong_channel", "ws_wrong_channel"
	if c.version < 3 {
		poll, socket = "poll_no_channel", "poll_no_channel"
	}
	s.refusal.poll, s.refusal.socket = loadRecording(t, c.dir, poll), loadRecording(t, c.dir, socket)
	s.start(c.secure)
	return s
}

// configFile writes a config as the portal of the server would answer it.
func (s *replayServer) configFile(channel string) string {
	private := map[string]any{"id": channel, "public_id": nil, "type": "private"}
	server := map[string]any{
		"version": strconv.Itoa(s.version), "server_enabled": "Y", "mode": "personal", "hostname": "portal.example",
		"websocket_enabled": !s.polling,
	}
	poll, socket := s.paths()
	if strings.HasPrefix(s.URL, "https:") {
		server["long_pooling_secure"] = s.URL + poll
		server["websocket_secure"] = strings.Replace(s.URL, "http", "ws", 1) + socket
		private["start"] = time.Now().Add(-time.Hour).Format(time.RFC3339)
		private["end"] = time.Now().Add(11 * time.Hour).Format(time.RFC3339)
	} else {
		server["long_polling"] = s.URL + poll
		server["websocket"] = strings.Replace(s.URL, "http", "ws", 1) + socket
	}
	config := map[string]any{"server": server, "channels": map[string]any{"private": private}}
	if s.version < 4 {
		config["publicChannels"] = false
	}
	data, err := json.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "config.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// TestReplay_RecordedServers: the program prints what real servers of versions 1 to 4
// sent while somebody listened, each message once and in order, and nothing of
// what they kept before.
func TestReplay_RecordedServers(t *testing.T) {
	t.Parallel()
	for _, c := range replayCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t)
			want := s.wanted()
			says := func(line string) {
				if strings.HasPrefix(line, "# ready") {
					s.note(func() { s.read = true })
				}
			}
			code, stdout, stderr := listenTo(t, nil, s.Client(), says, "-config", s.configFile(s.channel), "-json", "-n", strconv.Itoa(len(want)))
			if code != 0 || strings.Contains(stderr, "not connected") {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			var got []printed
			for line := range strings.Lines(stdout) {
				var e printed
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if s.polling {
					e.Replayed = false // a poll that follows the live one may have brought it
				}
				got = append(got, e)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("printed (-recorded +printed):\n%s\n%s", diff, stderr)
			}
		})
	}
}

// printed is what of a printed message stands in a recording.
type printed struct {
	ID       string            `json:"id"`
	Time     time.Time         `json:"time"`
	Module   string            `json:"module"`
	Command  string            `json:"command"`
	Params   json.RawMessage   `json:"params"`
	Sender   map[string]string `json:"sender"`
	Replayed bool              `json:"replayed"`
}

var backend = map[string]string{"type": "backend"}

// wanted is what is to be printed: the live messages, then what a read finds
// that the server came to keep after them.
func (s *replayServer) wanted() (events []printed) {
	tape := s.text
	if s.version == 4 {
		tape = s.binary
	}
	live := tape.live.messages(s.t)
	for _, m := range slices.CompactFunc(slices.Clone(tape.kept[tape.before:]), message.same) {
		sent := slices.ContainsFunc(live, m.same)
		events = append(events, printed{
			Time: m.time, Module: m.body.Module, Command: m.body.Command, Params: m.body.Params,
			ID: m.mid, Sender: backend, Replayed: !sent && !s.polling,
		})
	}
	return events
}

// TestReplay_RecordedRefusal: a channel that the server refuses ends the program with
// a clear line, which does not tell it.
func TestReplay_RecordedRefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []replayCase{version3Socket, version3Poll, version4Socket, version4Poll} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t)
			channel := s.refusal.poll.channel(t)
			code, stdout, stderr := listenTo(t, nil, s.Client(), nil, "-config", s.configFile(channel), "-json", "-n", "1")
			if code != exitFailed || stdout != "" || !strings.Contains(stderr, "get a new one from the portal") {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			for _, part := range strings.FieldsFunc(channel, func(r rune) bool { return r == ':' || r == '.' }) {
				if strings.Contains(stderr, part) {
					t.Errorf("the channel id in %q", stderr)
				}
			}
		})
	}
}

// TestReplay_Server asks as the recording client did, and gets what it got, to
// the byte.
func TestReplay_Server(t *testing.T) {
	const quiet, later = false, true // whether everything is kept
	tests := []struct {
		from  replayCase
		stage bool
		names []string
	}{
		{version1Socket, quiet, []string{"poll_history", "poll_timeout", "poll_no_channel"}},
		{version1Socket, later, []string{"ws_history", "ws_live"}},
		{version2Poll, quiet, []string{"poll_live"}},
		{version3Poll, quiet, []string{"poll_history", "poll_timeout", "poll_wrong_channel", "poll_live"}},
		{version3Socket, later, []string{"ws_live", "ws_wrong_channel"}},
		{version4Socket, quiet, []string{"poll_timeout", "poll_timeout_with_mid", "poll_wrong_channel", "ws_wrong_channel"}},
		{version4Socket, later, []string{"poll_history_binary", "poll_history_text", "ws_history_binary", "ws_binary", "ws_text"}},
		{version4Twice, later, []string{"ws_both_receivers"}},
		{version4Poll, quiet, []string{"poll_both_receivers", "poll_live_binary"}},
		{version4Poll, later, []string{"poll_bad_mid"}},
	}
	for _, tt := range tests {
		for _, name := range tt.names {
			t.Run(fmt.Sprintf("version %d, %s", tt.from.version, name), func(t *testing.T) {
				s := tt.from.start(t)
				s.read = true
				rec := loadRecording(t, tt.from.dir, name)
				if rec.Status == http.StatusNotModified {
					s.hold = time.Millisecond
				}
				if tt.stage == later {
					close(s.live)
					close(s.all)
				}
				if strings.HasPrefix(name, "ws_") {
					s.compareSocket(rec)
				} else {
					s.comparePoll(rec)
				}
			})
		}
	}
}

func (s *replayServer) comparePoll(rec recording) {
	resp, err := s.Client().Get(s.URL + rec.Path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	head := make(map[string]string)
	for name := range resp.Header {
		_, recorded := rec.Headers[name]
		if recorded || name == "Last-Message-Id" {
			head[name] = resp.Header.Get(name)
		}
	}
	if diff := cmp.Diff(rec.Headers, head); diff != "" || resp.StatusCode != rec.Status || string(body) != string(rec.body(s.t)) {
		s.t.Errorf("status %d, head (-recorded +replayed)\n%s\n%q", resp.StatusCode, diff, body)
	}
}

func (s *replayServer) compareSocket(rec recording) {
	dialer := websocket.Dialer{}
	if t, ok := s.Client().Transport.(*http.Transport); ok {
		dialer.TLSClientConfig = t.TLSClientConfig
	}
	ws, resp, err := dialer.Dial(strings.Replace(s.URL, "http", "ws", 1)+rec.Path, nil)
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != rec.Status || string(body) != string(rec.body(s.t)) {
			s.t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
		}
		return
	}
	defer ws.Close()
	for i, want := range rec.Frames {
		kind, got, err := ws.ReadMessage()
		if err != nil || string(got) != string(want.bytes(s.t)) || (kind == websocket.BinaryMessage) != (want.Type == "binary") {
			s.t.Errorf("frame %d: %q, %v", i, got, err)
		}
	}
}
