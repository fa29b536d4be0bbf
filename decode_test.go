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

	"github.com/b24pull/b24pull/internal/redact"
)

func TestUnixTimes(t *testing.T) {
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
		if got, ok := parseUnix(text); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v, %t; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e9", "1.2.3", "1.123456789x", " 1", "253402300800", "99999999999999999999"} {
		if got, ok := parseUnix(text); ok {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

// TestConfigValues checks the values that the golden files leave out.
func TestConfigValues(t *testing.T) {
	tests := []struct{ server, want string }{
		{`"version":"+x"`, "config.server.version"},
		{`"version":1e3`, "config.server.version"},
		{`"version":9223372036854775808`, "config.server.version"},
		{`"version":""`, "config.server.version"},
		{`"server_enabled":""`, "config.server.server_enabled"},
		{`"server_enabled":-1`, "config.server.server_enabled"},
		{`"mode":true`, "config.server.mode"},
		{`"config_timestamp":"9999-12-31T23:59:59-23:00"`, "config.server.config_timestamp"},
		{`"config_timestamp":true`, "config.server.config_timestamp"},
		{`"long_polling":["a"]`, "config.server.long_polling"},
		{`"long_pooling_secure":7`, "config.server.long_pooling_secure"},
		{`"clientId":[]`, "config.server.clientId"},
	}
	for _, tt := range tests {
		data := strings.Replace(minimalConfig, `"version":4`, tt.server, 1)
		var c Config
		err := json.Unmarshal([]byte(data), &c)
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(fmt.Sprint(err), "b24pull: "+tt.want+": want ") {
			t.Errorf("%s: got %v", tt.server, err)
		}
	}
}

func TestFailedDecodeLeavesTheConfig(t *testing.T) {
	var c Config
	if err := json.Unmarshal([]byte(minimalConfig), &c); err != nil {
		t.Fatal(err)
	}
	before := dump(&c)
	for _, data := range []string{`{"server":{"version":5}}`, `null`, `[]`, `{`, ``, `{"result":[]}`} {
		if err := c.UnmarshalJSON([]byte(data)); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if dump(&c) != before || string(c.Raw()) != minimalConfig {
		t.Errorf("the config was changed: %s", dump(&c))
	}
}

func TestMarshalledConfigIsNoConfig(t *testing.T) {
	var c, again Config
	if err := json.Unmarshal([]byte(minimalConfig), &c); err != nil {
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

func TestRawIsACopy(t *testing.T) {
	data := []byte(minimalConfig)
	var c Config
	if err := c.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	data[0] = 'x'
	c.Raw()[0] = 'y'
	if string(c.Raw()) != minimalConfig {
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
	f.Add(200, []byte(`{"error":"expired_token","error_description":"secret-token"}`))
	f.Add(500, []byte(`{"result":true,"error":{"code":"x"}}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := answer{method: methodConfig, status: status, body: body, known: redact.Redactor(nil).With("secret-token")}
		if _, err := a.result(); err != nil && strings.Contains(err.Error(), "secret-token") {
			t.Errorf("the error tells the token: %v", err)
		}
	})
}
