package publish

import (
	"context"
	"errors"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

func (a *account) lookRPC(*Publisher, redact.Redactor) error { return errors.New("todo") }

func (p *Publisher) publishByCall(context.Context, *account, []checked) error {
	return errors.New("todo")
}

func (p *Publisher) lastSeen(context.Context, *account, []int64) (map[int64]Presence, error) {
	return nil, errors.New("todo")
}

func (p *Publisher) heard(map[int64]b24pull.PublicChannel) {}
