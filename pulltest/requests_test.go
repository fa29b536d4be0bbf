package pulltest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/pulltest"
)

// labKey is the key the recorded server signed with.
const labKey = "lab-secret-key"

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sign(text string) string {
	mac := hmac.New(sha1.New, []byte(labKey))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signedChannel is a channel as in the recordings, named after its owner.
func signedChannel(name string) string {
	id := md5hex(name) + ":" + md5hex(name+"public")
	return id + "." + sign(id)
}

func field(num protowire.Number, parts ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	return protowire.AppendBytes(b, bytes.Join(parts, nil))
}

func number(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func privateReceiver(id []byte) []byte {
	return field(1, field(1, id), number(2, 1))
}

func publicReceiver(id, signature []byte) []byte {
	return field(1, field(1, id), field(3, signature))
}

// incomingMessage is one message of a request; its receivers come encoded.
func incomingMessage(body string, expiry uint64, receivers ...[]byte) []byte {
	return field(1, bytes.Join(receivers, nil), field(3, []byte(body)), number(4, expiry))
}

// publishRequest is a Request with messages, statsRequest one with channels.
func publishRequest(messages ...[]byte) []byte { return field(1, field(1, messages...)) }
func statsRequest(receivers ...[]byte) []byte  { return field(1, field(2, receivers...)) }
func serverStatsRequest() []byte               { return field(1, field(3)) }
func batchOf(requests ...[]byte) []byte        { return bytes.Join(requests, nil) }

func post(t *testing.T, p *pulltest.Portal, target string, body []byte, header ...string) pollResult {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := p.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return pollResult{resp.StatusCode, resp.Header, data}
}

// trusted publishes a batch as the portal does.
func trusted(t *testing.T, p *pulltest.Portal, batch []byte) {
	t.Helper()
	if r := post(t, p, p.PushURL()+"/pub/?binaryMode=true", batch); r.status != http.StatusOK || len(r.body) > 0 {
		t.Fatalf("publishing: %d %s", r.status, r.body)
	}
	stored()
}
