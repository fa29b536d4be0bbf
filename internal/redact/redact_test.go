package redact

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// kinds are the alphabets and lengths of the secrets there are.
var kinds = []struct {
	alphabet string
	length   int
}{
	{"abcdefghijklmnopqrstuvwxyz0123456789", 8}, {"abcdefghijklmnopqrstuvwxyz0123456789", 9}, {"abcdefghijklmnopqrstuvwxyz0123456789", 12}, // short ones
	{"abcdefghijklmnopqrstuvwxyz0123456789", 16},       // a webhook's code
	{"0123456789abcdef", 32}, {"0123456789abcdef", 70}, // channel ids, tokens
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 120}, // a jwt
	{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 44},  // base64
}

func random(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// windows are the parts of a secret that must not be told.
func windows(secret string) iter.Seq[string] {
	plain := string(letters(secret))
	return func(yield func(string) bool) {
		for i := range len(plain) - window + 1 {
			if !yield(plain[i : i+window]) {
				return
			}
		}
	}
}

// disguises are the ways in which a server may repeat a secret, or a part of
// it.
var disguises = map[string]func(r *rand.Rand, s string) string{
	"whole":      func(_ *rand.Rand, s string) string { return s },
	"upper case": func(_ *rand.Rand, s string) string { return strings.ToUpper(s) },
	"cut": func(r *rand.Rand, s string) string {
		from := r.IntN(len(s) - window + 1)
		return s[from : from+window+r.IntN(len(s)-from-window+1)]
	},
	"less one character": func(r *rand.Rand, s string) string {
		i := r.IntN(len(s))
		return s[:i] + s[i+1:]
	},
	"within a word": func(_ *rand.Rand, s string) string { return "x" + s + "y" },
	"grouped": func(r *rand.Rand, s string) string {
		var groups []string
		for group := range slices.Chunk([]byte(s), 2+r.IntN(4)) {
			groups = append(groups, string(group))
		}
		return strings.Join(groups, []string{"-", " ", ":", ".", "\n", "\u200b", ", ", "%20"[:1]}[r.IntN(8)])
	},
}

// TestRedact_NoPartIsLeft: nothing of a secret that has 8 letters is told, in whatever
// disguise the secret comes.
func TestRedact_NoPartIsLeft(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	many := resttest.Rounds(400)
	if testing.Short() {
		many = 30
	}
	for range many {
		for _, k := range kinds {
			secret := random(r, k.alphabet, k.length)
			if len(letters(secret)) < window {
				continue
			}
			known := Redactor{}.With("another secret, " + random(r, k.alphabet, 20)).With(secret)
			for name, disguise := range disguises {
				told := disguise(r, secret)
				if len(letters(told)) < window-1 {
					continue // a cut between characters that are no letters
				}
				if name == "cut" && len(letters(told)) < window {
					continue
				}
				got := known.Text("the channel " + told + "/text is wrong")
				if want := "the channel " + Mask + "/text is wrong"; got != want && !strings.ContainsAny(told, "+/_-") {
					t.Fatalf("%s, %d of %d letters: %q, want %q", name, len(letters(told)), k.length, got, want)
				}
				for part := range windows(secret) {
					if strings.Contains(string(letters(got)), part) {
						t.Fatalf("%s, %d of %d letters: %q", name, len(letters(told)), k.length, got)
					}
				}
				if again := known.Text(got); again != got {
					t.Fatalf("%q became %q", got, again)
				}
			}
		}
	}
}

// TestRedact_ReadableTexts: what is no secret stays.
func TestRedact_ReadableTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	texts := []string{
		"Too many requests, please try again in a moment. The operation's time limit has been exceeded",
		"QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT", "ERROR_BATCH_METHOD_NOT_ALLOWED", "insufficient_scope", "expired_token",
		"pull.application.config.get", "crm.automatedsolution.fields.list", "portal.bitrix24.com", "rt-clients-ru-3.bitrix24.com:443",
		"my-company-production-server-01.bitrix24.com", "ec2-54-123-45-67.eu-west-1.compute.amazonaws.com", "[2001:db8:85a3::8a2e:370:7334]:443",
		"dial tcp 127.0.0.1:443: connect: connection refused", "4010: Wrong Channel Id.", "Метод не найден: превышен лимит запросов к серверу",
		"チャンネルが見つかりませんでしたのでもう一度試してみてください", "2026-03-31T17:05:18+02:00", "HTTP/1.1 502 Bad Gateway",
		"te/te.te te-te", "", "   ",
	}
	for _, k := range kinds {
		known := Redactor{}.With(random(r, k.alphabet, k.length), "te2", "x", "secr3t")
		for _, text := range texts {
			if got := known.Text(text); got != text {
				t.Errorf("%q became %q", text, got)
			}
			if got := known.Line(text, 200); got != strings.TrimSpace(text) {
				t.Errorf("%q became the line %q", text, got)
			}
		}
		for _, code := range []string{"QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT", "ERROR_BATCH_METHOD_NOT_ALLOWED", "ERROR_METHOD_NOT_FOUND", "BITRIX_REST_V3_EXCEPTION_UNKNOWNDTOPROPERTYEXCEPTION", "100", "invalid_grant", "Rest.Controller.Call:NOT_ALLOWED-1"} {
			if got := known.Code(code, nil); got != code {
				t.Errorf("the code %q became %q", code, got)
			}
		}
	}
}

