package main

import "context"

// backlogMessage is about how long a message of the backlog is.
const backlogMessage = 10_000

// backlogged has a consumer with a slow handler face a backlog: half of it is published while it is away, the other
// half when it is back, faster than it can handle it.
func (s *soak) backlogged(ctx context.Context, stopped <-chan struct{}) error {
	if err := s.begin(ctx, stopped); err != nil {
		return err
	}
	defer s.cutting()()
	give := func(messages int) error {
		err := publish(ctx, stopped, s.publishers, load{messages: messages, transient: s.transient, padding: backlogMessage})
		if err != nil {
			s.fail(err)
		}
		return err
	}
	if err := give(1); err != nil {
		return err
	}
	if err := wait(ctx, stopped, s.saved); err != nil {
		return err
	}
	messages := int(s.backlog / backlogMessage)
	if err := s.kill(); err != nil {
		return err
	}
	if err := give(messages / 2); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := give(messages - messages/2); err != nil {
		return err
	}
	return s.settle(ctx)
}
