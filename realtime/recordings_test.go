package realtime

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// recording is what a real push server answered to one request;
// testdata/README.md describes the form.
type recording struct {
	Case   string           `json:"case"`
	Path   string           `json:"path"`
	Status int              `json:"status"`
	Frames []recordingFrame `json:"frames"`
}

type recordingFrame struct {
	Type string `json:"type"`
	Hex  string `json:"hex"`
	Text string `json:"text"`
	Code int    `json:"code"`
}

func (f recordingFrame) bytes(t testing.TB) []byte {
	if f.Type != "binary" {
		return []byte(f.Text)
	}
	b, err := hex.DecodeString(f.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loadRecording loads one of the version 4 server.
func loadRecording(t testing.TB, name string) recording {
	t.Helper()
	return loadRecordingOf(t, "pushserver", name)
}

func loadRecordingOf(t testing.TB, server, name string) recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", server, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// binaryFrames are all recorded protobuf frames of the version 4 server.
func binaryFrames(t testing.TB) map[string][]byte {
	t.Helper()
	return framesOf(t, "pushserver", "binary")
}

// framesOf are all recorded frames of one server and type.
func framesOf(t testing.TB, server, typ string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", server, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	frames := make(map[string][]byte)
	for _, p := range paths {
		name := filepath.Base(p[:len(p)-len(".json")])
		for i, f := range loadRecordingOf(t, server, name).Frames {
			if f.Type == typ {
				frames[name+string(rune('a'+i))] = f.bytes(t)
			}
		}
	}
	return frames
}
