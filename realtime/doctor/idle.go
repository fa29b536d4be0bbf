package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// leaveIdle leaves a websocket alone, but for the pongs that a server wants, and
// waits whether something ends it.
func (x *examination) leaveIdle(ctx context.Context) Result {
	began := time.Now()
	f := x.idle(ctx)
	return Result{Name: nameIdle, Status: f.status, Detail: f.detail, Advice: f.advice, Duration: time.Since(began)}
}

func (x *examination) idle(ctx context.Context) finding {
	d := x.options.idle
	switch {
	case d <= 0:
		return skip("not asked for: WithIdle, or -idle 5m")
	case ctx.Err() != nil:
		return skip("%s", over(ctx))
	case x.server == nil || x.server.socket.URL == "":
		return skip("there is no websocket to leave alone")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := &quietness{last: time.Now()}
	late := time.AfterFunc(patience, cancel)
	c, err := x.socket(new(heads)).Open(ctx, x.server.socket, quiet)
	if err != nil || !late.Stop() {
		return skip("there is no websocket to leave alone")
	}
	ended := make(chan error, 1)
	go func() { ended <- quiet.watch(c) }()
	enough := time.NewTimer(d)
	defer enough.Stop()
	select {
	case <-enough.C:
		c.Close(transport.CloseNormal)
		cancel()
		<-ended
		return pass("no cut in %s", d)
	case <-ctx.Done():
		<-ended
		return skip("%s", over(ctx))
	case err := <-ended:
		return quiet.cut(err)
	}
}

// quietness is how long a websocket has been silent.
type quietness struct {
	ponged
	last time.Time
}

// watch reads until the end.
func (q *quietness) watch(c transport.Conn) error {
	for {
		frame, err := c.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, frame)
			q.last = time.Now()
		}
		if err != nil {
			return err
		}
	}
}

// Pinged and Heartbeat are called by Next.
func (q *quietness) Pinged()    { q.last = time.Now() }
func (q *quietness) Heartbeat() { q.last = time.Now() }

// cut says after which silence a websocket was cut.
func (q *quietness) cut(err error) finding {
	f := failed(err)
	silence := time.Since(q.last)
	var closed *transport.CloseError
	if errors.As(err, &closed) {
		return finding{Warn, fmt.Sprintf("after %s of silence: %s", short(silence), f.detail), f.advice}
	}
	return finding{Warn, fmt.Sprintf("cut after %s of silence: %s", short(silence), f.detail),
		fmt.Sprintf("something on the way ends what is idle: raise its limit (nginx: proxy_read_timeout, 60s as it comes), or give realtime.WithPingInterval(%s); a subscription finds out by itself after three cuts", (silence * 2 / 3).Round(time.Second))}
}
