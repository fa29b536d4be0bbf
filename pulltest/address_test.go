package pulltest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// freeAddress is a loopback address that nobody listens at now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestWithAddress(t *testing.T) {
	addr := freeAddress(t)
	p, err := pulltest.Start(pulltest.WithAddress(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.URL() != "https://"+addr || p.AuthServer() != p.URL() || p.PushURL() != p.URL()+"/push" || p.PlainURL() != "" {
		t.Errorf("it is at %s, %s, %s, %q", p.URL(), p.AuthServer(), p.PushURL(), p.PlainURL())
	}
	if status, a := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 || !bytes.Contains(a.Result, []byte(`"wss://`+addr+`/push/sub/"`)) {
		t.Errorf("a config: %d", status)
	}
	second, err := pulltest.Start(pulltest.WithAddress(addr))
	if err == nil {
		second.Close()
		t.Fatal("a second portal at the same address")
	}
	if !strings.Contains(err.Error(), addr) {
		t.Errorf("the error is %v", err)
	}
}

func TestWithAddress_Network(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if p.URL() != "https://b24.example:8443" || p.AuthServer() != "https://oauth.example" {
			t.Errorf("it is at %s, %s", p.URL(), p.AuthServer())
		}
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("a config: %d", status)
		}
	}, pulltest.WithAddress("b24.example:8443"))
}

// TestWithHostname: who listens everywhere has a name, which the certificate is
// for.
func TestWithHostname(t *testing.T) {
	for name, want := range map[string]string{"": "localhost", "portal.test": "portal.test"} {
		p, err := pulltest.Start(pulltest.WithAddress(":0"), pulltest.WithPlainHTTP("0.0.0.0:0"), pulltest.WithHostname(name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.URL(), "https://"+want+":") || !strings.HasPrefix(p.PlainURL(), "http://"+want+":") {
			t.Errorf("%q: it is at %s and %s", name, p.URL(), p.PlainURL())
		}
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.URL(), "https://"))
		roots := x509.NewCertPool()
		roots.AddCert(p.Certificate())
		for _, host := range []string{want, "localhost", "127.0.0.1", "::1"} {
			conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: roots, ServerName: host})
			if err != nil {
				t.Errorf("%q as %s: %v", name, host, err)
				continue
			}
			conn.Close()
		}
		p.Close()
	}
}

func TestStart_Refuses(t *testing.T) {
	for name, opts := range map[string][]pulltest.Option{
		"not a host and a port":    {pulltest.WithAddress("8443")},
		"no such host":             {pulltest.WithAddress("256.0.0.1:0")},
		"plain, no host and port":  {pulltest.WithPlainHTTP("127.0.0.1")},
		"plain URLs without plain": {pulltest.WithPlainURLs()},
		"a URL for a name":         {pulltest.WithHostname("https://portal.test")},
		"a name with a port":       {pulltest.WithHostname("portal.test:443")},
		"an empty certificate":     {pulltest.WithCertificate(tls.Certificate{})},
		"no private key":           {pulltest.WithCertificate(tls.Certificate{Certificate: [][]byte{{1}}})},
		"no certificate":           {pulltest.WithCertificate(tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: 1})},
		"no path":                  {pulltest.WithPushPath("")},
		"a path without a slash":   {pulltest.WithPushPath("push")},
		"a path with a query":      {pulltest.WithPushPath("/push?a")},
		"slashes":                  {pulltest.WithPushPath("//")},
		"REST's path":              {pulltest.WithPushPath("/rest/push")},
		"the tokens' path":         {pulltest.WithPushPath("/oauth")},
	} {
		p, err := pulltest.Start(opts...)
		if err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.HasPrefix(err.Error(), "pulltest: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	defer func() {
		if said, _ := recover().(string); !strings.Contains(said, "WithPushPath") {
			t.Errorf("NewPortal panicked with %q", said)
		}
	}()
	pulltest.NewPortal(pulltest.WithPushPath(""))
}

