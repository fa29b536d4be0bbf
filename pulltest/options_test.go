package pulltest_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestStart_Refusals: what options cannot say comes back as an error that names
// the option, and NewPortal panics with the same text.
func TestStart_Refusals(t *testing.T) {
	for want, opts := range map[string][]pulltest.Option{
		"pulltest: WithVersion(9): ":                                {pulltest.WithVersion(9)},
		"pulltest: WithVersion(0): ":                                {pulltest.WithVersion(0)},
		"pulltest: WithVersion(-1): ":                               {pulltest.WithVersion(-1)},
		"pulltest: WithProcesses(0, 1): ":                           {pulltest.WithProcesses(0, 1)},
		"pulltest: WithProcesses(1, -1): ":                          {pulltest.WithProcesses(1, -1)},
		"pulltest: WithProcesses(1, 1001): ":                        {pulltest.WithProcesses(1, 1001)},
		"pulltest: WithTraffic(-1): ":                               {pulltest.WithTraffic(-1)},
		"pulltest: WithChannelLife(0s): ":                           {pulltest.WithChannelLife(0)},
		"pulltest: WithChannelLife(-1s): ":                          {pulltest.WithChannelLife(-time.Second)},
		"pulltest: WithTokenLife(-1s): ":                            {pulltest.WithTokenLife(-time.Second)},
		"pulltest: WithAccessTokenLife(-1s): ":                      {pulltest.WithAccessTokenLife(-time.Second)},
		"pulltest: WithRefreshTokenLife(-1s): ":                     {pulltest.WithRefreshTokenLife(-time.Second)},
		"pulltest: WithPingInterval(-1s): ":                         {pulltest.WithPingInterval(-time.Second)},
		"pulltest: WithTextPing(-1s): ":                             {pulltest.WithTextPing(-time.Second)},
		"pulltest: WithGather(-1s): ":                               {pulltest.WithGather(-time.Second)},
		"pulltest: WithHandover(-1s): ":                             {pulltest.WithHandover(-time.Second)},
		"pulltest: WithLongPollHold(-1s): ":                         {pulltest.WithLongPollHold(-time.Second)},
		"pulltest: WithDisorder(-1s): ":                             {pulltest.WithDisorder(-time.Second)},
		"pulltest: WithIdleTimeout(-1s): ":                          {pulltest.WithIdleTimeout(-time.Second)},
		"pulltest: WithQueryLimit(-1, 2): ":                         {pulltest.WithQueryLimit(-1, 2)},
		"pulltest: WithQueryLimit(50, -2): ":                        {pulltest.WithQueryLimit(50, -2)},
		"pulltest: WithQueryLimit(50, NaN): ":                       {pulltest.WithQueryLimit(50, math.NaN())},
		"pulltest: WithOperatingLimit(-1s, 1s): ":                   {pulltest.WithOperatingLimit(-time.Second, time.Second)},
		"pulltest: WithOperatingLimit(1s, -1s): ":                   {pulltest.WithOperatingLimit(time.Second, -time.Second)},
		"pulltest: WithUsers: 0 users; ":                            {pulltest.WithUsers()},
		`pulltest: WithPushPath("push"): `:                          {pulltest.WithPushPath("push")},
		`pulltest: WithHostname("a:1"): `:                           {pulltest.WithHostname("a:1")},
		"pulltest: WithPlainURLs needs WithPlainHTTP":               {pulltest.WithPlainURLs()},
		`pulltest: cannot listen at "nowhere" for https: `:          {pulltest.WithAddress("nowhere")},
		`pulltest: cannot listen at "nowhere" for plain http: `:     {pulltest.WithPlainHTTP("nowhere")},
		`pulltest: WithAddress("portal.example:0"): `:               {pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithAddress("portal.example:0")},
		`pulltest: WithPlainHTTP("portal.example:0"): `:             {pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithPlainHTTP("portal.example:0")},
		"pulltest: WithChannelLife(-1s): want a time longer than 0": {pulltest.WithVersion(5), pulltest.WithChannelLife(-time.Second)},
	} {
		t.Run(want, func(t *testing.T) {
			p, err := pulltest.Start(opts...)
			if err == nil {
				p.Close()
				t.Fatal("it starts")
			}
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("it says %q", err)
			}
			defer func() {
				if r := recover(); r != err.Error() {
					t.Errorf("NewPortal panics with %v", r)
				}
			}()
			pulltest.NewPortal(opts...).Close()
		})
	}
}
