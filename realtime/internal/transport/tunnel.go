package transport

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/redact"
)

// A websocket without TLS crosses an HTTP proxy in a tunnel of its own (RFC
// 6455, 4.1), which net/http opens for https only: it would ask the proxy to
// pass the handshake on, and most proxies leave Upgrade out of what they pass
// on.

// tunnelled returns a client that opens such a tunnel for a request, or the
// client itself where net/http goes the right way.
func tunnelled(client *http.Client, request *http.Request) *http.Client {
	way, _ := client.Transport.(ownTransport)
	if way.shared == nil || way.shared.own.Proxy == nil || request.URL.Scheme != "http" {
		return client
	}
	t := way.shared.own
	proxy, err := t.Proxy(request)
	if err != nil || proxy == nil || strings.HasPrefix(proxy.Scheme, "socks5") {
		return client // net/http tells the error
	}
	own := t.Clone()
	own.Proxy, own.Dial, own.DisableKeepAlives = nil, nil, true //lint:ignore SA1019 it is in use
	own.DialContext = func(ctx context.Context, _, target string) (net.Conn, error) { return tunnel(ctx, t, proxy, target) }
	c := *client
	c.Transport = ownTransport{redact.NewTransport(own), &sharedCopy{own: own}}
	return &c
}

// tunnel has a proxy connect to a target, as net/http does it for https.
func tunnel(ctx context.Context, t *http.Transport, proxy *url.URL, target string) (net.Conn, error) {
	conn, err := dialProxy(ctx, t, proxy)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = requestTunnel(ctx, conn, t, proxy, target)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func requestTunnel(ctx context.Context, conn net.Conn, t *http.Transport, proxy *url.URL, target string) (err error) {
	header := t.ProxyConnectHeader
	if t.GetProxyConnectHeader != nil {
		if header, err = t.GetProxyConnectHeader(ctx, proxy, target); err != nil {
			return err
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	connect := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: header}
	if err := connect.Write(conn); err != nil {
		return err
	}
	// What the buffer has read too much is nothing: the target waits for a
	// request.
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), connect)
	if err != nil {
		return err
	}
	if t.OnProxyConnectResponse != nil {
		if err := t.OnProxyConnectResponse(ctx, proxy, connect, answer); err != nil {
			return err
		}
	}
	if answer.StatusCode != http.StatusOK {
		_, text, _ := strings.Cut(answer.Status, " ")
		return errors.New(cmp.Or(text, "the proxy refused"))
	}
	return nil
}

// dialProxy connects to a proxy by the dial functions of a transport.
func dialProxy(ctx context.Context, t *http.Transport, proxy *url.URL) (net.Conn, error) {
	secure := proxy.Scheme == "https"
	port := "80"
	if secure {
		port = "443"
	}
	host := addr.ASCII(proxy.Hostname())
	at := net.JoinHostPort(host, cmp.Or(proxy.Port(), port))
	dial.ToProxy(ctx, at)
	//lint:ignore SA1019 who has set Dial or DialTLS wants them used
	connect, dialTLS, plainDial, plainDialTLS := t.DialContext, t.DialTLSContext, t.Dial, t.DialTLS
	switch {
	case secure && dialTLS != nil:
		return dialTLS(ctx, "tcp", at)
	case secure && plainDialTLS != nil:
		return plainDialTLS("tcp", at)
	case connect == nil && plainDial != nil:
		connect = func(_ context.Context, network, addr string) (net.Conn, error) { return plainDial(network, addr) }
	case connect == nil:
		connect = new(net.Dialer).DialContext
	}
	conn, err := connect(ctx, "tcp", at)
	if err != nil || !secure {
		return conn, err
	}
	config := t.TLSClientConfig.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName, config.NextProtos = cmp.Or(config.ServerName, host), nil
	encrypted := tls.Client(conn, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return encrypted, nil
}