// TestWithPlainURLs: a client without TLS gets along with what it is told.
func TestWithPlainURLs(t *testing.T) {
	p, err := pulltest.Start(pulltest.WithPlainHTTP("127.0.0.1:0"), pulltest.WithPlainURLs())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !strings.HasPrefix(p.PlainURL(), "http://127.0.0.1:") || p.URL() != p.PlainURL() || p.AuthServer() != p.PlainURL() {
		t.Errorf("it is at %s, %s, %s", p.URL(), p.PlainURL(), p.AuthServer())
	}
	if config := p.ConfigJSON(); bytes.Contains(config, []byte("https://")) || bytes.Contains(config, []byte("wss://")) {
		t.Error("the config has addresses with TLS")
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(p.Webhook() + "pull.config.get")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var config struct {
		Result struct {
			Server   map[string]any
			Channels map[string]struct{ ID string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&config); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"websocket", "websocket_secure"} {
		base, _ := config.Result.Server[name].(string)
		ws, _, err := websocket.DefaultDialer.Dial(base+"?binaryMode=true&CHANNEL_ID="+config.Result.Channels["shared"].ID, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		m := text("plain")
		m.To = pulltest.UserShared
		p.Emit(m)
		expect(t, name, texts(t, next(t, ws)), "plain")
		ws.Close()
	}
	if resp, err = client.PostForm(p.AuthServer()+"/oauth/token/", credentials(p, "grant_type", "refresh_token", "refresh_token", p.Token(1).RefreshToken)); err != nil {
		t.Fatal(err)
	}
	token, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !bytes.Contains(token, []byte(`"client_endpoint":"`+p.PlainURL()+`/rest/"`)) || bytes.Contains(token, []byte("https:")) {
		t.Errorf("a token: %d %v", resp.StatusCode, err)
	}
}

func TestWithPlainURLs_Network(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if p.URL() != "http://plain.example" || p.AuthServer() != p.URL() || p.PushURL() != "http://plain.example/push" {
			t.Errorf("it is at %s, %s, %s", p.URL(), p.AuthServer(), p.PushURL())
		}
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("a config: %d", status)
		}
		if r := post(t, p, p.AuthServer()+"/oauth/token/", nil); r.status != 400 {
			t.Errorf("a token: %d", r.status)
		}
	}, pulltest.WithPlainHTTP("plain.example:80"), pulltest.WithPlainURLs())
}

// TestWithPushPath: a push server's paths at the root, beside the portal's own.
func TestWithPushPath(t *testing.T) {
	for _, path := range []string{"/", "/bitrix/push/"} {
		onBoth(t, func(t *testing.T, p *pulltest.Portal) {
			root := p.URL() + strings.TrimSuffix(path, "/")
			if p.PushURL() != root || !bytes.Contains(p.ConfigJSON(), []byte(`"`+root+`/rest/"`)) {
				t.Errorf("the push server is at %s", p.PushURL())
			}
			p.Emit(text("kept"))
			expect(t, "a poll", texts(t, decode(t, pollMid(t, p, zeros).body)), "kept")
			ws := dial(t, p, zeros)
			expect(t, "a websocket", texts(t, next(t, ws)), "kept")
			ws.Close()
			for path, status := range map[string]int{"/server-stat/": 200, "/sub": 404, "/nothing": 404, "//sub/": 404} {
				if r := get(t, p, root+path); r.status != status || status == 404 && (len(r.body) > 0 || r.header.Get("Access-Control-Allow-Origin") != "*") {
					t.Errorf("%s: %d %q", path, r.status, r.body)
				}
			}
			if r := post(t, p, root+"/rest/", []byte{1}); r.status != 400 || !strings.HasPrefix(string(r.body), "4012") {
				t.Errorf("a batch of nobody: %d %q", r.status, r.body)
			}
			if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
				t.Errorf("REST: %d", status)
			}
			if status, _ := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.AccessToken()}); status != 200 {
				t.Errorf("REST of an application: %d", status)
			}
			if r := post(t, p, p.AuthServer()+"/oauth/token/", nil); r.status != 400 || !bytes.Contains(r.body, []byte("invalid_request")) {
				t.Errorf("a token: %d %q", r.status, r.body)
			}
			for _, service := range []pulltest.Service{pulltest.REST, pulltest.Polls, pulltest.Publishing} {
				p.Misbehave(service, pulltest.Refuse(418))
				if r := pollMid(t, p, zeros); (r.status == 418) != (service == pulltest.Polls) {
					t.Errorf("fault of %v: a poll is answered %d", service, r.status)
				}
				if r := post(t, p, root+"/rest/", []byte{1}); (r.status == 418) != (service == pulltest.Publishing) {
					t.Errorf("fault of %v: a batch is answered %d", service, r.status)
				}
				if r := post(t, p, p.Webhook()+"pull.config.get", nil); (r.status == 418) != (service == pulltest.REST) {
					t.Errorf("fault of %v: REST is answered %d", service, r.status)
				}
				p.Behave(service)
			}
		}, pulltest.WithPushPath(path))
	}
}

