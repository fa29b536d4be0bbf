package fleet

import (
	"net/http"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestApplication_Life: a portal that installs the application is listened to
// until it uninstalls it, and again after a restart and a new installation.
func TestApplication_Life(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		one, two := w.portals[0], w.portals[1]
		r := w.run()
		w.must(one.InstallByEvent(t.Context(), r.at+"/install"))
		w.must(two.Install(t.Context(), r.at+"/install"))
		for _, p := range w.portals {
			w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
			p.Emit(pulltest.Message{Command: "first", To: pulltest.Shared})
			w.eventually("heard", func() bool { return w.heard.has(p, "first") })
			w.eventually("bound", func() bool { return w.events.of(p.MemberID(), KindEventsBound) == 1 })
		}
		w.must(two.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return len(two.Subscribers()) == 0 && len(r.app.Fleet().Keys()) == 1 })
		r.stop()
		one.Emit(pulltest.Message{Command: "while away", To: pulltest.Shared})
		one.ExpireToken()

		r = w.run()
		w.eventually("heard after a restart", func() bool { return w.heard.has(one, "while away") })
		if got := w.heard.from(one); len(got) != 2 {
			t.Errorf("heard %q", got)
		}
		if _, found := r.app.Fleet().Status(two.MemberID()); found {
			t.Error("a portal that has uninstalled the application is there")
		}
		w.must(two.Install(t.Context(), r.at+"/install"))
		w.eventually("installed again", func() bool { return len(two.Subscribers()) == 1 })
		r.stop()
		w.wantNoSecrets()
	})
}

// TestApplication_Statuses: which status a callback is answered with.
func TestApplication_Statuses(t *testing.T) {
	_ = http.StatusOK
}
