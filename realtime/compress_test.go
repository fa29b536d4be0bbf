package realtime

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestCompress_CompressedAnswers: answers that are compressed are understood,
// whoever asked for that, or refused clearly.
func TestCompress_CompressedAnswers(t *testing.T) {
	t.Parallel()
	for i, s := range servers {
		for n, coding := range []string{"gzip", "deflate", "raw deflate", "br"} {
			if !resttest.Thorough && n%2 != i%2 {
				continue
			}
			for _, transport := range s.transports {
				t.Run(fmt.Sprint(s.name, " ", coding, " ", transport), func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) {
						l.withOld(s.portal...)
						unasked := l.portal.HTTPClient().Transport.(*http.Transport).Clone()
						unasked.DisableCompression = true
						t.Cleanup(unasked.CloseIdleConnections)
						l.portal.Misbehave(pulltest.Polls, pulltest.Compressed(coding))
						l.subscribe(nil, WithTransport(transport), WithBackoff(soon), WithHTTPClient(&http.Client{Transport: unasked}))
						l.run(nil)
						time.Sleep(10 * time.Second)
						polls := s.name != "version 5 without polling"
						readable := !polls || coding != "br" || transport != TransportLongPolling && s.name[:9] > "version 2" && !strings.Contains(s.name, "without")
						if l.isReady() != readable {
							t.Fatalf("ready is %v", l.isReady())
						}
						if polls && coding == "br" {
							err := lifeEvents[ReplayEnded](l)[0].Err
							if !isFalse(err) || !strings.Contains(err.Error(), `"br"`) {
								t.Errorf("the error is %v", err)
							}
						}
						if readable {
							for range 10 {
								l.portal.Cut()
								l.tick()
								time.Sleep(3 * time.Second)
							}
							time.Sleep(time.Minute)
							l.wantNoOld()
							l.wantTicks()
						}
					})
				})
			}
		}
	}
}
