package b24pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/resttest"
)

// sizedConfig is a config, each %s of which is replaced in turn.
const sizedConfig = `{"server":{"version":4,"server_enabled":true,"websocket_enabled":true,"websocket_secure":"wss://rt.example/"%s},
	"channels":{"private":{"id":"` + resttest.Mark + `"%s}}%s}`

// TestSizes_IdentifiersAreBounded: what becomes a part of addresses, and is looked
// for in all that is printed, has a length.
func TestSizes_IdentifiersAreBounded(t *testing.T) {
	text := func(n int) string { return `"` + resttest.Mark + strings.Repeat("x", n-len(resttest.Mark)) + `"` }
	for name, config := range map[string]string{
		"config.server.hostname":            fmt.Sprintf(sizedConfig, `,"hostname":LONG`, ``, ``),
		"config.server.mode":                fmt.Sprintf(sizedConfig, `,"mode":LONG`, ``, ``),
		"config.server.clientId":            fmt.Sprintf(sizedConfig, `,"clientId":LONG`, ``, ``),
		"config.clientId":                   fmt.Sprintf(sizedConfig, ``, ``, `,"clientId":LONG`),
		"config.jwt":                        fmt.Sprintf(sizedConfig, ``, ``, `,"jwt":LONG`),
		"config.channels.private.public_id": fmt.Sprintf(sizedConfig, ``, `,"public_id":LONG`, ``),
		"config.channels.private.type":      fmt.Sprintf(sizedConfig, ``, `,"type":LONG`, ``),
		"config.channels.private.id":        strings.Replace(fmt.Sprintf(sizedConfig, ``, ``, ``), `"`+resttest.Mark+`"`, `LONG`, 1),
	} {
		for size, refused := range map[int]bool{phpjson.MaxIdentifier: false, phpjson.MaxIdentifier + 1: true, 562_000: true} {
			if testing.Short() && size > phpjson.MaxIdentifier+1 && name != "config.jwt" {
				continue
			}
			err := new(Config).UnmarshalJSON([]byte(strings.Replace(config, "LONG", text(size), 1)))
			if !refused {
				if err != nil {
					t.Errorf("%s of %d bytes: %v", name, size, err)
				}
				continue
			}
			resttest.CheckError(t, err)
			if want := fmt.Sprintf("b24pull: %s: want at most %d bytes, got %d", name, phpjson.MaxIdentifier, size); !errors.Is(err, ErrInvalidConfig) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
	long := "wss://rt.example/" + strings.Repeat("x", phpjson.MaxIdentifier)
	var cfg Config
	if err := cfg.UnmarshalJSON(fmt.Appendf(nil, sizedConfig, `,"websocket":"`+long+`"`, ``, ``)); err != nil || cfg.Server.WebSocket != "" {
		t.Errorf("an address of %d bytes beside a good one: %v, %d bytes of it are kept", len(long), err, len(cfg.Server.WebSocket))
	}
	only := strings.Replace(fmt.Sprintf(sizedConfig, ``, ``, ``), "wss://rt.example/", long, 1)
	if err := cfg.UnmarshalJSON([]byte(only)); !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), fmt.Sprintf("it has %d bytes", len(long))) {
		t.Errorf("an address of %d bytes alone: %v", len(long), err)
	}
	var channel Channel
	if err := json.Unmarshal([]byte(`{"id":`+text(phpjson.MaxIdentifier+1)+`}`), &channel); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("a channel of its own: %v", err)
	}
}

// TestSizes_PublicChannelsAreNotKept: a config holds its public channels once, as
// they came.
func TestSizes_PublicChannelsAreNotKept(t *testing.T) {
	var many strings.Builder
	count, size := 0, answerLimit
	if !resttest.Thorough {
		size /= 8
	}
	for ; many.Len() < size-1000; count++ {
		fmt.Fprintf(&many, `,"%d":{"user_id":%d}`, count+1, count+1)
	}
	data := fmt.Appendf(nil, sizedConfig, ``, ``, `,"publicChannels":{`+many.String()[1:]+`}`)
	held := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	cfg := new(Config)
	if err := cfg.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	if n := held() - before; n > int64(size)+1<<20 {
		t.Errorf("a config of %d bytes holds %d", len(data), n)
	}
	public, err := cfg.PublicChannels()
	if err != nil || len(public) != count || public[7].UserID != 7 {
		t.Errorf("%d public channels of %d, %v", len(public), count, err)
	}
	runtime.KeepAlive(data)
}

// TestSizes_PublicChannelsOfNone: a config that was not decoded has none.
func TestSizes_PublicChannelsOfNone(t *testing.T) {
	for _, cfg := range []*Config{nil, {}, {JWT: resttest.Mark}} {
		if public, err := cfg.PublicChannels(); public != nil || err != nil {
			t.Errorf("%d public channels, %v", len(public), err)
		}
	}
}
