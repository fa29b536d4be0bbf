package soak

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// testPortal is a portal in this process.
func testPortal(o *options) (*server, error) {
	opts := []pulltest.Option{pulltest.WithVersion(o.version)}
	if o.hostile {
		opts = append(opts, pulltest.WithHostileTiming())
	}
	opts = append(opts, pulltest.WithProcesses(o.subscribers, o.publishers)) // check knows how many a hostile portal has
	if o.disorder > 0 {
		opts = append(opts, pulltest.WithDisorder(o.disorder))
	}
	if o.pings > 0 {
		opts = append(opts, pulltest.WithPingInterval(o.pings))
	}
	portal := pulltest.NewPortal(opts...)
	if o.falsely > 0 {
		// As a portal in use has it. Of a history that is empty at the beginning,
		// and then falsely answered, version 5 tells no new message from an old
		// one: its messages bear no time. That is a gap, not a loss to look for.
		portal.Emit(pulltest.Message{Command: "before"})
	}
	config := portal.ConfigJSON()
	cfg := new(b24pull.Config)
	if err := json.Unmarshal(config, cfg); err != nil {
		portal.Close()
		return nil, err
	}
	private := privateID(string(cfg.Channels.Private.ID))
	return &server{
		name:    fmt.Sprintf("a portal in this process, version %d, %d subscribers, %d publishers", o.version, o.subscribers, o.publishers),
		config:  config,
		publish: slices.Repeat([]string{portal.PushURL() + "/pub/"}, o.publishers),
		channel: private,
		body:    numberedBody(o.version, private),
		roots:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: portal.Certificate().Raw}),
		deceive: func(ctx context.Context) { deceive(ctx, portal) },
		close:   portal.Close,
	}, nil
}

// deceive has a false web server stand in the place of long polling until ctx
// is done, with one answer after the other.
func deceive(ctx context.Context, portal *pulltest.Portal) {
	defer portal.Behave(pulltest.Polls)
	faults := []pulltest.Fault{pulltest.WebPage, pulltest.InstantNotModified, pulltest.LoginForm, pulltest.EmptyAnswer, pulltest.ForeignJSON}
	for n := 0; ctx.Err() == nil; n++ {
		portal.Misbehave(pulltest.Polls, faults[n%len(faults)])
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// privateID is the first part of private[:public].signature.
func privateID(id string) string {
	if i := strings.IndexAny(id, ":."); i >= 0 {
		return id[:i]
	}
	return id
}
