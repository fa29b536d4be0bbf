// Package pgtest runs a PostgreSQL server for tests: that of the machine, on
// data of its own.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// must has tests fail that would be skipped without a PostgreSQL.
const must = "B24PULL_POSTGRES"

// A Server is a PostgreSQL server that nobody else uses.
type Server struct {
	t      testing.TB
	bin    string // the folder of its programs
	dir    string // its data and its socket
	driver string
	cmd    *exec.Cmd
	log    *bytes.Buffer // cmd's, to be read when it has ended
}

// Start starts a server, which ends with the test: for one that crashes it, or
// ends connections. Others use [Database]. The test is skipped where there is
// no PostgreSQL, unless B24PULL_POSTGRES is set. driver is the name by which
// database/sql knows the driver.
func Start(t testing.TB, driver string) *Server {
	t.Helper()
	s := begin(t, driver)
	t.Cleanup(s.end)
	return s
}

func begin(t testing.TB, driver string) *Server {
	t.Helper()
	bin, err := programs()
	if err != nil {
		if os.Getenv(must) != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// A socket's path must be short, which those of t.TempDir are not.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, bin: bin, dir: dir, driver: driver}
	defer func() {
		if s.cmd == nil {
			os.RemoveAll(dir)
		}
	}()
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "nobody", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	if out, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.start()
	return s
}

func (s *Server) end() {
	s.stop(os.Interrupt)
	os.RemoveAll(s.dir)
}

// shared is the server of Database.
var shared struct {
	mu        sync.Mutex
	server    *Server
	databases int
}

// Main is the TestMain of a package that uses [Database]: it runs the tests,
// ends the server, and returns what the process is to exit with.
func Main(m *testing.M) int {
	defer func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if shared.server != nil {
			shared.server.end()
		}
	}()
	return m.Run()
}

// Database makes a database that is empty and nobody else's until the test ends,
// on a server that the tests of the process share, and returns its address. It
// skips as [Start] does.
func Database(t testing.TB, driver string) (url string) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		shared.server = begin(t, driver)
	}
	s := shared.server
	shared.databases++
	name := fmt.Sprint("test", shared.databases)
	s.exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { s.exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return s.url(name)
}

func (s *Server) exec(t testing.TB, statement string) {
	t.Helper()
	db, err := sql.Open(s.driver, s.URL())
	if err == nil {
		defer db.Close()
		_, err = db.ExecContext(context.WithoutCancel(t.Context()), statement)
	}
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// URL is the address of a database that is empty at first, and whose user may
// do anything.
func (s *Server) URL() string { return s.url("postgres") }

func (s *Server) url(database string) string {
	return "postgres://postgres@/" + database + "?host=" + s.dir
}

// Crash ends the server and everything that its clients had not committed, and
// starts it again.
func (s *Server) Crash() {
	s.t.Helper()
	s.stop(os.Kill)
	s.start()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) start() {
	s.t.Helper()
	// The tests cut the power of nobody's machine: nothing needs be synced.
	s.cmd = s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=400")
	s.log = new(bytes.Buffer)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.t.Fatal(err)
	}
	db, err := sql.Open(s.driver, s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := db.PingContext(s.t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.stop(os.Kill)
			s.t.Fatalf("PostgreSQL has not started: %v\n%s", err, s.log)
		}
	}
}

func (s *Server) stop(how os.Signal) {
	_ = s.cmd.Process.Signal(how)
	_ = s.cmd.Wait()
}

// command is one of PostgreSQL's programs, which refuse to be run by root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	line := slices.Concat([]string{filepath.Join(s.bin, name)}, args)
	if os.Getuid() == 0 {
		line = slices.Concat([]string{"setpriv", "--reuid=nobody", "--clear-groups", "--"}, line)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = s.dir
	return cmd
}

// programs is the folder of the newest PostgreSQL's programs.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if _, err := exec.LookPath("postgres"); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's
	if len(found) == 0 {
		return "", fmt.Errorf("there is no PostgreSQL server here: no initdb in PATH or in /usr/lib/postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}
