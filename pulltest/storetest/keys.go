package storetest

import (
	"fmt"
	"strings"

	"github.com/b24pull/b24pull/oauth"
)

// checkKeys: keys that differ in anything are different ones, and those that an
// application needs are taken. Others may be refused.
func checkKeys(b *bench) {
	base := strings.ToLower(b.key())
	needed := []string{base, base + "a", strings.ToUpper(base), base + "+", "callbacks+" + base, base + "/67", base + "-67", base + "_67", base + ".67", base + ":67", base + "@"}
	odd := []string{base + " ", " " + base, base + ".", "../" + base, "..", ".", base + "%2b", base + "%2B", base + "%", base + "'; --", base + `"`, base + `\`,
		base + "\n", base + "\x00", base + "\x00a", base + "\xff", base + "ä", base + "a\u0308", base + "*", base + "?", base + "$1", base + "%s", "CON", ""}
	b.keepApart(needed, odd)
}

// checkLongKeys: a key of a hundred bytes is taken, and none is cut off.
func checkLongKeys(b *bench) {
	base := strings.ToLower(b.key())
	hundred := base + strings.Repeat("x", 100-len(base))
	needed := []string{hundred, hundred[:99] + "y", hundred[:99]}
	var long []string
	for _, size := range []int{127, 128, 191, 192, 200, 255, 256, 1000, 1 << 16} {
		key := base + strings.Repeat("x", size-len(base))
		long = append(long, key, key[:size-1]+"y")
	}
	b.keepApart(needed, long)
}

// keepApart stores a token under each key, or learns that the store does not
// take the key.
func (b *bench) keepApart(needed, optional []string) {
	b.Helper()
	store, other, ctx := b.open(), b.open(), b.ctx()
	kept := make(map[string]*oauth.Token)
	for i, key := range append(append([]string(nil), needed...), optional...) {
		t := token(fmt.Sprint("key", i))
		held, err := store.Lock(ctx, key)
		if err == nil {
			err = held.Save(ctx, t)
			held.Unlock()
		}
		switch {
		case err == nil:
			kept[key] = t
		case i < len(needed):
			b.Errorf("the key %.120q is refused: %v", key, err)
		}
	}
	b.Cleanup(func() {
		for key := range kept {
			if held, err := store.Lock(ctx, key); err == nil {
				held.Delete(ctx)
				held.Unlock()
			}
		}
	})
	for key, t := range kept {
		got, err := other.Load(ctx, key)
		b.want(fmt.Sprintf("the key %.120q of %d bytes", key, len(key)), got, err, t)
	}
}
