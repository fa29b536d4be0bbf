package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// certificate is one that has signed itself.
func certificate(t *testing.T, name string, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(until),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A wayCase is something wrong with the way to a portal.
type wayCase struct {
	name        string
	certificate func(t *testing.T) tls.Certificate
	portal      []pulltest.Option
	address     string // of the portal; empty: its own
	transport   func(t *http.Transport)
	proxy       string // what a proxy at proxy.example:3128 answers to CONNECT; empty: there is none
	want        string
}

func throughProxy(t *http.Transport) {
	t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("user", "s3cr3t-of-the-proxy"), Host: "proxy.example:3128"})
}

var ways = []wayCase{
	{
		name: "an unknown authority", transport: func(t *http.Transport) { t.TLSClientConfig.RootCAs = x509.NewCertPool() },
		want: `fail  portal certificate portal.example: the certificate is signed by an authority that is not known here: for localhost, portal.example, oauth.example, 127.0.0.1 and 1 more, signed by pulltest N, good from 1990-01-01 until 2120-01-01
                         -> trust its authority by SSL_CERT_FILE, or RootCAs of the transport of b24pull.WithHTTPClient; if it is that of a box that looks into TLS, trust that one's`,
	},
	{
		name: "another's certificate", certificate: func(t *testing.T) tls.Certificate { return certificate(t, "other.example", 1000*time.Hour) },
		want: `fail  portal certificate portal.example: the certificate is not for portal.example: for other.example, signed by authority of other.example, good from 1999-11-20 until 2000-02-11
                         -> use a name that the certificate is for, or have the server show one for this name`,
	},
	{
		name: "an expired certificate", certificate: func(t *testing.T) tls.Certificate { return certificate(t, "portal.example", -time.Hour) },
		want: `fail  portal certificate portal.example: the certificate is not good now: for portal.example, signed by authority of portal.example, good from 1999-11-20 until 1999-12-31
                         -> have it renewed, or set this machine's clock right`,
	},
	{
		name: "a certificate that ends soon", certificate: func(t *testing.T) tls.Certificate { return certificate(t, "portal.example", 100*time.Hour) },
		want: `warn  portal certificate portal.example: ends soon: for portal.example, signed by authority of portal.example, good from 1999-11-20 until 2000-01-05
                         -> have it renewed`,
	},
	{
		name: "any certificate will do", transport: func(t *http.Transport) { t.TLSClientConfig.InsecureSkipVerify = true },
		want: `warn  portal certificate the HTTP client takes any certificate; that of portal.example is for localhost, portal.example, oauth.example, 127.0.0.1 and 1 more, signed by pulltest N, good from 1990-01-01 until 2120-01-01
                         -> leave out InsecureSkipVerify and trust the certificate's authority`,
	},
	{
		name: "no TLS at the port", portal: []pulltest.Option{pulltest.WithPlainHTTP("portal.example:80")}, address: "https://portal.example:80",
		want: `fail  portal address     portal.example:80: what answers speaks no TLS
                         -> check the port: it may be that of plain http, or of another service`,
	},
	{
		name: "nothing listens", address: "https://nobody.example",
		want: `fail  portal address     nobody.example: the connection is refused: nothing listens there
                         -> check the address and the port, that the server is up, and that no firewall refuses`,
	},
	{
		name: "no such name", transport: func(t *http.Transport) { t.DialContext = unknownName },
		want: `fail  portal address     portal.example: the name portal.example is not known
                         -> check how the address is written, and look at the name server`,
	},
	{
		name: "a firewall that swallows", transport: func(t *http.Transport) { t.DialContext = swallow },
		want: `fail  portal address     portal.example: no answer came in time
                         -> look whether the server is up, and whether a firewall or a proxy on the way swallows requests`,
	},
	{
		name: "no proxy where one is set", transport: throughProxy,
		want: `fail  portal address     portal.example: the proxy: the connection is refused: nothing listens there
                         -> check the proxy's address, user and password, and what it lets through (HTTPS_PROXY, or Proxy of the HTTP client's transport)`,
	},
	{
		name: "an address of a proxy that cannot be read", transport: func(t *http.Transport) {
			t.Proxy = func(*http.Request) (*url.URL, error) { // as of HTTPS_PROXY
				return nil, errors.New(`invalid proxy address "http://user:s3cr3t%zz@proxy.example": parse "http://user:s3cr3t%zz@proxy.example"`)
			}
		},
		want: `fail  portal address     portal.example: invalid proxy address`,
	},
	{
		name: "a proxy that wants to know who calls", transport: throughProxy, proxy: "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
		want: `fail  portal address     portal.example: the proxy answers: Proxy Authentication Required
                         -> check the proxy's address, user and password, and what it lets through (HTTPS_PROXY, or Proxy of the HTTP client's transport)`,
	},
}

