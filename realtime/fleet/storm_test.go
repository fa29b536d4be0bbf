package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// A storm is a portal whose users install, open and uninstall the application
// without waiting for what becomes of it.
type storm struct {
	r         *running
	p         *pulltest.Portal
	rand      *rand.Rand
	installed bool
	emitted   int
	steps     []string
}

// post repeats what is refused for the moment.
func (s *storm) post(what string, send func() error) bool {
	for range 20 {
		err := send()
		if err == nil {
			s.steps = append(s.steps, what)
			return true
		}
		if !strings.Contains(err.Error(), "503") {
			s.r.w.t.Errorf("%s after %q: %v", what, s.steps, err)
			return false
		}
		time.Sleep(time.Second)
	}
	s.r.w.t.Errorf("%s after %q: is refused again and again", what, s.steps)
	return false
}

func (s *storm) step() {
	ctx := s.r.w.t.Context()
	switch what := s.rand.IntN(10); {
	case !s.installed && what%2 == 0:
		s.installed = s.post("event", func() error { return s.p.InstallByEvent(ctx, s.r.at+"/install") })
	case !s.installed:
		s.installed = s.post("form", func() error { return s.p.Install(ctx, s.r.at+"/install") })
	case what < 4:
		s.installed = !s.post("uninstall", func() error { return s.p.Uninstall(ctx, s.r.at+"/event") })
	case what < 6:
		s.post("open", func() error { return s.p.Open(ctx, s.r.at+"/open") })
	case what < 7:
		time.Sleep(time.Duration(s.rand.IntN(4)) * time.Millisecond)
	default:
		s.emitted++
		s.p.Emit(pulltest.Message{Command: fmt.Sprint("n", s.emitted), To: pulltest.Shared})
	}
}

// settled reports whether the portal has what it is to have in the end.
func (s *storm) settled() bool {
	status, found := s.r.app.Fleet().Status(s.p.MemberID())
	if !s.installed {
		return !found && len(s.p.Subscribers()) == 0
	}
	return found && status.State == StateRunning && status.Subscription.String() == "live" && len(s.p.Subscribers()) == 1 &&
		len(s.r.w.heard.from(s.p)) >= s.emitted
}

// check checks that nothing is lost, and nothing came twice.
func (s *storm) check() {
	t := s.r.w.t
	got := s.r.w.heard.from(s.p)
	var want []string
	for n := range s.emitted {
		want = append(want, fmt.Sprint("n", n+1))
	}
	switch {
	case s.installed && !slices.Equal(got, want):
		t.Errorf("%q:\ngot  %q\nwant %q", s.steps, got, want)
	case !s.installed && (len(got) > len(want) || !slices.Equal(got, want[:len(got)])):
		t.Errorf("%q, uninstalled:\ngot  %q\nof   %q", s.steps, got, want)
	}
}

// blow has each portal go through so many steps, all at once, and checks what
// has come of it.
func blow(r *running, seed uint64, steps int) {
	var all sync.WaitGroup
	var storms []*storm
	for i, p := range r.w.portals {
		s := &storm{r: r, p: p, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
		storms = append(storms, s)
		all.Go(func() {
			for range steps {
				s.step()
			}
		})
	}
	all.Wait()
	for _, s := range storms {
		r.w.eventually(fmt.Sprintf("%q", s.steps), s.settled)
		s.check()
	}
}

// TestStorm_InMemory: however quickly portals install, open and uninstall the
// application, those that have it in the end have one subscription, the others
// none, and none of their messages is lost or comes twice.
func TestStorm_InMemory(t *testing.T) {
	t.Parallel()
	for seed := range 30 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, max(4, resttest.Rounds(8)), n)
				r := w.run()
				blow(r, uint64(seed), resttest.Rounds(40))
				r.stop()
				w.wantNoSecrets()
			})
		})
	}
}

// TestStorm_Sockets is the same over real sockets. Installations are few, since
// the authorization server is asked about strangers once a second.
func TestStorm_Sockets(t *testing.T) {
	t.Parallel()
	for seed := range 6 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			w := newWorld(t, 5, nil)
			r := w.run()
			blow(r, uint64(1000+seed), 25)
			r.stop()
		})
	}
}
