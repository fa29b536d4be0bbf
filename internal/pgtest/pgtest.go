// Package pgtest runs a PostgreSQL server for tests: that of the machine, on
// data of its own.
package pgtest

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// Start starts a server, which ends with the test. It is skipped where there is
// no PostgreSQL, unless B24PULL_POSTGRES is set. driver is the name by which
// database/sql knows the driver.
func Start(t testing.TB, driver string) *Server {
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
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{t: t, bin: bin, dir: dir, driver: driver}
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "nobody", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	if out, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.start()
	t.Cleanup(func() { s.stop(os.Interrupt) })
	return s
}

// URL is the address of a database that is empty at first, and whose user may
// do anything.
func (s *Server) URL() string { return "postgres://postgres@/postgres?host=" + s.dir }

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
	s.cmd = s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off")
	s.log = new(bytes.Buffer)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
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
