package realtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
)

// TestGiant_Identifiers: a run of a second stays one although the config holds
// identifiers of many parts, each of which would be a secret to look for. They
// are refused for their length, at the start and later.
func TestGiant_Identifiers(t *testing.T) {
	t.Parallel()
	giant := strings.Repeat("ab:cdefghij.", 562_000/12)
	for name, set := range map[string]func(c *b24pull.Config){
		"private channel": func(c *b24pull.Config) { c.Channels.Private.ID = b24pull.Secret(giant) },
		"shared channel":  func(c *b24pull.Config) { c.Channels.Shared.ID = b24pull.Secret(giant) },
		"jwt":             func(c *b24pull.Config) { c.JWT = b24pull.Secret(giant) },
		"clientId":        func(c *b24pull.Config) { c.ClientID = giant },
		"hostname":        func(c *b24pull.Config) { c.Server.Hostname = giant },
	} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " later ", later), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open()
					l.emit("before") // so the first replay is answered at once
					time.Sleep(time.Minute)
					good := later
					l.subscribe(mutable{client(t, l.portal), func(c *b24pull.Config) {
						if !good {
							set(c)
						}
						good = false
					}})
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					begun := time.Now()
					if later {
						go func() {
							select {
							case <-l.sub.Ready():
								l.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
							case <-ctx.Done():
								t.Error("not ready within a second")
							}
						}()
					}
					err := l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
					if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, b24pull.ErrInvalidConfig) || !strings.Contains(err.Error(), "want 4096 at most") {
						t.Errorf("Run returned %v", err)
					}
					if took := time.Since(begun); took != time.Second {
						t.Errorf("Run returned after %v", took)
					}
				})
			})
		}
	}
}
