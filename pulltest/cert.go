package pulltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// authority signs the certificates of servers. They do not show its own: some
// clients take no authority's for a server's.
type authority struct {
	tls.Certificate
}

// make makes it. Without randomness there is nothing to be done; the package
// crypto/rand ends the program first.
func (a *authority) make() {
	c, err := signed(nil, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true,
	})
	if err != nil {
		panic(fmt.Sprintf("pulltest: cannot make a certificate: %v", err))
	}
	a.Certificate = c
}

// roots are what a client is to trust.
func (a *authority) roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(a.Leaf)
	return roots
}

// newCertificate makes a certificate for hosts, with or without a port, and for
// loopback. The authority's comes behind it.
func newCertificate(by *authority, hosts ...string) (tls.Certificate, error) {
	template := &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range hosts {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		ip := net.ParseIP(host)
		switch {
		case ip == nil && !slices.Contains(template.DNSNames, host):
			template.DNSNames = append(template.DNSNames, host)
		case ip != nil && !slices.ContainsFunc(template.IPAddresses, ip.Equal):
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	c, err := signed(&by.Certificate, template)
	c.Certificate = append(c.Certificate, by.Leaf.Raw)
	return c, err
}

// signed completes a certificate, signed by the issuer or, without one, by
// itself. It is valid in a synctest bubble as well, where it is the year 2000.
func signed(issuer *tls.Certificate, template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	template.Subject = pkix.Name{CommonName: "pulltest " + serial.String()}
	template.NotBefore = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	template.NotAfter = time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)
	template.BasicConstraintsValid = true
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// withLeaf checks a certificate that a user gives, and decodes what it shows.
func withLeaf(c tls.Certificate) (tls.Certificate, error) {
	switch {
	case len(c.Certificate) == 0:
		return c, errors.New("it is empty; give one as tls.LoadX509KeyPair returns it")
	case c.PrivateKey == nil:
		return c, errors.New("it has no private key; give one as tls.LoadX509KeyPair returns it")
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	c.Leaf = leaf
	return c, err
}
