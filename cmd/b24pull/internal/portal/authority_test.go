package portal

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuthority: a certificate is for loopback and the names given, and for no
// others; who trusts the authority trusts it.
func TestAuthority(t *testing.T) {
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := a.certify("portal.test", "192.0.2.1", "")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.pem()) {
		t.Fatal("the file has no certificate")
	}
	for name, good := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "portal.test": true, "192.0.2.1": true,
		"other.test": false, "192.0.2.2": false, "": true, // nothing is asked then
	} {
		_, err := certificate.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		if (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
	if certificate.Leaf.IsCA || !a.certificate.IsCA {
		t.Error("the portal's certificate could sign others, or the authority cannot")
	}
}

// TestRun_OwnCertificate: with -cert the portal shows that certificate, and
// there is no authority to tell of.
func TestRun_OwnCertificate(t *testing.T) {
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := a.certify("own.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	args := []string{"-cert", write("cert.pem", "CERTIFICATE", own.Certificate[0]), "-cert-key", write("key.pem", "PRIVATE KEY", key)}
	ctx, stop := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	var stderr strings.Builder
	ended := make(chan int)
	go func() {
		ended <- Run(ctx, args, nil, stdout, &stderr)
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ready ready
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("%v; stderr %s", err, &stderr)
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(ready.Portals[0].URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if !conn.ConnectionState().PeerCertificates[0].Equal(own.Leaf) {
		t.Error("the portal shows another certificate")
	}
	conn.Close()
	resp, err := http.Get(ready.Control + "/v1/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); ready.CAFile != "" || resp.StatusCode != http.StatusNotFound {
		t.Errorf("ca_file is %q, and /v1/ca.pem answers %d", ready.CAFile, resp.StatusCode)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit status %d, stderr %s", code, &stderr)
	}
}
