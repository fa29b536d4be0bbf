//go:build unix

package sqlstore_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/oauth/sqlstore"
)

const (
	childEnv = "B24PULL_TEST_DSN"
	urlEnv   = "B24PULL_TEST_AUTHSERVER"
	certEnv  = "B24PULL_TEST_CERTIFICATE"
)

// TestProcess_Stopped: a process is stopped while it refreshes a token, for
// longer than its lease, and goes on when another one has refreshed the same
// token. Whichever of them the authorization server has heard first, its token
// is the one that both have then, and that is stored.
func TestProcess_Stopped(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		for _, spent := range []bool{false, true} {
			t.Run(fmt.Sprint("the stopped one was first: ", spent), func(t *testing.T) {
				t.Parallel()
				if dsn, ok := os.LookupEnv(childEnv); ok {
					child(t, d, dsn)
				}
				stopped(t, d, spent)
			})
		}
	})
}

func stopped(t *testing.T, d database, spent bool) {
	dsn, s := d.place(t), newAuthServer(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	hold := func(n int) {
		if n == 1 {
			close(asked)
			<-goOn
		}
	}
	s.mu.Lock()
	if spent {
		s.after = hold
	} else {
		s.before = hold
	}
	s.mu.Unlock()
	ts := s.tokens(t, d.store(t, dsn, 2, sqlstore.WithLease(time.Second)).Tokens())
	first, second := tokenOf(t, "member1", 0), tokenOf(t, "member1", 1)
	if err := ts.Put(t.Context(), "member1", first); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), childEnv+"="+dsn, urlEnv+"="+s.URL,
		certEnv+"="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("the process has not asked: %v\n%s", err, &out)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := ts.Source("member1").Refresh(t.Context(), &first.Token)
	if spent != errors.Is(err, b24pull.ErrInvalidGrant) || !spent && err != nil {
		t.Errorf("refreshed by the other process: %v", err)
	}
	close(goOn)
	if err := errors.Join(cmd.Process.Signal(syscall.SIGCONT), <-ended); err != nil || !strings.Contains(out.String(), "refreshed to the next") {
		t.Errorf("the process that was stopped: %v\n%s", err, &out)
	}
	got, err := ts.Get(t.Context(), "member1")
	if err != nil || got.RefreshToken != second.RefreshToken || got.Revoked {
		t.Errorf("stored is %v, the next token: %v, revoked: %v, %v", got, err == nil && got.RefreshToken == second.RefreshToken, err == nil && got.Revoked, err)
	}
	if n := s.requests(); n != 2 {
		t.Errorf("the authorization server was asked %d times, want 2", n)
	}
}

// child is the process that is stopped.
func child(t *testing.T, d database, dsn string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(certEnv)))
	app := &oauth.Application{ClientID: "app.1", ClientSecret: mark + "-client", AuthServer: os.Getenv(urlEnv),
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	ts, err := oauth.NewTokens(app, d.store(t, dsn, 2, sqlstore.WithLease(time.Second)).Tokens())
	if err != nil {
		t.Fatal(err)
	}
	next, err := ts.Source("member1").Refresh(t.Context(), &tokenOf(t, "member1", 0).Token)
	if err != nil || next.RefreshToken != tokenOf(t, "member1", 1).RefreshToken {
		t.Fatalf("refreshed to another token, %v", err)
	}
	fmt.Println("refreshed to the next")
	t.SkipNow()
}
