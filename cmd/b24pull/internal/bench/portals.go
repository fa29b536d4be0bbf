package bench

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// answersAfter is how long the servers take for an answer.
const answersAfter = 20 * time.Millisecond

// runPortals measures how long many portals take to begin.
func (o *options) runPortals(ctx context.Context, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "%d portals from nothing to ready; %d push servers; %d requests at once, which are answered in %v\n\n", o.portals, pushHosts, o.atOnce, answersAfter)
	fmt.Fprintf(stdout, "%-6s %-13s %8s %8s %8s %8s %8s %6s %8s %6s %6s %8s %8s %8s\n", "", "", "seconds", "CPU ms", "server's", "allocs", "KB", "calls", "sockets", "polls", "conns", "bounded", "at once", "one host")
	for _, secure := range []bool{false, true} {
		scheme := "ws"
		if secure {
			scheme = "wss"
		}
		for _, who := range []string{whoBare, whoSDK} {
			if o.quiet && who == whoBare { // it would wait for the server's word
				continue
			}
			if err := o.oncePortals(ctx, who, secure, scheme, stdout, stderr); err != nil {
				return fmt.Errorf("%s, portals over %s: %w", who, scheme, err)
			}
		}
	}
	return nil
}

func (o *options) oncePortals(ctx context.Context, who string, secure bool, scheme string, stdout, stderr io.Writer) error {
	var at portalServersAt
	server, err := part{Portals: &portalServersSpec{Secure: secure, Wait: answersAfter, Quiet: o.quiet}}.start(ctx, &at, stderr)
	if err != nil {
		return err
	}
	spec := fleetSpec{Who: who, At: at, Count: o.portals, AtOnce: o.atOnce}
	if who == whoSDK && o.profiles != "" {
		spec.Profile = filepath.Join(o.profiles, "portals-"+scheme+".prof")
	}
	var took started
	cpu, err := part{Fleet: &spec}.measure(ctx, &took, stderr)
	var counts portalServersCounts
	served, failed := server.stop(&counts)
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	n := float64(o.portals)
	each := func(d time.Duration) float64 { return d.Seconds() * 1e3 / n }
	fmt.Fprintf(stdout, "%-6s %-13s %8.2f %8.3f %8.3f %8.0f %8.1f %6.2f %8.2f %6.2f %6.2f %8d %8d %8d\n",
		scheme, who, took.Seconds, each(cpu), each(served), float64(took.Allocs)/n, float64(took.Bytes)/1024/n,
		float64(counts.Calls)/n, float64(counts.Sockets)/n, float64(counts.Polls)/n, float64(counts.PortalConns+counts.PushConns)/n,
		counts.BoundAtOnce, counts.AtOnce, counts.PushAtOnce)
	return nil
}