func TestRedact_ShortSecrets(t *testing.T) {
	known := Redactor{}.With("te", "s3cr3t", "p@ss", "!!!!!!!!!!", "", "\xf3\xa0a\x00\x9b\x10\x80\xff\x07n\x02")
	for text, want := range map[string]string{
		"text/html; te":            "text/html; te",
		"key=s3cr3t&a=1":           "key=[redacted]&a=1",
		"s3cr3ts are xs3cr3t":      "s3cr3ts are xs3cr3t",
		"user:p@ss@host":           "user:[redacted]@host",
		"it said !!!!!!!!!! to me": "it said [redacted] to me",
		"TE":                       "[redacted]",
		"a redirect, an echo":      "a redirect, an echo",
		"it was \xf3\xa0a\x00\x9b\x10\x80\xff\x07n\x02": "it was [redacted]",
	} {
		if got := known.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestRedact_TinySecrets: of a few letters a secret is hidden where values stand,
// in an address, a form, JSON or a header, and is no riddle in prose.
func TestRedact_TinySecrets(t *testing.T) {
	for _, secret := range []string{"a", "no", "the", "is", "7", "42", "Ab1", "не"} {
		known := Redactor{}.With(secret, "s3cr3t-token")
		for _, value := range []string{
			"auth=%s", "?auth=%s&x=1", "auth=%s and more", "https://portal.example/rest/1/%s/", "GET /rest/1/%s HTTP/1.1", "/rest/1/%s?x",
			`{"auth":"%s"}`, `{"auth": "%s","x":1}`, `{\"auth\":\"%s\"}`, "{'auth': '%s'}", `{"auth":%s}`, "X-Token: %s", "X-Token: %s\r\nX: y",
			"user:%s@host", "%s", "auth=%s; path=/", "(auth=%s)", "auth[0]=%s,auth[1]=x",
		} {
			text := fmt.Sprintf(value, secret)
			want := fmt.Sprintf(value, Mask)
			if got := known.Text(text); got != want {
				t.Errorf("%q became %q, want %q", text, got, want)
			}
		}
		for _, prose := range []string{
			"there %s such host", "%s such host", "such a host %s", "b24pull: pull.config.get: %s such host", "text/html; %s", "(%s answer)", `"%s such"`,
			"a %s, and another", "in 3-%s-x", "want %s.", "x%sy=1", "%sy", "it is %s!", "that was %s\nand more",
		} {
			text := fmt.Sprintf(prose, secret)
			if got := known.Text(text); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
	known := Redactor{}.With("ab")
	if got := known.Text("auth%3Dab%26x"); strings.Contains(got, "ab") {
		t.Errorf("escaped: %q", got)
	}
	if got := known.Text("auth=a b"); got != "auth=a b" {
		t.Errorf("two words became %q", got)
	}
	if got := (Redactor{}).With("none").Text("of none such"); got != "of "+Mask+" such" {
		t.Errorf("a secret of four letters: %q", got)
	}
}

// TestRedact_UnknownSecrets: a word that may be a secret is not told, though nobody
// has said that it is one.
func TestRedact_UnknownSecrets(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		for _, k := range kinds {
			secret := random(r, k.alphabet, k.length)
			if k.length < 32 || len(k.alphabet) > 36 {
				continue // groups of letters alone are taken for words
			}
			for _, text := range []string{secret, "/rest/" + secret + "/", secret[:8] + "-" + secret[8:16] + "-" + secret[16:], "a=" + secret} {
				got := Redactor{}.Line("got "+text+" here", 300)
				if strings.Contains(got, secret[:8]) || !strings.HasPrefix(got, "got ") || !strings.HasSuffix(got, " here") {
					t.Fatalf("%d characters: %q", k.length, got)
				}
			}
			for _, code := range []string{secret[:30], secret[:8] + "." + secret[8:16] + ":" + secret[16:32]} {
				if len(letters(code)) > maxWord && (Redactor{}).Code(code, nil) != "" {
					t.Fatalf("a code is %q", code)
				}
			}
		}
	}
}

func TestRedact_Line(t *testing.T) {
	known := Redactor{}.With("s3cr3t-token")
	for text, want := range map[string]string{
		" two\n lines\t ":              "two lines",
		"red\x1b[31m":                  `red\x1b[31m`,
		"\u202etxt.exe":                `\u202etxt.exe`,
		"a\u200bb \u009b1m \xff":       `a\u200bb \u009b1m \xff`,
		strings.Repeat("word ", 20000): strings.Repeat("word ", 4) + "…",
		"it was s3cr3ttoken":           "it was [redacted]",
	} {
		if got := known.Line(text, 20); got != want {
			t.Errorf("%.40q became %q, want %q", text, got, want)
		}
	}
}

// grows reports how many times as many bytes something allocates at eight times
// the size: 8 or less if the work is in proportion to it.
func grows(work func(size int), size int) float64 {
	allocated := func(size int) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		work(size)
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	return allocated(8*size) / allocated(size)
}

// TestRedact_ManySecrets: a channel id of many parts is one secret, and costs what its
// length costs.
func TestRedact_ManySecrets(t *testing.T) {
	if n := grows(func(many int) { manySecrets(t, many) }, 200); n > 16 {
		t.Errorf("for eight times as many parts %.1f times as many bytes are allocated", n)
	}
	if !testing.Short() {
		manySecrets(t, 60_000) // work that is quadratic, and allocates nothing, takes minutes
	}
}

func manySecrets(t *testing.T, many int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 8))
	var parts, values []string
	for range many {
		parts = append(parts, random(r, "0123456789abcdef", 8))
		values = append(values, fmt.Sprint("v", len(values)))
	}
	id := strings.Join(parts, ".")
	known := Redactor{}.With(append(values, id)...)
	if got := known.Text("no " + parts[many/2] + " and a=v7 there"); got != "no [redacted] and a=[redacted] there" {
		t.Errorf("got %q", got)
	}
	if got, want := known.Text(strings.Repeat("a=v7 and ", many)), strings.Repeat("a="+Mask+" and ", many); got != want {
		t.Errorf("%d bytes, not %d", len(got), len(want))
	}
	if got := known.Text(id); got != Mask {
		t.Errorf("%d bytes are left", len(got))
	}
	sets := 0
	for k := known.known; k != nil; k = k.before {
		sets++
	}
	if sets != 1 {
		t.Errorf("each part of a text is looked for in %d sets", sets)
	}
}

func FuzzText(f *testing.F) {
	f.Add("s3cr3t-token-of-a-portal", "no s3cr3t-token-of-a-portal here")
	f.Add("p@ss", "p@ss \xff\xc0p@ss")
	f.Fuzz(func(t *testing.T, secret, text string) {
		got := Redactor{}.With(secret).Text(text)
		if len(letters(secret)) >= window && strings.Contains(got, secret) {
			t.Errorf("%q is left in %q", secret, got)
		}
		if len(got) > len(text)*len(Mask)+len(Mask) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	})
}
