package storetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// patience is how long a store is waited for.
const patience = time.Minute

// Tokens tries out a store of tokens. Each check is a test below t, with a name
// of its own.
func Tokens(t *testing.T, open func(t *testing.T) oauth.TokenStore) {
	t.Helper()
	for _, c := range tokenChecks {
		t.Run(c.name, func(t *testing.T) {
			c.run(&bench{TB: t, open: func() oauth.TokenStore { return open(t) }})
		})
	}
}

type tokenCheck struct {
	name string
	run  func(*bench)
}

var tokenChecks = []tokenCheck{
	{"nothing", checkNothing},
	{"round trip", checkRoundTrip},
	{"replace", checkReplace},
	{"delete", checkDelete},
	{"copies", checkCopies},
	{"keys", checkKeys},
	{"long keys", checkLongKeys},
	{"exclusion", checkExclusion},
	{"other keys", checkOtherKeys},
	{"context", checkContext},
	{"unlock", checkUnlock},
	{"locks in locks", checkNested},
	{"load while saved", checkLoads},
	{"turns", checkTurns},
	{"secrets", checkSecrets},
}

// A bench is where a store is tried out.
type bench struct {
	testing.TB
	open func() oauth.TokenStore
}

// key is one that nobody has used.
func (b *bench) key() string { return "storetest" + rand.Text() }

// ctx ends when a store has been waited for for long enough.
func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

// lock locks a key, or ends the check.
func (b *bench) lock(ctx context.Context, store oauth.TokenStore, key string) oauth.LockedToken {
	b.Helper()
	held, err := store.Lock(ctx, key)
	if err != nil {
		b.Fatalf("Lock: %v", err)
	}
	if held == nil {
		b.Fatalf("Lock returned neither a lock nor an error")
	}
	return held
}

// put stores a token, or ends the check.
func (b *bench) put(store oauth.TokenStore, key string, t *oauth.Token) {
	b.Helper()
	ctx := b.ctx()
	held := b.lock(ctx, store, key)
	defer held.Unlock()
	if err := held.Save(ctx, t); err != nil {
		b.Fatalf("Save: %v", err)
	}
}

// want looks whether a token is what Load returned. It shows no secret.
func (b *bench) want(what string, got *oauth.Token, err error, want *oauth.Token) {
	b.Helper()
	switch {
	case err != nil:
		b.Errorf("%s: %v", what, err)
	case got == nil:
		b.Errorf("%s: neither a token nor an error", what)
	case string(got.Raw()) != string(want.Raw()):
		b.Errorf("%s: another token than was saved: %v", what, different(got, want))
	}
}

// wantNone looks whether there is no token.
func (b *bench) wantNone(what string, got *oauth.Token, err error) {
	b.Helper()
	if !errors.Is(err, b24pull.ErrNoToken) || got != nil {
		b.Errorf("%s: token %v, error %v; want none and b24pull.ErrNoToken", what, got != nil, err)
	}
}

