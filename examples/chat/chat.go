package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/publish"
)

// The commands of the chat, and what comes with them.
const (
	say    = "chat.say"
	typing = "chat.typing"
)

type said struct {
	Text string `json:"text,omitempty"`
}

const (
	kept     = time.Hour       // what is said waits so long for who is offline
	interval = 3 * time.Second // between questions who is online
)

// chat is a user who talks to others.
type chat struct {
	client    *b24pull.Client
	sub       *realtime.Subscription
	publisher *publish.Publisher
	others    []int64
	print     func(line string)
	online    map[int64]bool
	sent      atomic.Int64 // messages that the push server has accepted
	heard     atomic.Int64 // messages of others
}

func newChat(client *b24pull.Client, others []int64, print func(string)) (*chat, error) {
	// Anybody who uses the application can send what does not decode.
	skip := func(err *realtime.HandlerError, _ int) realtime.ErrorAction {
		slog.Warn("message skipped", "err", err)
		return realtime.SkipMessage()
	}
	sub, err := realtime.Subscribe(client, realtime.WithErrorPolicy(skip))
	if err != nil {
		return nil, err
	}
	publisher, err := publish.New(client, publish.WithSubscription(sub))
	if err != nil {
		return nil, err
	}
	return &chat{client: client, sub: sub, publisher: publisher, others: others, print: print, online: make(map[int64]bool)}, nil
}

// run shows what the others do until ctx is done: what they send at once, who
// of them is online when all who are to talk have begun.
func (c *chat) run(ctx context.Context, begun <-chan struct{}) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer c.publisher.Close()
	var failed error
	c.introduce(ctx)
	watching.Go(func() {
		for pause(ctx, time.Hour) {
			c.introduce(ctx)
		}
	})
	watching.Go(func() {
		select {
		case <-begun:
			defer end()
			failed = c.watch(ctx)
		case <-ctx.Done():
		}
	})
	err := c.sub.Run(ctx, c.handlers())
	end()
	watching.Wait()
	for _, err := range []error{failed, err} {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// handlers are for what clients send. The application's own events, which the
// portal sends, would be registered with the mux itself.
func (c *chat) handlers() realtime.Handler {
	mux := realtime.NewMux()
	clients := mux.FromClients()
	realtime.On(clients, "application", say, func(_ context.Context, s said, m realtime.Message) error {
		// %q leaves out what plays tricks on a terminal
		c.print(fmt.Sprintf("%s: %q", name(m.Sender), s.Text))
		c.heard.Add(1)
		return nil
	})
	realtime.On(clients, "application", typing, func(_ context.Context, _ said, m realtime.Message) error {
		c.print(name(m.Sender) + " is typing")
		c.heard.Add(1)
		return nil
	})
	return mux
}

// name is who has sent a message. The push server vouches for the channel that
// it came from, nobody for what stands in it.
func name(s realtime.Sender) string {
	if s.UserID == 0 {
		return "somebody"
	}
	return fmt.Sprintf("user %d", s.UserID)
}

// send tells the others something. Who is not connected gets what was said
// later, and never that somebody was typing.
func (c *chat) send(ctx context.Context, command, text string) {
	m := publish.Message{Users: c.others, Module: "application", Command: command, Params: said{text}}
	if command == say {
		m.Expiry = kept
	}
	err := c.publisher.Publish(ctx, m)
	switch {
	case err == nil:
		c.sent.Add(1)
	case ctx.Err() != nil:
	case b24pull.ClassOf(err) == b24pull.ClassUnavailable:
		c.print(fmt.Sprintf("perhaps not sent: %v", err))
	default:
		c.print(fmt.Sprintf("not sent: %v", err))
	}
}

// watch shows who of the others comes and goes.
func (c *chat) watch(ctx context.Context) error {
	for change, err := range c.publisher.WatchPresence(ctx, c.others...) {
		switch {
		case errors.Is(err, publish.ErrUnavailable):
			return c.ask(ctx) // push servers tell it from version 5 on
		case err != nil:
			return err
		}
		c.see(change.UserID, change.Online)
	}
	return nil
}

// introduce has the subscription know by which channel it hears whom. The
// channels are replaced after 12 hours.
func (c *chat) introduce(ctx context.Context) {
	channels, err := c.client.ListPublicChannels(ctx, c.others, true)
	if err != nil {
		slog.Warn("who sends what is not known", "err", err)
		return
	}
	c.sub.AddSenders(channels)
}

// ask asks who is online, time and again.
func (c *chat) ask(ctx context.Context) error {
	for {
		online, err := c.publisher.Online(ctx, c.others...)
		switch {
		case err == nil:
			for _, user := range c.others {
				c.see(user, online[user].Online)
			}
		case errors.Is(err, publish.ErrUnavailable):
			return err
		}
		if !pause(ctx, interval) {
			return nil
		}
	}
}

// pause waits, and reports false as soon as ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// see shows whether a user is online, if that is news.
func (c *chat) see(user int64, online bool) {
	was, known := c.online[user]
	c.online[user] = online
	switch {
	case known && was == online:
	case online:
		c.print(fmt.Sprintf("user %d is online", user))
	default:
		c.print(fmt.Sprintf("user %d is offline", user))
	}
}
