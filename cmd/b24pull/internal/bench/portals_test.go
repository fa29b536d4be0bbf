package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPortals_Start: the start of a portal is one call, one handshake and the
// replays that there have to be, over as few connections, and never more at
// once than is allowed.
func TestPortals_Start(t *testing.T) {
	portals := resttest.Rounds(200)
	for _, secure := range []bool{false, true} {
		for _, quiet := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS %t, quiet %t", secure, quiet), func(t *testing.T) {
				t.Parallel()
				if quiet && testing.Short() {
					t.Skip("a quiet portal is waited for")
				}
				servers, err := newPortalServers(portalServersSpec{Secure: secure, Wait: 5 * time.Millisecond, Quiet: quiet})
				if err != nil {
					t.Fatal(err)
				}
				defer servers.close()
				spec := fleetSpec{At: servers.at, Count: portals, AtOnce: 16}
				f, err := spec.startFleet(t.Context())
				if f != nil {
					defer f.Shutdown(context.Background())
				}
				if err != nil {
					t.Fatal(err)
				}
				got := servers.counted()
				if got.Calls != portals || got.CallsAtOnce != 1 || got.PortalConns != portals {
					t.Errorf("%d calls over %d connections to %d portals, %d at once to one of them", got.Calls, got.PortalConns, portals, got.CallsAtOnce)
				}
				if got.Sockets != portals {
					t.Errorf("%d handshakes of websockets for %d portals", got.Sockets, portals)
				}
				most := portals
				if quiet { // another one waits for the server's word, from then on
					most *= 2
				}
				if got.Polls < portals || got.Polls > most {
					t.Errorf("%d replays for %d portals, want %d", got.Polls, portals, most)
				}
				if most := spec.AtOnce; got.BoundAtOnce > most || got.BoundAtOnce < 2 {
					t.Errorf("%d calls and handshakes at once, want up to %d", got.BoundAtOnce, most)
				}
				if most := got.Sockets + portals/2; got.PushConns > most && !quiet {
					t.Errorf("%d connections to push servers, %d of them websockets; want %d at most", got.PushConns, got.Sockets, most)
				}
			})
		}
	}
}

// TestPortals_Bare: what is measured beside the fleet does as much.
func TestPortals_Bare(t *testing.T) {
	const portals = 20
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			servers, err := newPortalServers(portalServersSpec{Secure: secure, Wait: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer servers.close()
			spec := fleetSpec{At: servers.at, Count: portals, AtOnce: 2}
			if err := spec.startBare(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := servers.counted()
			if got.Calls != portals || got.Sockets != portals || got.Polls != portals {
				t.Errorf("%+v, want %d of each", got, portals)
			}
			// Over TLS net/http may go on with a handshake whose request found
			// another connection, while the next portal has its turn.
			if got.AtOnce > spec.AtOnce && !secure {
				t.Errorf("%d requests at once, want %d at most", got.AtOnce, spec.AtOnce)
			}
		})
	}
}
