package pulltest_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestMark_SecretMark: what a portal makes up and nobody else may know is marked,
// and differs.
func TestMark_SecretMark(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		var secrets []string
		collect := func() {
			t.Helper()
			token, registered := p.Token(1), p.Application()
			secrets = append(secrets, token.AccessToken, token.RefreshToken, p.AccessToken(), authorize(t, p).Get("code"), registered.ApplicationToken)
			var config struct {
				Channels map[string]struct{ ID string }
			}
			if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
				t.Fatal(err)
			}
			for _, c := range config.Channels {
				id, _, _ := strings.Cut(c.ID, ".") // what follows is the signature
				secrets = append(secrets, strings.Split(id, ":")...)
			}
		}
		collect()
		hook, err := url.Parse(p.Webhook())
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, strings.Split(hook.Path, "/")[3], p.Application().ClientSecret)
		if err := p.Uninstall(context.Background(), app); err != nil {
			t.Fatal(err)
		}
		if err := p.InstallByEvent(context.Background(), app); err != nil {
			t.Fatal(err)
		}
		<-got
		c := <-got
		p.ReplaceChannel(pulltest.Shared)
		p.ReplaceChannel(pulltest.Private)
		collect()
		secrets = append(secrets, c.form.Get("auth[access_token]"), c.form.Get("auth[refresh_token]"))
		seen := map[string]bool{}
		for i, s := range secrets {
			if !strings.HasPrefix(s, pulltest.SecretMark) || len(s) < 16 || seen[s] {
				t.Errorf("secret %d: %q", i, s)
			}
			seen[s] = true
		}
	})
}
