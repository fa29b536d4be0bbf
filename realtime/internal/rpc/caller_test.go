package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errNone = errors.New("there is no line")

// TestCaller_NextLine: a call waits for a line, and goes over the next one if
// it was not sent; what was sent is not sent again.
func TestCaller_NextLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Caller
		var first, second, third peer
		done := make(chan error)
		call := func() {
			_, err := c.Call(t.Context(), "echo", []int{1})
			done <- err
		}
		go call()
		time.Sleep(time.Hour)
		c.Use(first.connect(t))
		first.received()
		go call()
		c.Use(second.connect(t))
		if n := first.received() + second.received(); n != 2 {
			t.Errorf("%d calls were sent", n)
		}
		first.line.Cut(errReset)
		second.line.Cut(errReset)
		for range 2 {
			unanswered(t, <-done, true, errReset)
		}
		third.answers(third.echo)
		go call() // the line in use is cut already
		synctest.Wait()
		c.Use(nil)
		time.Sleep(time.Hour)
		c.Use(third.connect(t))
		if err := <-done; err != nil {
			t.Error(err)
		}
		third.line.Retire()
		go call()
		synctest.Wait()
		c.Lack(errNone, 0)
		unanswered(t, <-done, false, errNone)
	})
}

// TestCaller_Lack: how long a call waits where there is no line.
func TestCaller_Lack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Caller
		c.Lack(errNone, 0)
		within(t, 0, func() {
			_, err := c.Call(t.Context(), "echo", nil)
			unanswered(t, err, false, errNone)
		})
		c.Lack(errNone, time.Minute)
		within(t, time.Minute, func() {
			_, err := c.Call(t.Context(), "echo", nil)
			unanswered(t, err, false, errNone)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		within(t, time.Second, func() {
			_, err := c.Call(ctx, "echo", nil)
			unanswered(t, err, false, context.DeadlineExceeded)
		})
		within(t, time.Minute, func() { // from when it was made
			time.AfterFunc(10*time.Second, func() { c.Use(nil) })
			time.AfterFunc(20*time.Second, func() { c.Lack(errNone, time.Minute) })
			_, err := c.Call(t.Context(), "echo", nil)
			unanswered(t, err, false, errNone)
		})
		var p peer
		p.answers(p.echo)
		within(t, time.Second, func() {
			time.AfterFunc(time.Second, func() { c.Use(p.connect(t)) })
			if _, err := c.Call(t.Context(), "echo", nil); err != nil {
				t.Error(err)
			}
		})
	})
}
