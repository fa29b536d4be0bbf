package fleet

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/b24pull/b24pull/realtime"
)

// A PanicError is the error of a run in which something of yours has panicked:
// a handler, a store, a source; and of a store or of [WithCursors] that panics
// between runs. It does not end the process, as a panic in a handler of net/http
// does not.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // of the goroutine, as [runtime/debug.Stack] writes it
}

// safely calls f, whose panic is its error.
func safely(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	return f()
}

// apart calls f safely in a goroutine of its own, of which the stack is given
// back: the one that calls has a small stack to wait for long with. What ends
// that goroutine ends this one.
func (m *member) apart(f func() error) error {
	err := errGoexit
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer m.waits.Leave(m.waits.Enter())
		err = safely(f)
	}()
	<-ended
	if err == errGoexit {
		runtime.Goexit()
	}
	return err
}

// isPanic reports whether something has panicked.
func isPanic(err error) bool {
	var panicked *PanicError
	return errors.As(err, &panicked)
}

// say logs. A logger that panics says nothing.
func (m *member) say(line func(*slog.Logger)) {
	m.fleet.mu.Lock()
	log := m.log
	m.fleet.mu.Unlock()
	_ = safely(func() error { line(log); return nil })
}

func panicked(value any) error {
	var handler *realtime.HandlerPanic
	var callback *realtime.CallbackPanic
	switch err, _ := value.(error); {
	case errors.As(err, &handler):
		return &PanicError{handler.Value, handler.Stack}
	case errors.As(err, &callback):
		return &PanicError{callback.Value, callback.Stack}
	}
	return &PanicError{value, debug.Stack()}
}

// Error has the value and the stack in it.
func (e *PanicError) Error() string { return fmt.Sprintf("fleet: panic: %v\n\n%s", e.Value, e.Stack) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
