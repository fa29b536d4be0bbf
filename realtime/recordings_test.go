package realtime

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// recording is what a real push server answered to one request; testdata/README.md describes the form.
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

func loadRecording(t testing.TB, name string) recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "pushserver", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// binaryFrames are all recorded protobuf frames of the server.
func binaryFrames(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "pushserver", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	frames := make(map[string][]byte)
	for _, p := range paths {
		name := filepath.Base(p[:len(p)-len(".json")])
		for i, f := range loadRecording(t, name).Frames {
			if f.Type == "binary" {
				frames[name+string(rune('a'+i))] = f.bytes(t)
			}
		}
	}
	return frames
}
