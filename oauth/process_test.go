package oauth

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// The tests of this file start their own binary again as other processes.
const childEnv = "B24PULL_TEST_CHILD"

// child is such a process: it refreshes the token of a TokenFolder until it has
// got as many new ones as it should, and tells each.
func child() error {
	ctx := context.Background()
	store, err := NewTokenFolder(os.Getenv("B24PULL_TEST_FOLDER"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv("B24PULL_TEST_ROOT")))
	app := testApp(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}})
	app.AuthServer = os.Getenv("B24PULL_TEST_SERVER")
	ts, err := NewTokens(app, dyingStore{store, os.Getenv(childEnv)})
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(os.Getenv("B24PULL_TEST_TIMES"))
	if err != nil {
		return err
	}
	source := ts.Source("member1")
	for range times {
		old, err := source.Token()
		if err != nil {
			return err
		}
		if os.Getenv(childEnv) == "late" {
			old = &oauth2.Token{AccessToken: resttest.Mark + "-access-0"}
		}
		var wg sync.WaitGroup
		var next *oauth2.Token
		for i := range 20 {
			wg.Go(func() {
				got, refused := source.Refresh(ctx, old)
				if refused != nil {
					fmt.Println("error:", refused)
				}
				if i == 0 {
					next = got
				}
			})
		}
		wg.Wait()
		if next == nil {
			return errors.New("no token")
		}
		fmt.Println("refreshed to", strings.TrimPrefix(next.AccessToken, resttest.Mark+"-access-"))
	}
	return nil
}

// A dyingStore kills its process at a point of a refresh.
type dyingStore struct {
	*TokenFolder
	at string
}

func (s dyingStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, s.TokenFolder, key, func(held LockedToken) tapped {
		return tapped{save: func(ctx context.Context, t *Token) error {
			if s.at == "answered" {
				die()
			}
			err := held.Save(ctx, t)
			if s.at == "stored" {
				die()
			}
			return err
		}}
	})
}

func die() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// A lab is an authorization server over real sockets and a store for the
// processes.
type lab struct {
	server *rotating
	http   *httptest.Server
	store  *TokenFolder
}

func newLab(t *testing.T, took time.Duration) *lab {
	t.Helper()
	l := &lab{server: &rotating{took: took, change: map[string]any{"server_endpoint": nil}}, store: fileStore(t)}
	l.http = resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		status, answer := l.server.answer(r.PostForm)
		data, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		w.Write(data)
	})
	if err := put(context.Background(), l.store, "member1", l.server.present()); err != nil {
		t.Fatal(err)
	}
	return l
}

// start starts a process and returns it and its output.
func (l *lab) start(t *testing.T, mode string, times int) (*exec.Cmd, io.Reader) {
	t.Helper()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.http.Certificate().Raw})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode, "B24PULL_TEST_FOLDER="+l.store.folder, "B24PULL_TEST_SERVER="+l.http.URL,
		"B24PULL_TEST_ROOT="+string(root), "B24PULL_TEST_TIMES="+strconv.Itoa(times))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// stored is the generation of the stored refresh token.
func (l *lab) stored(t *testing.T) int {
	t.Helper()
	token, err := l.store.Load(context.Background(), "member1")
	if err != nil {
		t.Fatal(err)
	}
	generation, err := strconv.Atoi(strings.TrimPrefix(token.RefreshToken, resttest.Mark+"-refresh-"))
	if err != nil || token.AccessToken != fmt.Sprintf("%s-access-%d", resttest.Mark, generation) {
		t.Fatalf("a torn token: %s", token.Raw())
	}
	return generation
}

// refresh is the next process: it must find the lock free.
func (l *lab) refresh(t *testing.T) string {
	t.Helper()
	cmd, out := l.start(t, "on", 1)
	text, err := io.ReadAll(out)
	if err != nil {
		t.Error(err)
	}
	cmd.Wait()
	return string(text)
}

// TestProcess_TwoProcessesRefreshOnce: each with twenty goroutines that hold the
// expired token.
func TestProcess_TwoProcessesRefreshOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, 200*time.Millisecond)
	first, out1 := l.start(t, "late", 1)
	second, out2 := l.start(t, "late", 1)
	for _, out := range []io.Reader{out1, out2} {
		if text, err := io.ReadAll(out); err != nil || string(text) != "refreshed to 1\n" {
			t.Errorf("%s, %v", text, err)
		}
	}
	if err := errors.Join(first.Wait(), second.Wait()); err != nil {
		t.Error(err)
	}
	if asked, _ := l.server.counts(); asked != 1 {
		t.Errorf("%d refreshes, want 1", asked)
	}
}

// TestProcess_KilledAtAPoint: a token that was stored is there; one that was only
// answered is lost, and the error names the way out.
func TestProcess_KilledAtAPoint(t *testing.T) {
	t.Parallel()
	for point, want := range map[string]struct {
		stored int
		next   string
	}{
		"stored":   {1, "refreshed to 2"},
		"answered": {0, "have a user open or authorize the application again"},
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 0)
			cmd, out := l.start(t, point, 1)
			io.Copy(io.Discard, out)
			if err := cmd.Wait(); err == nil {
				t.Error("the process lives")
			}
			if _, generation := l.server.counts(); l.stored(t) != want.stored || generation != 1 {
				t.Errorf("generation %d is stored of %d, want %d", l.stored(t), generation, want.stored)
			}
			if text := l.refresh(t); !strings.Contains(text, want.next) {
				t.Errorf("the next process: %s", text)
			}
		})
	}
}

// TestProcess_KilledAnytime: the store never holds less than the last token that
// somebody got, and never a torn one.
func TestProcess_KilledAnytime(t *testing.T) {
	t.Parallel()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	l := newLab(t, 0)
	for round := range rounds {
		cmd, out := l.start(t, "on", 1_000_000)
		lines := bufio.NewScanner(out)
		told := -1
		for n := 0; lines.Scan(); n++ {
			generation, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "refreshed to "))
			if err != nil {
				t.Fatalf("the process: %s", lines.Text())
			}
			told = generation
			if n == round%4 {
				time.AfterFunc(time.Duration(round)*300*time.Microsecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		l.http.CloseClientConnections() // waits for what the process had asked
		stored := l.stored(t)
		l.server.mu.Lock()
		answered := l.server.generation
		l.server.generation = stored // a lost answer is not this test's
		l.server.mu.Unlock()
		if told < 0 || stored < told || answered > stored+1 {
			t.Errorf("round %d: told %d, stored %d, answered %d", round, told, stored, answered)
		}
	}
	if entries, err := filepath.Glob(filepath.Join(l.store.folder, "*.json")); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
