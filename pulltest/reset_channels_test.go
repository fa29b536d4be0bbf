package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestReset_LostChannels: the push server refuses channels that a reset has taken
// away, in jwts too, until they come again as the ids of a seed do.
func TestReset_LostChannels(t *testing.T) {
	for version := 1; version <= 5; version++ {
		for _, seed := range []string{"", "seed"} {
			for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
				t.Run(fmt.Sprintf("version %d, seed %q, channel %d", version, seed, to), func(t *testing.T) {
					inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
						knock := func(when string, queries []string, in bool) {
							for _, q := range queries {
								name, _, _ := strings.Cut(q, "=")
								if got := knocks(t, p, version, q); got != [2]bool{in, in} {
									t.Errorf("%s, by %s: poll and websocket are let in: %t, want %t", when, name, got, in)
								}
							}
						}
						first := queries(t, p)
						p.ReplaceChannel(to)
						later := queries(t, p)
						knock("the first ones, replaced", first, true)
						knock("the later ones", later, true)
						for range 2 {
							if err := p.Reset(); err != nil {
								t.Error(err)
							}
							knock("the first ones after a reset", first, true)
							knock("the later ones after a reset", later, false)
						}
						p.ReplaceChannel(to)
						knock("replaced again", later, seed != "")
					}, pulltest.WithVersion(version), pulltest.WithChannels(seed), pulltest.WithLongPollHold(time.Second))
				})
			}
		}
	}
}

// queries are the ways to ask for the present channels.
func queries(t *testing.T, p *pulltest.Portal) []string {
	t.Helper()
	var config struct{ JWT string }
	if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
		t.Fatal(err)
	}
	all := []string{"CHANNEL_ID=" + url.QueryEscape(channelParam(t, p))}
	if config.JWT != "" {
		all = append(all, "token="+config.JWT)
	}
	return all
}

// knocks reports whether a poll and a websocket are let in.
func knocks(t *testing.T, p *pulltest.Portal, version int, query string) (in [2]bool) {
	t.Helper()
	poll := p.PushURL() + "/sub/?" + query
	socket := poll
	if version < 3 {
		socket = p.PushURL() + "/subws/?" + query
	}
	in[0] = get(t, p, poll).status < http.StatusBadRequest
	if ws, _, err := dialURL(p, socket); err == nil {
		in[1] = true
		ws.Close()
	}
	return in
}
