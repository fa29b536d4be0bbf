package soak

import "context"

const (
	// backlogMessage is about how long a message of the backlog is.
	backlogMessage = 10_000
	// backlogRate is how many are published a second: twice as many as are
	// handled.
	backlogRate = 1000
)

// backlogged has a consumer with a slow handler face a backlog: half of it is
// published while it is away, the other half when it is back, faster than it
// can handle it.
func (s *soak) backlogged(ctx context.Context, stopped <-chan struct{}) error {
	if err := s.begin(ctx, stopped); err != nil {
		return err
	}
	defer s.cutting()()
	if err := s.give(ctx, stopped, 1); err != nil {
		return err
	}
	if err := wait(ctx, stopped, s.saved); err != nil {
		return err
	}
	if err := s.kill(); err != nil {
		return err
	}
	messages := int(s.backlog / backlogMessage)
	if err := s.give(ctx, stopped, messages/2); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.give(ctx, stopped, messages-messages/2); err != nil {
		return err
	}
	return s.settle(ctx)
}

// give publishes so many messages of the backlog.
func (s *soak) give(ctx context.Context, stopped <-chan struct{}, messages int) error {
	return s.publish(ctx, stopped, load{messages: messages, rate: backlogRate, burst: 10, transient: s.transient, padding: backlogMessage})
}
