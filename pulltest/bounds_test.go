package pulltest_test

import (
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestBounds: what a portal remembers of connections and configs is bounded in
// number, even if none of it is old, and the latest is kept.
func TestBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if n, last := p.Believe(100); n > pulltest.MaxBelieved || !last {
			t.Errorf("%d ids are believed online, want up to %d; the last one: %t", n, pulltest.MaxBelieved, last)
		}
		if n, last := p.IssueJWTs(100); n > pulltest.MaxJWTs || !last {
			t.Errorf("%d jwts are remembered, want up to %d; the last one: %t", n, pulltest.MaxJWTs, last)
		}
		first, last := p.AccessToken(), pulltest.Token{}
		p.Grant()
		for range 100 {
			last = p.Token(1)
		}
		if n := p.Grants(); n > 2*pulltest.MaxGrants {
			t.Errorf("%d tokens are known, want up to %d", n, 2*pulltest.MaxGrants)
		}
		for _, token := range []string{first, last.AccessToken} {
			if r := get(t, p, p.URL()+"/rest/server.time?auth="+token); r.status != 200 {
				t.Errorf("a token that is good: %d", r.status)
			}
		}
	}, pulltest.WithVersion(5), pulltest.WithProcesses(2, 2), pulltest.WithPingInterval(0))
}
