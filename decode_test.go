package b24pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/resttest"
)

func TestDecode_UnixTimes(t *testing.T) {
	good := map[string]time.Time{
		"0":                    {},
		"0.0":                  {},
		"1":                    time.Unix(1, 0),
		"1774965918.322255":    time.Unix(1774965918, 322255000),
		"1774965918.000000001": time.Unix(1774965918, 1),
		"1.1234567899":         time.Unix(1, 123456789),
		"253402300799":         time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	for text, want := range good {
		if got, ok := phpjson.ParseUnix(text); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v, %t; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e9", "1.2.3", "1.123456789x", " 1", "253402300800", "99999999999999999999"} {
		if got, ok := phpjson.ParseUnix(text); ok {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

// TestDecode_ConfigValues checks the values that the golden files leave out.
func TestDecode_ConfigValues(t *testing.T) {
	tests := []struct{ server, want string }{
		{`"version":"+x"`, "config.server.version"},
		{`"version":1e3`, "config.server.version"},
		{`"version":9223372036854775808`, "config.server.version"},
		{`"version":""`, "config.server.version"},
		{`"server_enabled":" "`, "config.server.server_enabled"},
		{`"server_enabled":-1`, "config.server.server_enabled"},
		{`"mode":true`, "config.server.mode"},
		{`"config_timestamp":"9999-12-31T23:59:59-23:00"`, "config.server.config_timestamp"},
		{`"config_timestamp":true`, "config.server.config_timestamp"},
		{`"clientId":[]`, "config.server.clientId"},
	}
	for _, tt := range tests {
		data := strings.Replace(resttest.MinimalConfig, `"version":4`, tt.server, 1)
		var c Config
		err := json.Unmarshal([]byte(data), &c)
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), "b24pull: "+tt.want+": want ") {
			t.Errorf("%s: got %v", tt.server, err)
		}
	}
}

func TestDecode_FailedDecodeLeavesTheConfig(t *testing.T) {
	var c Config
	if err := json.Unmarshal([]byte(resttest.MinimalConfig), &c); err != nil {
		t.Fatal(err)
	}
	before := dump(&c)
	for _, data := range []string{`{"server":{"version":5}}`, `null`, `[]`, `{`, ``, `{"result":[]}`} {
		if err := c.UnmarshalJSON([]byte(data)); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if dump(&c) != before || string(c.Raw()) != resttest.MinimalConfig {
		t.Errorf("the config was changed: %s", dump(&c))
	}
}

// TestDecode_ChannelAsInAConfig: a channel by itself is decoded as it is within a
// config.
func TestDecode_ChannelAsInAConfig(t *testing.T) {
	files, err := filepath.Glob("testdata/rest/*.json")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cfg Config
		var raw struct {
			Result struct {
				Channels struct{ Shared, Private json.RawMessage }
			}
		}
		if cfg.UnmarshalJSON(data) != nil || json.Unmarshal(data, &raw) != nil {
			continue
		}
		alone := map[*Channel]json.RawMessage{cfg.Channels.Shared: raw.Result.Channels.Shared, cfg.Channels.Private: raw.Result.Channels.Private}
		for want, data := range alone {
			if want == nil {
				continue
			}
			var got Channel
			if err := json.Unmarshal(data, &got); err != nil || got != *want {
				t.Errorf("%s: %v, decoded alone differs: %t", file, err, got != *want)
			}
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("%d channels compared", compared)
	}
}

// TestDecode_NewChannel: new_channel of channel_expire has its start in Unix seconds.
func TestDecode_NewChannel(t *testing.T) {
	var params struct {
		NewChannel *Channel `json:"new_channel"`
	}
	err := json.Unmarshal([]byte(`{"action":"reconnect","new_channel":{"id":"new-id","public_id":null,"start":1774965918,
		"end":"2026-04-01T05:05:18+02:00","type":"private"}}`), &params)
	want := Channel{ID: "new-id", Type: "private", Start: time.Unix(1774965918, 0).UTC(), End: time.Date(2026, 4, 1, 3, 5, 18, 0, time.UTC)}
	if err != nil || *params.NewChannel != want {
		t.Errorf("%v, %+v with id %q", err, *params.NewChannel, string(params.NewChannel.ID))
	}
}

func TestDecode_BadChannel(t *testing.T) {
	tests := []struct{ data, want string }{
		{``, "b24pull: channel: want JSON, got what is none"},
		{`{`, "b24pull: channel: want JSON, got what is none"},
		{`null`, "b24pull: channel: want an object, got null"},
		{`"s3cr3t"`, "b24pull: channel: want an object, got a string"},
		{`["s3cr3t"]`, "b24pull: channel: want an object, got an array that is not empty"},
		{`[]`, "b24pull: channel.id: missing"},
		{`{}`, "b24pull: channel.id: missing"},
		{`{"id":"","public_id":"s3cr3t"}`, "b24pull: channel.id: missing"},
		{`{"id":null,"public_id":"s3cr3t"}`, "b24pull: channel.id: missing"},
		{`{"id":["s3cr3t"]}`, "b24pull: channel.id: want a string, got an array"},
		{`{"id":"s3cr3t","start":"s3cr3t"}`, "b24pull: channel.start: want a time in RFC 3339 or Unix seconds, got a string that is neither"},
	}
	before := Channel{ID: "the-id", Type: "shared"}
	for _, tt := range tests {
		c := before
		if err := c.UnmarshalJSON([]byte(tt.data)); !errors.Is(err, ErrInvalidConfig) || fmt.Sprint(err) != tt.want {
			t.Errorf("%s: got %v, want %s", tt.data, err, tt.want)
		}
		if c != before {
			t.Errorf("%s: the channel was changed", tt.data)
		}
	}
	var again Channel
	data, err := json.Marshal(before)
	if err != nil || !errors.Is(json.Unmarshal(data, &again), ErrInvalidConfig) {
		t.Errorf("marshalled and without its secrets it was taken: %s, %v", data, err)
	}
}

func TestDecode_MarshalledConfigIsNoConfig(t *testing.T) {
	var c, again Config
	if err := json.Unmarshal([]byte(resttest.MinimalConfig), &c); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &again); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("%s was taken: %v", data, err)
	}
}

func TestDecode_RawIsACopy(t *testing.T) {
	data := []byte(resttest.MinimalConfig)
	var c Config
	if err := c.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	data[0] = 'x'
	c.Raw()[0] = 'y'
	if string(c.Raw()) != resttest.MinimalConfig {
		t.Errorf("Raw is %s", c.Raw())
	}
	if (*Config)(nil).Raw() != nil || new(Config).Raw() != nil {
		t.Error("Raw of nothing is something")
	}
}

func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/rest/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, again Config
		if err := c.UnmarshalJSON(data); err != nil {
			if !errors.Is(err, ErrInvalidConfig) {
				t.Errorf("not ErrInvalidConfig: %v", err)
			}
			return
		}
		if err := again.UnmarshalJSON(c.Raw()); err != nil || dump(&again) != dump(&c) {
			t.Errorf("loaded again: %v", err)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Errorf("marshal: %v", err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"error":"expired_token","error_description":"s3cr3t-token"}`))
	f.Add(500, []byte(`{"result":true,"error":{"code":"x"}}`))
	f.Add(200, []byte(`{"error":{"code":"x","message":"s3cr3t-token","validation":[{"field":"a","message":"s3cr3t-token"},["b"],{"c":["d"]}]}}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := response{method: methodConfig, status: status, body: body, redactor: redact.Redactor{}.With("s3cr3t-token")}
		if _, err := a.result(); err != nil && strings.Contains(err.Error(), "s3cr3t-token") {
			t.Errorf("the error tells the token: %v", err)
		}
	})
}

// TestDecode_ConfigFlags: PHP writes false as "" where it makes a string of it, and an
// option that nobody has set too; so a flag of that says nothing.
func TestDecode_ConfigFlags(t *testing.T) {
	for value, want := range map[string]bool{`true`: true, `"Y"`: true, `1`: true, `"1"`: true, `false`: false, `"N"`: false, `"0"`: false, `null`: true, `""`: true} {
		data := strings.Replace(resttest.MinimalConfig, `"version":4`, `"version":4,"websocket_secure":"wss://rt.example/subws/","server_enabled":"","websocket_enabled":`+value, 1)
		var c Config
		if err := json.Unmarshal([]byte(data), &c); err != nil || c.Server.Enabled || c.Server.WebSocketEnabled != want {
			t.Errorf("%s: %v, %v", value, c.Server.WebSocketEnabled, err)
		}
	}
}