// ownCertificate is one that a user has, signed by an authority of his.
func ownCertificate(t *testing.T) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	donor := pulltest.NewPortal()
	defer donor.Close()
	return donor.TLSCertificate(), donor.Certificate()
}

func TestWithCertificate(t *testing.T) {
	own, authority := ownCertificate(t)
	for name, chain := range map[string][][]byte{"with its issuer": own.Certificate, "alone": own.Certificate[:1]} {
		given := own
		given.Certificate = chain
		p, err := pulltest.Start(pulltest.WithAddress("127.0.0.1:0"), pulltest.WithCertificate(given))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Certificate().Raw, chain[len(chain)-1]) {
			t.Errorf("%s: the one to trust is another", name)
		}
		roots := x509.NewCertPool()
		roots.AddCert(authority)
		conn, err := tls.Dial("tcp", strings.TrimPrefix(p.URL(), "https://"), &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if shown := conn.ConnectionState().PeerCertificates; !bytes.Equal(shown[0].Raw, own.Certificate[0]) {
			t.Errorf("%s: it shows another", name)
		}
		conn.Close()
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("%s: its own client: %d", name, status)
		}
		p.Move("")
		if status, _ := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("%s: its own client, moved: %d", name, status)
		}
		p.Close()
	}
}

// TestCertificate_Tools: what other languages' clients do with the authority
// in a file. The portal is told to each by all of its names.
func TestCertificate_Tools(t *testing.T) {
	t.Parallel()
	p, err := pulltest.Start(pulltest.WithAddress("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	file := filepath.Join(t.TempDir(), "authority.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	const python = `import os,ssl,sys,urllib.request
c=ssl.create_default_context()
c.verify_flags|=ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[1],context=c).status)`
	const php = `$ca=getenv("CA"); file_get_contents($argv[1], false, stream_context_create($ca ? ["ssl"=>["cafile"=>$ca]] : [])); echo substr($http_response_header[0], 9, 3);`
	const phpCurl = `$c=curl_init($argv[1]); curl_setopt_array($c,[CURLOPT_RETURNTRANSFER=>1,CURLOPT_CAINFO=>getenv("CA")]); curl_exec($c); echo curl_getinfo($c,CURLINFO_RESPONSE_CODE), curl_error($c);`
	tools := []struct {
		name, env string
		command   []string
		needs     []string // a command that succeeds where the tool is complete
	}{
		{"curl", "", []string{"curl", "-sS", "--cacert", file, "-o", os.DevNull, "-w", "%{http_code}"}, nil},
		{"node", "NODE_EXTRA_CA_CERTS", []string{"node", "-e", `fetch(process.argv[1]).then(r => console.log(r.status), e => console.log(e.cause))`}, nil},
		{"python", "SSL_CERT_FILE", []string{"python3", "-c", python}, nil},
		{"php", "CA", []string{"php", "-r", php}, nil},
		{"php with curl", "CA", []string{"php", "-r", phpCurl}, []string{"php", "-r", `exit(function_exists("curl_init") ? 0 : 1);`}},
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.URL(), "https://"))
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			if !resttest.Thorough && tool.name != "curl" && tool.name != "python" {
				t.Skip("another tool, and one that is as strict, trust it as well: B24PULL_LONG=1 runs all")
			}
			if _, err := exec.LookPath(tool.command[0]); err != nil {
				t.Skipf("there is no %s here", tool.command[0])
			}
			if tool.needs != nil && exec.Command(tool.needs[0], tool.needs[1:]...).Run() != nil {
				t.Skipf("%s is not complete here", tool.name)
			}
			for _, host := range []string{"127.0.0.1", "localhost"} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				run := func(env string) string {
					cmd := exec.CommandContext(ctx, tool.command[0], append(tool.command[1:], "https://"+host+":"+port+"/push/server-stat/")...)
					cmd.Env = append(os.Environ(), "no_proxy=*")
					if env != "" {
						cmd.Env = append(cmd.Env, env+"="+file)
					}
					out, _ := cmd.CombinedOutput()
					return strings.TrimSpace(string(out))
				}
				if out := run(tool.env); out != "200" {
					t.Errorf("%s: %s", host, out)
				}
				if tool.env != "" && (resttest.Thorough || host != "localhost") && run("") == "200" {
					t.Errorf("%s: it trusts anybody", host)
				}
			}
		})
	}
}
