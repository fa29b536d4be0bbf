package senders

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
)

func public(n int) string { return fmt.Sprintf("%032x", n) }

func TestSenders_Add(t *testing.T) {
	var b Book
	b.Add(map[int64]b24pull.PublicChannel{
		2:  {PublicID: b24pull.Secret(public(2)), Signature: "s3cr3t"},
		3:  {PublicID: b24pull.Secret(strings.ToUpper(public(0xabc)) + ".s3cr3t")},
		4:  {},
		0:  {PublicID: b24pull.Secret(public(5))},
		-1: {PublicID: b24pull.Secret(public(6))},
		7:  {PublicID: b24pull.Secret(strings.Repeat("7", 1<<20))},
	})
	for id, want := range map[string]int64{public(2): 2, public(0xabc): 3, strings.ToUpper(public(2)): 2, "": 0, public(5): 0, public(6): 0, public(9): 0, strings.Repeat("7", 1<<20): 0} {
		if got := b.User(id); got != want {
			t.Errorf("%.40q: user %d, want %d", id, got, want)
		}
	}
	b.Add(map[int64]b24pull.PublicChannel{8: {PublicID: b24pull.Secret(public(2))}})
	if got := b.User(public(2)); got != 8 {
		t.Errorf("what was said last does not count: user %d", got)
	}
}

// TestSenders_Bound: however many there are, so many are kept, and those that
// were told last.
func TestSenders_Bound(t *testing.T) {
	var b Book
	all := int64(3 * Max)
	if testing.Short() {
		all = Max + Max/10
	}
	for user := range all + 1 {
		b.Add(map[int64]b24pull.PublicChannel{user: {PublicID: b24pull.Secret(public(int(user)))}})
		if n := b.users.Len(); n > Max {
			t.Fatalf("%d are kept", n)
		}
		if user%100 == 0 {
			b.Add(map[int64]b24pull.PublicChannel{1: {PublicID: b24pull.Secret(public(1))}})
		}
	}
	for user := all - Max/2 + 2; user <= all; user++ {
		if got := b.User(public(int(user))); got != user {
			t.Fatalf("user %d has become %d", user, got)
		}
	}
	if b.User(public(1)) != 1 || b.User(public(2)) != 0 {
		t.Errorf("told again and again: user %d; told once, long ago: user %d", b.User(public(1)), b.User(public(2)))
	}
}

// TestSenders_OwnChannel: whose the private channel of a config is, a jwt says.
func TestSenders_OwnChannel(t *testing.T) {
	jwt := func(claims string) b24pull.Secret {
		return b24pull.Secret("head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s3cr3t")
	}
	own := public(17)
	tests := map[string]struct {
		channel *b24pull.Channel
		jwt     b24pull.Secret
		want    int64
	}{
		"a public id":          {&b24pull.Channel{ID: "aa", PublicID: b24pull.Secret(own + ".bb")}, jwt(`{"sub":"12"}`), 12},
		"within the id":        {&b24pull.Channel{ID: b24pull.Secret("aa:" + own + ".bb")}, jwt(`{"sub":12}`), 12},
		"no jwt":               {&b24pull.Channel{PublicID: b24pull.Secret(own)}, "", 0},
		"a jwt that is none":   {&b24pull.Channel{PublicID: b24pull.Secret(own)}, "a.b.c", 0},
		"of nobody":            {&b24pull.Channel{PublicID: b24pull.Secret(own)}, jwt(`{}`), 0},
		"of somebody in words": {&b24pull.Channel{PublicID: b24pull.Secret(own)}, jwt(`{"sub":"admin"}`), 0},
		"no private channel":   {nil, jwt(`{"sub":"12"}`), 0},
		"without a public id":  {&b24pull.Channel{ID: "aa.bb"}, jwt(`{"sub":"12"}`), 0},
	}
	for name, tt := range tests {
		var b Book
		if err := b.Learn(&b24pull.Config{JWT: tt.jwt, Channels: b24pull.Channels{Private: tt.channel}}); err != nil {
			t.Error(err)
		}
		if got := b.User(own); got != tt.want {
			t.Errorf("%s: user %d, want %d", name, got, tt.want)
		}
	}
	if err := new(Book).Learn(nil); err != nil {
		t.Error(err)
	}
}
