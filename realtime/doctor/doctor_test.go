package doctor_test

import (
	"cmp"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

func TestMain(m *testing.M) {
	resttest.AtOnce(8)
	goleak.VerifyTestMain(m)
}

var update = flag.Bool("update", false, "rewrite testdata/reports.txt")

// reports are, by the name of a fault, what the golden file has of it.
func reports(t *testing.T) map[string]string {
	data, err := os.ReadFile("testdata/reports.txt")
	if err != nil && !*update {
		t.Fatal(err)
	}
	golden := make(map[string]string)
	for part := range strings.SplitSeq(string(data), "\n== ") {
		name, text, _ := strings.Cut(strings.TrimPrefix(part, "== "), "\n")
		golden[name] = strings.TrimRight(text, "\n")
	}
	return golden
}

// TestCheck_Faults: for each fault that a portal of pulltest knows the report is
// that of the golden file: which check fails or warns, in which words and with
// which advice. What passes is left out there, but for a fault's first report.
// No report holds a secret, and none takes longer than it may.
func TestCheck_Faults(t *testing.T) {
	t.Parallel()
	golden := reports(t)
	var written strings.Builder
	seen := make(map[string]bool)
	for i, f := range slices.Concat(healthy, faultsOfREST, faultsOfConfigs, faultsOfPush) {
		if seen[f.name] {
			t.Fatalf("two faults are named %q", f.name)
		}
		seen[f.name] = true
		t.Run(f.name, func(t *testing.T) {
			if testing.Short() && i%3 != 0 && !*update {
				t.Skip("a short run has a third of the faults")
			}
			got := f.report(t)
			written.WriteString("== " + f.name + "\n" + got + "\n\n")
			if want := golden[f.name]; got != want && !*update {
				t.Errorf("the report is\n%s\nwant\n%s\n\nIf it is right, run go test ./realtime/doctor -run Check_Faults -update and read the difference.", got, want)
			}
		})
	}
	for name := range golden {
		if !seen[name] && name != "" && !*update {
			t.Errorf("the golden file has %q, and there is no such fault", name)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("testdata/reports.txt", []byte(strings.TrimRight(written.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// report checks a portal that has the fault, and returns what of the report is
// compared.
func (f fault) report(t *testing.T) (text string) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(append([]pulltest.Option{pulltest.WithNetwork(pulltest.NewNetwork())}, f.portal...)...)
		defer portal.Close()
		auth := f.auth
		if auth == nil {
			auth = as((*pulltest.Portal).AccessToken)
		}
		client := newClient(t, portal, auth(portal), f.client...)
		if f.wrong != nil {
			f.wrong(portal)
		}
		opts := f.options
		if !f.quiet {
			opts = append(opts, doctor.WithEvents())
		}
		if f.saved {
			opts = append(opts, doctor.WithConfig(f.savedConfig(t, portal)), doctor.WithHTTPClient(portal.HTTPClient()))
			client = nil
			if f.after != nil {
				f.after(portal)
			}
		}
		began := time.Now()
		report := doctor.Check(t.Context(), client, opts...)
		bound := time.Minute
		for _, c := range report.Checks {
			if c.Name == "idle" {
				bound += c.Duration
			}
		}
		if took := time.Since(began); took > bound {
			t.Errorf("it took %v", took)
		}
		withoutSecrets(t, report)
		text = told(report, slices.ContainsFunc(healthy, func(h fault) bool { return h.name == f.name }))
	})
	return text
}

// savedConfig is the portal's config as a program has saved it.
func (f fault) savedConfig(t *testing.T, portal *pulltest.Portal) *b24pull.Config {
	t.Helper()
	cfg := new(b24pull.Config)
	if err := cfg.UnmarshalJSON(portal.ConfigJSON()); err != nil {
		t.Fatal(err)
	}
	if f.config != nil {
		f.config(cfg)
	}
	return cfg
}

// varying are what differs from run to run: who has signed a certificate, and
// how long an event is gathered with others.
var varying = []struct {
	found *regexp.Regexp
	as    string
}{
	{regexp.MustCompile(`pulltest \d+`), "pulltest N"},
	{regexp.MustCompile(`back \S+ after`), "back T after"},
	{regexp.MustCompile(`each back in \S+ to \S+, half of them within \S+`), "each back in T to T, half of them within T"},
	{regexp.MustCompile(`proved by \d+ messages? after \S+`), "proved by N messages after T"},
	{regexp.MustCompile(`than they were sent: [\d ]+`), "than they were sent: N N"},
}

// told is a report without what differs from run to run, and without what passes
// or says only that something else was not done.
func told(report doctor.Report, all bool) string {
	var lines []string
	skipped := make(map[string][]string)
	for _, c := range report.Checks {
		switch {
		case c.Status == doctor.Skip && !all:
			skipped[c.Detail] = append(skipped[c.Detail], c.Name)
		case c.Status == doctor.Pass && !all:
		default:
			lines = append(lines, c.String())
		}
	}
	for why, names := range skipped {
		lines = append(lines, "skip  "+strings.Join(names, ", ")+": "+why)
	}
	if !all {
		slices.SortStableFunc(lines, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), 0) })
		skips := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "skip") })
		if skips >= 0 {
			slices.Sort(lines[skips:])
		}
	}
	if len(lines) == 0 {
		lines = []string{"all passed"}
	}
	text := strings.Join(lines, "\n")
	for _, v := range varying {
		text = v.found.ReplaceAllString(text, v.as)
	}
	return text
}

func rank(line string) int {
	if strings.HasPrefix(line, "skip") {
		return 1
	}
	return 0
}
