package main

import (
	"context"
	"errors"
	"fmt"
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
	notice   = time.Minute     // between complaints that nobody answers them
	patience = 5 * time.Second // for who sends what, before connecting
)

// chat is a user who talks to others.
type chat struct {
	client    *b24pull.Client
	sub       *realtime.Subscription
	publisher *publish.Publisher
	others    []int64
	print     func(line string)
	online    map[int64]bool
	broken    bool         // the connection is, and that was shown
	sent      atomic.Int64 // messages that the push server has accepted
	heard     atomic.Int64 // messages of others
}

func newChat(client *b24pull.Client, others []int64, print func(string)) (*chat, error) {
	c := &chat{client: client, others: others, print: print, online: make(map[int64]bool)}
	// Anybody who uses the application can send what does not decode.
	skip := func(err *realtime.HandlerError, _ int) realtime.ErrorAction {
		c.print(fmt.Sprintf("message skipped: %v", err))
		return realtime.SkipMessage()
	}
	var err error
	// A service takes WithLogger, which tells more.
	c.sub, err = realtime.Subscribe(client, realtime.WithErrorPolicy(skip), realtime.WithObserver(c.observe))
	if err != nil {
		return nil, err
	}
	c.publisher, err = publish.New(client, publish.WithSubscription(c.sub))
	return c, err
}

// observe shows why there is no connection, and that there is one again. The
// subscription tries by itself.
func (c *chat) observe(e realtime.Event) {
	change, ok := e.(realtime.StateChange)
	switch {
	case !ok:
	case change.To == realtime.StateLive && c.broken:
		c.broken = false
		c.print("the connection is up")
	case change.To == realtime.StateWaiting && change.Cause != nil:
		c.broken = true
		c.print(fmt.Sprintf("connecting again in %v: %v", change.Delay.Round(100*time.Millisecond), change.Cause))
	}
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
	known := c.introduce(ctx)
	watching.Go(func() {
		for {
			wait := time.Hour // channels are replaced after 12
			if !known {
				wait = notice
			}
			if !pause(ctx, wait) {
				return
			}
			known = c.introduce(ctx)
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

// introduce has the subscription know by which channel it hears whom, and
// reports whether it does.
func (c *chat) introduce(ctx context.Context) bool {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	channels, err := c.client.ListPublicChannels(within, c.others, b24pull.ApplicationChannels)
	switch {
	case err == nil:
		c.sub.AddSenders(channels)
	case ctx.Err() == nil:
		c.print(fmt.Sprintf("who sends what is not known: %v", err))
	}
	return err == nil
}

// ask asks who is online, time and again.
func (c *chat) ask(ctx context.Context) error {
	for told := (time.Time{}); ; {
		online, err := c.publisher.Online(ctx, c.others...)
		switch {
		case err == nil:
			for _, user := range c.others {
				c.see(user, online[user].Online)
			}
		case errors.Is(err, publish.ErrUnavailable):
			return err
		case ctx.Err() == nil && time.Since(told) >= notice:
			told = time.Now()
			c.print(fmt.Sprintf("who is online is not known: %v", err))
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
