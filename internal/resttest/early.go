package resttest

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TLSVersions differ in who ends a handshake: the server with 1.2, the client
// with 1.3.
var TLSVersions = []struct {
	Name   string
	Number uint16
}{{"TLS 1.2", tls.VersionTLS12}, {"TLS 1.3", tls.VersionTLS13}}

// An EarlyServer answers before it is asked.
type EarlyServer struct {
	Address string
	TLS     *tls.Config // of its clients
}

// Early starts a server that answers when the handshake is done.
func Early(t testing.TB, version uint16, answer string) EarlyServer {
	t.Helper()
	home := httptest.NewUnstartedServer(http.NotFoundHandler())
	startTLS(home)
	t.Cleanup(home.Close)
	config := &tls.Config{Certificates: home.TLS.Certificates, MinVersion: version, MaxVersion: version}
	trust := home.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName = "example.com"
	trust.NextProtos = nil
	return EarlyServer{TLS: trust, Address: Serve(t, func(raw net.Conn) {
		conn := tls.Server(raw, config)
		if err := conn.Handshake(); err != nil {
			return
		}
		io.WriteString(conn, answer)
		io.Copy(io.Discard, conn)
	})}
}

// DialTLS is for the field DialTLSContext of a transport.
func (s EarlyServer) DialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	return (&tls.Dialer{Config: s.TLS}).DialContext(ctx, network, address)
}

// ConnectProxy starts a proxy that connects to one target, whatever it is asked
// for.
func ConnectProxy(t testing.TB, target string) (address string) {
	t.Helper()
	return Serve(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		to, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n")
		go func() {
			io.Copy(to, r)
			to.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(conn, to)
	})
}
