package oauth

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPublic_Transport: an authorization server that is not public is not
// connected to.
func TestPublic_Transport(t *testing.T) {
	inner := resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	transport := b24pull.PublicTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: inner.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	t.Cleanup(transport.CloseIdleConnections)
	app := testApp(&http.Client{Transport: transport})
	app.AuthServer = inner.URL
	if _, err := app.Exchange(t.Context(), AuthCode{Code: resttest.Mark + "-code"}); err == nil || !strings.Contains(err.Error(), "is not a public address") {
		t.Errorf("the authorization server: %v", err)
	}
}
