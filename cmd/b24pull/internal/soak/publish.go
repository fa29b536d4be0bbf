package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keepFor is how long the server is asked to keep a message.
const keepFor = time.Hour

// load is what to publish.
type load struct {
	messages  int     // that the server is to keep
	rate      float64 // of these a second
	burst     int     // of these at once
	transient float64 // the share of all messages that the server is not to keep
	padding   int     // bytes to make each longer by
}

// publisher sends messages to one trusted endpoint, one after the other.
type publisher struct {
	number int
	url    string // with the channel
	client *http.Client
	body   func(n, padding int) []byte
	tally  *tally
}

// newPublishers makes a publisher for each endpoint.
func newPublishers(s *server, t *tally) ([]*publisher, error) {
	var all []*publisher
	for i, endpoint := range s.publish {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, err
		}
		query := u.Query()
		query.Set("CHANNEL_ID", s.channel)
		u.RawQuery = query.Encode()
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxConnsPerHost = 1 // a second connection could overtake
		transport.TLSClientConfig = s.tls()
		all = append(all, &publisher{i, u.String(), &http.Client{Transport: transport, Timeout: time.Minute}, s.body, t})
	}
	return all, nil
}

// outgoing is a message to be sent.
type outgoing struct {
	kept    bool
	padding int
}

// publish sends a load, dealt out to the publishers in turn. When stopped is
// done it ends early; what is begun is sent all the same.
func publish(ctx context.Context, stopped <-chan struct{}, all []*publisher, l load) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var sending sync.WaitGroup
	queues := make([]chan outgoing, len(all))
	for i, p := range all {
		queues[i] = make(chan outgoing, 1024)
		sending.Go(func() {
			for m := range queues[i] {
				if err := p.send(ctx, m); err != nil {
					fail(fmt.Errorf("publishing: %w", err))
					return
				}
			}
		})
	}
	l.deal(ctx, stopped, queues)
	for _, q := range queues {
		close(q)
	}
	sending.Wait()
	return context.Cause(ctx)
}

// deal hands out burst by burst when its time has come.
func (l load) deal(ctx context.Context, stopped <-chan struct{}, queues []chan outgoing) {
	start, turn := time.Now(), 0
	hand := func(kept bool) bool {
		turn++
		select {
		case queues[turn%len(queues)] <- outgoing{kept, l.padding}:
			return true
		case <-ctx.Done():
		case <-stopped:
		}
		return false
	}
	for n := 0; n < l.messages; n++ {
		if n%l.burst == 0 {
			due := start.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
			case <-stopped:
			}
		}
		for rand.Float64() < l.transient {
			if !hand(false) {
				return
			}
		}
		if !hand(true) {
			return
		}
	}
}

func (p *publisher) send(ctx context.Context, m outgoing) error {
	n := p.tally.published(p.number, m.kept)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(p.body(n, m.padding)))
	if err != nil {
		return err
	}
	expiry := 0
	if m.kept {
		expiry = int(keepFor / time.Second)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Message-Expiry", strconv.Itoa(expiry))
	answer, err := p.client.Do(req)
	if err != nil {
		if hides := (*url.Error)(nil); errors.As(err, &hides) {
			err = hides.Err // without the channel
		}
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("the push server answered %s", answer.Status)
	}
	return err
}

func (p *publisher) close() { p.client.CloseIdleConnections() }

const (
	module  = "application"
	command = "soak.tick"
)

// numbered are the params of a message.
type numbered struct {
	N       int    `json:"n"`
	Padding string `json:"padding,omitempty"`
}

// numberedBody is the body of a message as a portal would send it. Version 1
// names the channel there.
func numberedBody(version int, channel string) func(n, padding int) []byte {
	extra := map[string]any{"server_name": "soak"}
	if version == 1 {
		extra["channel"] = channel
	}
	return func(n, padding int) []byte {
		body, _ := json.Marshal(map[string]any{ // there is nothing in it that could fail
			"module_id": module, "command": command, "extra": extra,
			"params": numbered{n, strings.Repeat("x", padding)},
		})
		return body
	}
}
