package dial

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
)

type panicKey struct{}

// A panicked function is told of a panic, with the stack of its goroutine.
type panicked func(value any, stack []byte)

// OnPanic returns a context for requests whose connections, or what dials them,
// may panic: told is called then, in any goroutine, also later than the request.
// Without it that is an error, and no more.
func OnPanic(ctx context.Context, told func(value any, stack []byte)) context.Context {
	return context.WithValue(ctx, panicKey{}, panicked(told))
}

// Recover calls f, which is somebody else's, in a goroutine in which a panic
// would end the process: net/http's, crypto/tls's or that of a
// [context.AfterFunc].
func Recover(ctx context.Context, what string, f func() error) error {
	told, _ := ctx.Value(panicKey{}).(panicked)
	return recovering(told, what, f)
}

func recovering(told panicked, what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = told.of(v, what)
		}
	}()
	return f()
}

// of tells of a panic, and makes an error of it.
func (told panicked) of(value any, what string) error {
	if told != nil {
		told(value, debug.Stack())
	}
	return fmt.Errorf("%s has panicked: %s", what, quote.Text(fmt.Sprint(value), quote.TextLimit))
}

// A safeConn has the panics of a connection recovered.
type safeConn struct {
	net.Conn
	told panicked
}

// Safe wraps a connection whose methods may panic.
func Safe(ctx context.Context, c net.Conn) net.Conn {
	told, _ := ctx.Value(panicKey{}).(panicked)
	if own, ok := c.(*safeConn); ok && (own.told != nil || told == nil) {
		return c
	}
	return &safeConn{c, told}
}

func (c *safeConn) recover(method string, f func() error) error {
	return recovering(c.told, "the "+method+" of a connection", f)
}

// Read takes little of a stack: connections that are idle wait in it.
func (c *safeConn) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, c.told.of(v, "the Read of a connection")
		}
	}()
	return c.Conn.Read(p)
}

func (c *safeConn) Write(p []byte) (n int, err error) {
	err = c.recover("Write", func() (err error) { n, err = c.Conn.Write(p); return err })
	return n, err
}

func (c *safeConn) Close() error { return c.recover("Close", c.Conn.Close) }

func (c *safeConn) SetDeadline(t time.Time) error {
	return c.recover("SetDeadline", func() error { return c.Conn.SetDeadline(t) })
}

func (c *safeConn) SetReadDeadline(t time.Time) error {
	return c.recover("SetReadDeadline", func() error { return c.Conn.SetReadDeadline(t) })
}

func (c *safeConn) SetWriteDeadline(t time.Time) error {
	return c.recover("SetWriteDeadline", func() error { return c.Conn.SetWriteDeadline(t) })
}
