package bench

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestPortals_Start: the start of a portal is one call, one handshake and the
// replays that there have to be.
func TestPortals_Start(t *testing.T) {
	const portals = 200
	for _, secure := range []bool{false, true} {
		for _, quiet := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS %t, quiet %t", secure, quiet), func(t *testing.T) {
				if quiet && testing.Short() {
					t.Skip("a quiet portal is waited for")
				}
				town, err := newTown(townSpec{Secure: secure, Wait: 5 * time.Millisecond, Quiet: quiet})
				if err != nil {
					t.Fatal(err)
				}
				defer town.close()
				spec := fleetSpec{At: town.at, Count: portals, AtOnce: 16}
				f, err := spec.startFleet(t.Context())
				if f != nil {
					defer f.Shutdown(context.Background())
				}
				if err != nil {
					t.Fatal(err)
				}
				got := town.counted()
				if got.Calls != portals || got.CallsAtOnce != 1 || got.PortalConns != portals {
					t.Errorf("%d calls over %d connections to %d portals, %d at once to one of them", got.Calls, got.PortalConns, portals, got.CallsAtOnce)
				}
				if got.Sockets != portals {
					t.Errorf("%d handshakes of websockets for %d portals", got.Sockets, portals)
				}
				// One beside the connect, and one that follows it.
				if got.Polls < portals || got.Polls > 2*portals {
					t.Errorf("%d replays for %d portals", got.Polls, portals)
				}
			})
		}
	}
}

// TestPortals_Bare: what is measured beside the fleet does as much.
func TestPortals_Bare(t *testing.T) {
	const portals = 20
	town, err := newTown(townSpec{Secure: true, Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer town.close()
	spec := fleetSpec{At: town.at, Count: portals, AtOnce: 2}
	if err := spec.startBare(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := town.counted()
	if got.Calls != portals || got.Sockets != portals || got.Polls != portals {
		t.Errorf("%+v, want %d of each", got, portals)
	}
	if got.PushAtOnce > 2*spec.AtOnce { // a connection is counted until the server has seen its end
		t.Errorf("%d requests at once to a push server, want %d", got.PushAtOnce, spec.AtOnce)
	}
}
