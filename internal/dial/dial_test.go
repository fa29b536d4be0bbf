package dial

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestDial_ConnWaits: nothing is read before something is written, again after a
// handshake; deadlines and Close end the wait.
func TestDial_ConnWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, servers := net.Pipe()
		defer servers.Close()
		go io.Copy(io.Discard, servers)
		c := Wrap(Context(t.Context()), mine).(*Conn)
		read := func() <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 1))
				done <- err
			}()
			synctest.Wait()
			return done
		}
		say := func() { servers.Write([]byte("x")) }
		for range 2 {
			go say()
			done := read()
			select {
			case err := <-done:
				t.Fatalf("it was read before anything was written: %v", err)
			default:
			}
			if _, err := c.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			c.shutAgain()
		}
		began := time.Now()
		c.SetReadDeadline(began.Add(time.Minute))
		if err := <-read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		c.SetDeadline(time.Time{})
		done := read()
		c.SetDeadline(time.Now().Add(-1))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		c.SetDeadline(time.Time{})
		done = read()
		c.Close()
		if err := <-done; err == nil {
			t.Error("it was read after Close")
		}
	})
}

// TestDial_Records: as long as a handshake may be underway a read ends where a record
// does.
func TestDial_Records(t *testing.T) {
	mine, servers := net.Pipe()
	go io.Copy(io.Discard, servers)
	c := Wrap(Context(t.Context()), mine).(*Conn)
	c.Write([]byte{recordHandshake, 3, 1})
	go func() {
		servers.Write([]byte{recordHandshake, 3, 3, 0, 3, 'a', 'b', 'c', 23, 3, 3, 0, 1, 'z'})
		servers.Close()
	}()
	var lengths []int
	for {
		n, err := c.Read(make([]byte, 100))
		if err != nil {
			break
		}
		lengths = append(lengths, n)
	}
	if len(lengths) != 4 || lengths[0] != 5 || lengths[1] != 3 || lengths[2] != 5 || lengths[3] != 1 {
		t.Error(lengths)
	}
}
