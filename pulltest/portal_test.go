package pulltest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

func testCertificate(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames:     []string{host},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestPortal_Middleware(t *testing.T) {
	var broken sync.Map
	fault := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, on := broken.Load("on"); on {
				w.WriteHeader(http.StatusBadGateway)
				io.WriteString(w, "<html>502 Bad Gateway</html>")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		broken.Delete("on")
		ws := dial(t, p, "")
		defer ws.Close()
		p.Emit(text("through"))
		expect(t, "the websocket heard", texts(t, next(t, ws)), "through")
		broken.Store("on", true)
		if _, resp, err := dialURL(p, subURL(t, p, "")); err == nil || resp.StatusCode != http.StatusBadGateway {
			t.Errorf("dialing a broken portal: %v", err)
		}
		r := get(t, p, p.Webhook()+"pull.config.get")
		if r.status != http.StatusBadGateway || !strings.HasPrefix(string(r.body), "<html>") {
			t.Errorf("REST of a broken portal: %d", r.status)
		}
	}, pulltest.WithHandler(fault))
}

// A client that does not read is cut; publishing never waits for it, and
// another client misses nothing.
func TestPortal_SlowClientIsCut(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		slow, good := dial(t, p, ""), dial(t, p, "")
		defer slow.Close()
		defer good.Close()
		heard := 0
		go func() {
			for {
				if _, _, err := good.ReadMessage(); err != nil {
					return
				}
				heard++
			}
		}()
		start := time.Now()
		for range 20 {
			p.Emit(pulltest.Message{Body: strings.Repeat("x", 1<<20), Expiry: -1})
			synctest.Wait()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("publishing waited %v", took)
		}
		if heard != 20 {
			t.Errorf("the good client heard %d of 20", heard)
		}
		if n := p.Stats().Connections; n != 1 {
			t.Errorf("%d connections are open", n)
		}
	}, pulltest.WithGather(0))
}

func TestPortal_WithMidSeesNothingTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for i := range 10 {
			p.Emit(text(fmt.Sprint("before ", i)))
		}
		ws := dial(t, p, zeros)
		defer ws.Close()
		time.Sleep(time.Second)
		p.Emit(text("after"))
		if n := len(next(t, ws)); n != 10 {
			t.Errorf("the history has %d messages", n)
		}
		expect(t, "then comes", texts(t, next(t, ws)), "after")
	})
}

// Many clients connect, hang and leave while the portal publishes and cuts.
func TestPortal_ConcurrentUse(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		var wg sync.WaitGroup
		target := subURL(t, p, "")
		for i := range 8 {
			wg.Go(func() {
				for range 10 {
					if i%2 == 0 {
						if resp, err := p.HTTPClient().Get(target + "&mid=" + zeros); err == nil {
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
						continue
					}
					if ws, _, err := dialURL(p, target); err == nil {
						ws.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
						ws.ReadMessage()
						ws.Close()
					}
				}
			})
		}
		for i := range 200 {
			p.Emit(text(fmt.Sprint(i)))
			switch i % 20 {
			case 5:
				p.Ping()
			case 10:
				p.CutPolls()
			case 15:
				p.CutWebSockets()
			}
		}
		wg.Wait()
		p.Stats()
		if got := len(kept(t, p, zeros)); got != 200 {
			t.Errorf("%d messages are kept", got)
		}
	})
}

func TestPortal_CloseWithOpenConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		hanging := pollLater(t, p, "")
		until(t, func() bool { return p.Stats().Connections == 2 })
		p.Close()
		p.Close()
		if _, ok := <-hanging; ok {
			t.Error("a hanging poll was answered")
		}
		if _, _, err := ws.ReadMessage(); err == nil {
			t.Error("a websocket outlives its portal")
		}
		if _, err := p.HTTPClient().Get(p.URL()); err == nil {
			t.Error("a closed portal answers")
		}
		p.Emit(text("to nobody"))
	})
}

func TestPortal_PortalsOnOneNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		second := pulltest.NewPortal(pulltest.WithNetwork(n))
		defer second.Close()
		if p.URL() != "https://portal.example" || second.URL() != "https://portal2.example" {
			t.Errorf("%s and %s", p.URL(), second.URL())
		}
		ws := dial(t, second, "")
		defer ws.Close()
		p.Emit(text("to the first"))
		second.Emit(text("to the second"))
		expect(t, "the second's websocket heard", texts(t, next(t, ws)), "to the second")
	})
}

// TestPortal_Certificate: a client of its own trusts the portal by its certificate.
func TestPortal_Certificate(t *testing.T) {
	p := pulltest.NewPortal()
	defer p.Close()
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(p.Webhook() + "pull.config.get")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