// different are the fields that differ, by the names that Raw has for them.
func different(got, want *oauth.Token) (names []string) {
	var g, w map[string]any
	if json.Unmarshal(got.Raw(), &g) != nil || json.Unmarshal(want.Raw(), &w) != nil {
		return []string{"not JSON"}
	}
	for name := range w {
		if g[name] != w[name] {
			names = append(names, name)
		}
		delete(g, name)
	}
	for name := range g {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const mark = "s3cr3t" // of the secrets here

// token has everything that one can have.
func token(name string) *oauth.Token {
	t := new(oauth.Token)
	if err := t.UnmarshalJSON([]byte(`{"access_token":"` + mark + `-access-` + name + `","refresh_token":"` + mark + `-refresh-` + name + `",
		"expires":4070908800,"portal":"https://portal.example","server_endpoint":"https://oauth.example/rest/","member_id":"member1",
		"user_id":9007199254740991,"scope":"crm,pull","status":"L","application_token":"` + mark + `-app","application_token_kept":true}`)); err != nil {
		panic(err)
	}
	return t
}

func secrets(t *oauth.Token) []string {
	return []string{t.AccessToken, t.RefreshToken, string(t.ApplicationToken)}
}

// checkNothing: what is not there is b24pull.ErrNoToken, and can be deleted. A
// lock is no token.
func checkNothing(b *bench) {
	store, key, ctx := b.open(), b.key(), b.ctx()
	got, err := store.Load(ctx, key)
	b.wantNone("Load before anything", got, err)
	held := b.lock(ctx, store, key)
	defer held.Unlock()
	got, err = held.Load(ctx)
	b.wantNone("Load under the lock", got, err)
	if err := held.Delete(ctx); err != nil {
		b.Errorf("Delete of nothing: %v", err)
	}
	got, err = store.Load(ctx, key)
	b.wantNone("Load while the key is locked", got, err)
}

// checkRoundTrip: what was saved is loaded, by whoever opens the store, with all
// that Token.Raw has.
func checkRoundTrip(b *bench) {
	plain, revoked, bare := token("plain"), token("revoked"), token("bare")
	revoked.Revoked = true
	bare.Scope, bare.UserID, bare.ApplicationToken, bare.Portal = nil, 0, "", ""
	odd := token("odd")
	odd.MemberID, odd.Status = "quote ' and \" and \\ and ; -- and ?1 $1 %s", "zero \x00, ä, 日本語, \U0001f511"
	for name, t := range map[string]*oauth.Token{"a token": plain, "a revoked token": revoked, "a bare token": bare, "odd strings": odd} {
		store, key, ctx := b.open(), b.key(), b.ctx()
		b.put(store, key, t)
		got, err := store.Load(ctx, key)
		b.want(name, got, err, t)
		got, err = b.open().Load(ctx, key)
		b.want(name+", opened again", got, err, t)
		held := b.lock(ctx, store, key)
		got, err = held.Load(ctx)
		held.Unlock()
		b.want(name+", under the lock", got, err, t)
	}
}

// checkReplace: a second token takes the place of the first, also of a longer
// one, and what is loaded under the lock is what was saved under it.
func checkReplace(b *bench) {
	store, other, key, ctx := b.open(), b.open(), b.key(), b.ctx()
	first, second, third := token(strings.Repeat("long", 500)), token("second"), token("third")
	b.put(store, key, first)
	b.put(other, key, second)
	got, err := store.Load(ctx, key)
	b.want("after the second", got, err, second)
	held := b.lock(ctx, store, key)
	defer held.Unlock()
	for _, t := range []*oauth.Token{third, first, first} {
		if err := held.Save(ctx, t); err != nil {
			b.Errorf("Save: %v", err)
		}
		got, err = held.Load(ctx)
		b.want("under the lock", got, err, t)
		got, err = other.Load(ctx, key)
		b.want("elsewhere, once Save has returned", got, err, t)
	}
}

// checkDelete: a token that was deleted is not there, and another can come.
func checkDelete(b *bench) {
	store, other, key, neighbour, ctx := b.open(), b.open(), b.key(), b.key(), b.ctx()
	b.put(store, neighbour, token("neighbour"))
	for _, t := range []*oauth.Token{token("first"), token("second")} {
		b.put(store, key, t)
		held := b.lock(ctx, store, key)
		got, err := held.Load(ctx)
		b.want("before Delete", got, err, t)
		if err := held.Delete(ctx); err != nil {
			b.Errorf("Delete: %v", err)
		}
		got, err = held.Load(ctx)
		b.wantNone("after Delete, under the lock", got, err)
		held.Unlock()
		got, err = other.Load(ctx, key)
		b.wantNone("after Delete, elsewhere", got, err)
	}
	got, err := store.Load(ctx, neighbour)
	b.want("another key's", got, err, token("neighbour"))
}

// checkCopies: what a caller changes is his own.
func checkCopies(b *bench) {
	store, key, ctx := b.open(), b.key(), b.ctx()
	b.put(store, key, token("kept"))
	held := b.lock(ctx, store, key)
	defer held.Unlock()
	for range 2 {
		for what, load := range map[string]func() (*oauth.Token, error){
			"Load":                func() (*oauth.Token, error) { return store.Load(ctx, key) },
			"Load under the lock": func() (*oauth.Token, error) { return held.Load(ctx) },
		} {
			got, err := load()
			b.want(what+" after another's token was changed", got, err, token("kept"))
			if got != nil {
				got.AccessToken, got.Revoked = "changed", true
				for i := range got.Scope {
					got.Scope[i] = "changed"
				}
			}
		}
	}
}

// checkSecrets: an error shows no token, also one of a call whose context has
// ended; and whatever such a call has done, it has done it whole.
func checkSecrets(b *bench) {
	store, key := b.open(), b.key()
	before, after := token("before"), token("after")
	b.put(store, key, before)
	held := b.lock(b.ctx(), store, key)
	ended, cancel := context.WithCancel(b.Context())
	cancel()
	saved := held.Save(ended, after)
	_, loaded := held.Load(ended)
	held.Unlock()
	late := held.Save(b.ctx(), after)
	for what, err := range map[string]error{"Save": saved, "Load": loaded, "Save after Unlock": late} {
		for _, secret := range slices.Concat(secrets(before), secrets(after)) {
			if err != nil && strings.Contains(err.Error(), secret) {
				b.Errorf("the error of %s shows a secret of the token", what)
			}
		}
	}
	got, err := store.Load(b.ctx(), key)
	if err != nil || got == nil {
		b.Fatalf("Load: %v", err)
	}
	isAfter := string(got.Raw()) == string(after.Raw())
	if !isAfter && string(got.Raw()) != string(before.Raw()) {
		b.Errorf("a Save whose context had ended has left another token")
	}
	if saved == nil && !isAfter {
		b.Errorf("a Save whose context had ended returned nil and has saved nothing")
	}
}
