package soak

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// through makes a server that sends back every line, and a connection to it
// through a proxy.
func through(t *testing.T, delay time.Duration) (proxies, net.Conn) {
	addr := resttest.Serve(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	all, err := newProxies([]string{addr, addr}, delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.close)
	c, err := all.detours().dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return all, c
}

// TestProxy_Cut: what is open is reset, and what comes later is not.
func TestProxy_Cut(t *testing.T) {
	all, c := through(t, 0)
	lines := bufio.NewReader(c)
	echo := func(c net.Conn, lines *bufio.Reader) error {
		fmt.Fprintln(c, "hello")
		_, err := lines.ReadString('\n')
		return err
	}
	if err := echo(c, lines); err != nil {
		t.Fatal(err)
	}
	if !all.cut() {
		t.Error("nothing was open")
	}
	if _, err := lines.ReadByte(); err == nil || err == io.EOF {
		t.Errorf("the connection was not reset: %v", err)
	}
	again, err := all.detours().dial(t.Context(), "tcp", all.only().target)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := echo(again, bufio.NewReader(again)); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}

// only is the one proxy there is.
func (all proxies) only() *proxy {
	for _, p := range all {
		return p
	}
	return nil
}

// TestProxy_Delay: a distance takes its time both ways, keeps the order and ends
// what has ended.
func TestProxy_Delay(t *testing.T) {
	const delay = 20 * time.Millisecond
	_, c := through(t, delay)
	lines := bufio.NewReader(c)
	start := time.Now()
	fmt.Fprintln(c, "hello")
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("there and back in %v", took)
	}
	var sent strings.Builder
	for i := range 200 {
		line := fmt.Sprintf("%d %s\n", i, strings.Repeat("x", 1000))
		sent.WriteString(line)
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(lines)
	if err != nil || string(got) != sent.String() {
		t.Errorf("%d bytes came back of %d, %v", len(got), sent.Len(), err)
	}
}

// TestProxy_Detours: nothing goes around the proxies.
func TestProxy_Detours(t *testing.T) {
	all, _ := through(t, 0)
	if _, err := all.detours().dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no proxy") {
		t.Errorf("%v", err)
	}
}
