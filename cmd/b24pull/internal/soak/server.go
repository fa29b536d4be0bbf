package soak

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/url"

	"github.com/b24pull/b24pull"
)

// server is a push server and the channel to try it with.
type server struct {
	name    string
	config  json.RawMessage // as a portal would answer it
	publish []string        // trusted endpoints, one for each publisher
	channel string          // as a trusted endpoint takes it
	body    func(n, padding int) []byte
	roots   []byte                    // PEM of the certificates to trust; none: the system's
	deceive func(ctx context.Context) // puts a false web server in the place of long polling; nil: cannot
	close   func()
}

// tls trusts the server.
func (s *server) tls() *tls.Config { return trusting(s.roots) }

func trusting(roots []byte) *tls.Config {
	if len(roots) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &tls.Config{RootCAs: pool}
}

// addresses are the hosts and ports that a subscriber dials.
func (s *server) addresses() ([]string, error) {
	cfg := new(b24pull.Config)
	if err := json.Unmarshal(s.config, cfg); err != nil {
		return nil, err
	}
	var addrs []string
	for _, address := range []string{cfg.Server.WebSocketSecure, cfg.Server.WebSocket, cfg.Server.LongPollingSecure, cfg.Server.LongPolling} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			addrs = append(addrs, hostPort(u))
		}
	}
	return addrs, nil
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// realServer is a push server that runs elsewhere. Its portal is not asked: the
// channel, and its signature, are made here.
func realServer(o *options) *server {
	private := randomChannel()
	id := private
	switch {
	case o.version == 3:
		id = sign(o.key, private)
	case o.version > 3:
		id = sign(o.key, private+":"+randomChannel())
	}
	described := map[string]any{
		"version": o.version, "server_enabled": true, "mode": "personal", "hostname": "soak", "publish_enabled": false,
		"websocket_enabled": o.sub != "", "websocket": o.sub, "websocket_secure": o.sub,
		"long_polling": o.poll, "long_polling_secure": o.poll,
	}
	channel := map[string]any{"id": id, "type": "private"} // and no end
	config, _ := json.Marshal(map[string]any{              // there is nothing in it that could fail
		"server":   described,
		"channels": map[string]any{"private": channel},
	})
	return &server{
		name: fmt.Sprintf("a push server of version %d", o.version), config: config, publish: o.pub, channel: private,
		body: numberedBody(o.version, private), close: func() {},
	}
}

// randomChannel is an id that nobody has used before.
func randomChannel() string {
	sum := md5.Sum([]byte(rand.Text()))
	return hex.EncodeToString(sum[:])
}

// sign adds the server's signature to a channel id.
func sign(key, id string) string {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(id))
	return id + "." + hex.EncodeToString(mac.Sum(nil))
}
