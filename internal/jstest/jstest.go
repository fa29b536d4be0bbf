// Package jstest runs the official JS client of Bitrix24 beside a test, to talk
// with it over the same portal.
//
// It takes Node from version 20 on and the packages of testdata, which npm ci
// installs there. Without them the test is skipped, or fails if B24PULL_NODE is
// set.
package jstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Login is whose client is started, and where.
type Login struct {
	Portal      string // its address
	Certificate *x509.Certificate
	MemberID    string
	AccessToken string // of the application
	User        int64
	Polling     bool // it connects by long polling, as a browser without websockets
	Watched     bool // Connections tells what it asks for, and what comes
}

// A Client is a running JS client.
type Client struct {
	Version int // of the push server

	writing sync.Mutex
	stdin   io.WriteCloser

	mu       sync.Mutex
	calls    int
	waiting  map[int]chan answer
	messages []Message
	events   []Message
	asked    []Connection
	statuses []Status
	troubles []string
	ended    bool
}

// A Message is one that the client has received.
type Message struct {
	Command string
	Params  json.RawMessage
	Sender  int // 1 is a client, 2 the portal; 0 where the version names none
}

// A Status is one that the client was told of: a user has come or gone.
type Status struct {
	User   int64
	Online bool
}

// answer is a line that the client writes: what became of a command, or an
// event.
type answer struct {
	Event   string
	ID      int
	Error   string
	Version int
	Result  json.RawMessage
	Message
	Status

	Transport  string
	Position   Position
	Connection int
	Messages   []Arrived
}

// Start starts a client, which knows the public channels of some users, and
// returns when it is connected. It ends with the test.
func Start(t testing.TB, login Login, users ...int64) *Client {
	t.Helper()
	folder, err := install()
	if err != nil {
		if os.Getenv("B24PULL_NODE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	trust := filepath.Join(t.TempDir(), "portal.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: login.Certificate.Raw})
	if err := os.WriteFile(trust, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Client{waiting: make(map[int]chan answer)}
	c.run(t, folder, trust)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	started, err := c.call(ctx, "start", map[string]any{
		"portal": login.Portal, "member": login.MemberID, "token": login.AccessToken, "user": login.User,
		"users": users, "polling": login.Polling, "watched": login.Watched,
	})
	if err != nil {
		t.Fatal("the JS client does not start: ", err)
	}
	c.Version = started.Version
	return c
}

// run starts the process, whose environment names no proxies.
func (c *Client) run(t testing.TB, folder, trust string) {
	t.Helper()
	// Before version 22 Node has websockets by this flag.
	cmd := exec.Command("node", "--experimental-websocket", "--no-warnings", "client.mjs")
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SystemRoot=" + os.Getenv("SystemRoot"), "NODE_EXTRA_CA_CERTS=" + trust}
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		c.stdin.Close()
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("the JS client: %v: %s", err, withoutSecrets(said.Bytes()))
		}
	})
}

// install finds the folder of the client, and whether all it takes is there.
func install() (folder string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(root) == root {
			return "", errors.New("no go.mod above the test's folder")
		}
		root = filepath.Dir(root)
	}
	folder = filepath.Join(root, "internal", "jstest", "testdata")
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("the official JS client takes Node, which is not here")
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@bitrix24", "b24jssdk")); err != nil {
		return "", errors.New("the official JS client is not installed: npm ci in internal/jstest/testdata")
	}
	return folder, nil
}

// read takes what the client writes until it ends.
func (c *Client) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			continue // what its packages print
		}
		c.take(a)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, w := range c.waiting {
		close(w)
	}
	io.Copy(io.Discard, stdout)
}

func (c *Client) take(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch a.Event {
	case "message":
		c.messages = append(c.messages, a.Message)
	case "event":
		c.events = append(c.events, a.Message)
	case "asked":
		c.asked = append(c.asked, Connection{Transport: a.Transport, Position: a.Position})
	case "frame":
		c.asked[a.Connection-1].Frames = append(c.asked[a.Connection-1].Frames, a.Messages)
	case "status":
		c.statuses = append(c.statuses, a.Status)
	case "trouble":
		c.troubles = append(c.troubles, withoutSecrets([]byte(a.Error)))
	case "done":
		if w := c.waiting[a.ID]; w != nil {
			delete(c.waiting, a.ID)
			w <- a
		}
	}
}

