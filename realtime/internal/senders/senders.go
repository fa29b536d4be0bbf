// Package senders knows which user publishes under which public id.
package senders

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/lately"
)

const (
	// Max is how many public ids are known at a time. A portal has as many as
	// users, and each of them another one every 12 hours.
	Max = 100_000
	// maxID is how many bytes a public id may have. They have 32.
	maxID = 128
)

// A Book is a list of public ids and their users. Where there are too many, it
// forgets those that it was told of the longest ago. The zero Book is empty.
type Book struct {
	mu    sync.Mutex
	users lately.Map[int64] // by public id
}

// User is whose a public id is, 0 if that is not known.
func (b *Book) User(publicID string) int64 {
	id := normal(publicID)
	b.mu.Lock()
	defer b.mu.Unlock()
	user, _ := b.users.Get(id)
	return user
}

// Add takes the public channels of users, by user id.
func (b *Book) Add(channels map[int64]b24pull.PublicChannel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for user, c := range channels {
		b.add(string(c.PublicID), user)
	}
}

// Learn takes what a config says: the users' public channels in it, and whose
// its own private channel is. The error is of the former.
func (b *Book) Learn(cfg *b24pull.Config) error {
	if cfg == nil {
		return nil
	}
	channels, err := cfg.PublicChannels()
	b.Add(channels)
	if c := cfg.Channels.Private; c != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.add(publicIDOf(c), subjectOf(string(cfg.JWT)))
	}
	return err
}

func (b *Book) add(publicID string, user int64) {
	id := normal(publicID)
	if id == "" || len(id) > maxID || user <= 0 {
		return
	}
	b.users.Put(id, user, Max)
}

// normal is a public id as frames name it, without its signature.
func normal(publicID string) string {
	id, _, _ := strings.Cut(publicID, ".")
	return strings.ToLower(id)
}

// publicIDOf is the public id of a channel to subscribe to, whose id may be
// private:public.signature.
func publicIDOf(c *b24pull.Channel) string {
	if c.PublicID != "" {
		return string(c.PublicID)
	}
	_, public, _ := strings.Cut(string(c.ID), ":")
	return public
}

// subjectOf is the user that a jwt was given for, 0 if it does not say. It
// comes with the portal's config: nobody else's word is believed here.
func subjectOf(jwt string) int64 {
	_, rest, _ := strings.Cut(jwt, ".")
	payload, _, _ := strings.Cut(rest, ".")
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil {
		return 0
	}
	var claims struct {
		Sub json.RawMessage // the user's id, in a string
	}
	if json.Unmarshal(data, &claims) != nil {
		return 0
	}
	user, err := strconv.ParseInt(strings.Trim(string(claims.Sub), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return user
}