func unknownName(_ context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
}

func swallow(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCheck_Ways: what is wrong with the way to a portal fails in the check
// that is about it, with what to do; what then cannot be done is skipped.
func TestCheck_Ways(t *testing.T) {
	t.Parallel()
	for _, tt := range ways {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := pulltest.NewNetwork()
				opts := append([]pulltest.Option{pulltest.WithNetwork(network)}, tt.portal...)
				if tt.certificate != nil {
					opts = append(opts, pulltest.WithCertificate(tt.certificate(t)))
				}
				portal := pulltest.NewPortal(opts...)
				defer portal.Close()
				if tt.proxy != "" {
					defer serveProxy(t, network, tt.proxy)()
				}
				report := doctor.Check(t.Context(), tt.client(t, portal), doctor.WithEvents())
				withoutSecrets(t, report)
				got := firstOf(report)
				if got != tt.want {
					t.Errorf("the first trouble is\n%s\nwant\n%s", got, tt.want)
				}
				if (report.Err() == nil) != (tt.want[:4] == "warn") {
					t.Errorf("the report's error is %v", report.Err())
				}
			})
		})
	}
}

// client reaches the portal the way of the case.
func (tt *wayCase) client(t *testing.T, portal *pulltest.Portal) *b24pull.Client {
	t.Helper()
	transport := portal.HTTPClient().Transport.(*http.Transport).Clone()
	if tt.transport != nil {
		tt.transport(transport)
	}
	address := tt.address
	if address == "" {
		address = portal.URL()
	}
	t.Cleanup(transport.CloseIdleConnections)
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	return newClient(t, portal, b24pull.OAuth(address, tokens), b24pull.WithHTTPClient(&http.Client{Transport: transport}))
}

// firstOf is the first result that neither passes nor is skipped.
func firstOf(report doctor.Report) string {
	for _, c := range report.Checks {
		if c.Status == doctor.Fail || c.Status == doctor.Warn {
			return told(doctor.Report{Checks: []doctor.Result{c}}, false)
		}
	}
	return "none"
}

// serveProxy answers everybody who comes to the proxy the same.
func serveProxy(t *testing.T, network *pulltest.Network, answer string) (stop func()) {
	t.Helper()
	l, err := network.Listen("proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			if _, err := c.Read(buf); err == nil {
				_, _ = io.WriteString(c, answer)
			}
			c.Close()
		}
	}()
	return func() {
		l.Close()
		<-done
	}
}

// TestCheck_Interrupted: a Check that is interrupted returns at once, with what
// it knows; the rest is skipped.
func TestCheck_Interrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		time.AfterFunc(5*time.Second, cancel) // the poll hangs
		report := doctor.Check(ctx, application(t, portal, ""))
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		withoutSecrets(t, report)
		for _, c := range report.Checks {
			switch c.Name {
			case "websocket", "config", "REST":
				if c.Status != doctor.Pass {
					t.Errorf("%s: %s, %s", c.Name, c.Status, c.Detail)
				}
			case "polls", "history", "clock", "idle":
				if c.Status != doctor.Skip {
					t.Errorf("%s: %s, %s", c.Name, c.Status, c.Detail)
				}
			}
		}
	})
}

// TestCheck_Nothing: without a client and a config there is nothing to check,
// and nothing panics.
func TestCheck_Nothing(t *testing.T) {
	report := doctor.Check(t.Context(), nil)
	checkNames(t, report)
	for _, c := range report.Checks {
		want := doctor.Skip
		if c.Name == "config" {
			want = doctor.Fail
		}
		if c.Status != want {
			t.Errorf("%s: %s, %s", c.Name, c.Status, c.Detail)
		}
	}
}
