package storetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/oauth"
)

const (
	placeEnv = "B24PULL_STORETEST_PLACE"
	keyEnv   = "B24PULL_STORETEST_KEY"
	// lockedLine is what the other process says when it has the lock.
	lockedLine = "storetest: locked"
)

// TokensOfProcesses tries out a store as [Tokens] does, and also how it is for
// processes: one is killed while it holds a lock, and then the lock is to be
// free.
//
// place makes a place for tokens and returns what it is opened by, like a folder
// or the address of a database. open opens a store there. For the other process
// the program of the tests is started once more, to run the test that t belongs
// to: there place is not called, and TokensOfProcesses does not return.
func TokensOfProcesses(t *testing.T, place func(t *testing.T) string, open func(t *testing.T, place string) oauth.TokenStore) {
	t.Helper()
	if at, ok := os.LookupEnv(placeEnv); ok {
		holdLock(t, open(t, at), os.Getenv(keyEnv))
	}
	at := place(t)
	Tokens(t, func(t *testing.T) oauth.TokenStore { return open(t, at) })
	t.Run("death", func(t *testing.T) {
		checkDeath(&bench{TB: t, open: func() oauth.TokenStore { return open(t, at) }}, func(key string) *exec.Cmd {
			return again(strings.TrimSuffix(t.Name(), "/death"), at, key)
		})
	})
}

// again is the program of the tests, to run one as the other process.
func again(test, place, key string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run", "^"+strings.ReplaceAll(test, "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), placeEnv+"="+place, keyEnv+"="+key)
	return cmd
}

// holdLock is the other process.
func holdLock(t *testing.T, store oauth.TokenStore, key string) {
	held, err := store.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	fmt.Println("\n" + lockedLine)
	bufio.NewReader(os.Stdin).ReadString('\n') // until it is killed, or the test dies
	t.FailNow()
}

// checkDeath: a process that dies does not hold a lock any more.
func checkDeath(b *bench, process func(key string) *exec.Cmd) {
	store, key := b.open(), b.key()
	b.put(store, key, token("kept"))
	cmd := process(key)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatalf("the other process: %v", err)
	}
	said, locked := "", false
	for lines := bufio.NewScanner(out); !locked && lines.Scan(); said += lines.Text() + "\n" {
		locked = lines.Text() == lockedLine
	}
	if err := cmd.Process.Kill(); err != nil {
		b.Errorf("it cannot be killed: %v", err)
	}
	cmd.Wait()
	if !locked {
		b.Fatalf("the other process has not locked the key: %s", said)
	}
	held := b.lock(b.ctx(), store, key)
	defer held.Unlock()
	got, err := held.Load(b.ctx())
	b.want("after the other process has died", got, err, token("kept"))
}