// call has the client do something, and returns what it says then.
func (c *Client) call(ctx context.Context, name string, args map[string]any) (answer, error) {
	w := make(chan answer, 1)
	id, err := c.expect(w)
	if err != nil {
		return answer{}, err
	}
	args["id"], args["do"] = id, name
	line, err := json.Marshal(args)
	if err != nil {
		return answer{}, err
	}
	c.writing.Lock()
	_, err = c.stdin.Write(append(line, '\n'))
	c.writing.Unlock()
	if err != nil {
		return answer{}, err
	}
	select {
	case a, ok := <-w:
		switch {
		case !ok:
			return answer{}, errEnded
		case a.Error != "":
			return answer{}, fmt.Errorf("the JS client: %s", withoutSecrets([]byte(a.Error)))
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// expect has the answer to the next call go to w.
func (c *Client) expect(w chan answer) (id int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, errEnded
	}
	c.calls++
	c.waiting[c.calls] = w
	return c.calls, nil
}

var errEnded = errors.New("the JS client has ended")

// Publish has the client publish a message of the module application. On
// version 4 nil means that it has handed it to its websocket, if it had one, or
// to a POST, if it polls; on version 5 that the push server has answered, and
// who polls cannot publish.
func (c *Client) Publish(ctx context.Context, command string, params any, expiry time.Duration, users ...int64) error {
	_, err := c.call(ctx, "publish", map[string]any{
		"users": users, "command": command, "params": params, "expiry": int(expiry.Seconds()),
	})
	return err
}

// Flood has the client publish to a user, in batches of which some are under
// way at once, and returns when it has handed over the last. It waits for the
// answers to POSTs and to single messages of version 5; of others there are
// none.
func (c *Client) Flood(ctx context.Context, user int64, count, batch, atOnce int) error {
	_, err := c.call(ctx, "flood", map[string]any{
		"users": []int64{user}, "count": count, "batch": batch, "atOnce": atOnce, "expiry": 0,
	})
	return err
}

// LastSeen asks the push server of version 5, and then the portal for those of
// the users whom that does not know: what the portal says, in Unix seconds.
func (c *Client) LastSeen(ctx context.Context, users ...int64) (map[int64]int64, error) {
	a, err := c.call(ctx, "lastSeen", map[string]any{"users": users})
	if err != nil {
		return nil, err
	}
	seen := make(map[int64]int64)
	return seen, json.Unmarshal(a.Result, &seen)
}

// Watch has the client be told by a push server of version 5 when users come
// and go.
func (c *Client) Watch(ctx context.Context, users ...int64) error {
	_, err := c.call(ctx, "watch", map[string]any{"users": users})
	return err
}

// Statuses are those that the client was told of so far.
func (c *Client) Statuses() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.statuses)
}

// CountChannels asks a push server of version 5 how many channels the client
// listens to.
func (c *Client) CountChannels(ctx context.Context) (int, error) {
	a, err := c.call(ctx, "channels", map[string]any{})
	if err != nil {
		return 0, err
	}
	var ids []string
	err = json.Unmarshal(a.Result, &ids)
	return len(ids), err
}

// Events are the events of the module application that the portal has sent the
// client so far, as it has told them.
func (c *Client) Events() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// Received are the messages that other clients have sent it so far, and its own
// if they were sent to its user.
func (c *Client) Received() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.messages)
}

// Troubles are the errors that the client has told nobody.
func (c *Client) Troubles() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.troubles)
}

var secret = regexp.MustCompile(`[0-9A-Za-z_.-]{24,}`)

// withoutSecrets is what the client has said, without what may be a secret.
func withoutSecrets(text []byte) string {
	text = secret.ReplaceAll(text, []byte("…"))
	return string(text[max(0, len(text)-2000):])
}
