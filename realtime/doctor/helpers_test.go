package doctor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// application is a client of a portal's application.
func application(t *testing.T, portal *pulltest.Portal, token string) *b24pull.Client {
	t.Helper()
	if token == "" {
		token = portal.AccessToken()
	}
	return newClient(t, portal, b24pull.OAuth(portal.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})))
}

func newClient(t *testing.T, portal *pulltest.Portal, auth b24pull.Auth, opts ...b24pull.Option) *b24pull.Client {
	t.Helper()
	client, err := b24pull.New(auth, append([]b24pull.Option{b24pull.WithHTTPClient(portal.HTTPClient())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// withoutSecrets fails if a report tells one, in either form.
func withoutSecrets(t *testing.T, report doctor.Report) {
	t.Helper()
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{report.String(), string(data)} {
		if strings.Contains(text, pulltest.SecretMark) || strings.Contains(text, "s3c"+"r3t") {
			t.Error("there is a secret in the report")
		}
	}
	checkNames(t, report)
}

// checkNames fails if a report has not a result for each check.
func checkNames(t *testing.T, report doctor.Report) {
	t.Helper()
	var names []string
	for _, c := range report.Checks {
		names = append(names, c.Name)
	}
	if got, want := strings.Join(names, ", "), strings.Join(doctor.Names(), ", "); got != want {
		t.Errorf("the checks are %s; want %s", got, want)
	}
}
