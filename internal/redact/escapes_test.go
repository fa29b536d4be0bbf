package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// each has every character of s written in a form, or one of k.
func each(s, form string, k int) string {
	var b strings.Builder
	for i, c := range s {
		if i%k != k/2 {
			b.WriteRune(c)
			continue
		}
		fmt.Fprintf(&b, form, c)
	}
	return b.String()
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return strings.Trim(string(b), `"`)
}

// escapeForms are those in which a server, or what stands before it, writes a
// character.
var escapeForms = []string{
	`\u%04x`, `\u%04X`, `\u{%x}`, `\U%08x`, `\x%02x`, `\x%02X`, `\%03o`, `%%%02x`, `%%%02X`, `%%u%04x`, `%%25%02x`,
	`&#%d;`, `&#x%x;`, `&#X%X;`, `&#%06d;`, `&amp;#x%x;`, `\\u%04x`, `%%5Cu%04x`, `&#92;u%04x`, `\u0025%02x`,
}

// TestEscapes_Escaped: a secret is found though it is escaped, in whole, in one
// character or in some.
func TestEscapes_Escaped(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, k := range kinds {
		for range resttest.Rounds(5) {
			secret := "s3" + random(r, "abcdefghijkmnopqrstuvwxyz", 1) + random(r, k.alphabet, k.length-4) + "k7"
			known := Redactor{}.With("x", "te2").With(secret)
			told := map[string]string{
				"grouped, as JSON":    quoted(secret[:4] + "\n" + secret[4:]),
				"grouped, in address": url.QueryEscape(secret[:4] + "\n" + secret[4:]),
				"grouped, in HTML":    secret[:4] + "&nbsp;" + secret[4:6] + "&zwnj;" + secret[6:],
			}
			for _, form := range escapeForms {
				for _, one := range []int{1, 2, 3, k.length} {
					told[fmt.Sprint(form, ", one of ", one)] = each(secret, form, one)
				}
			}
			for name, told := range told {
				got, want := known.Text("no portal («"+told+"»)."), "no portal («"+Mask+"»)."
				got = strings.NewReplacer(Mask+"&nbsp;", "", Mask+"&zwnj;", "").Replace(got)
				if got != want && !strings.ContainsAny(secret, "+/_-") {
					t.Fatalf("%s: %d characters of %d are left", name, len(got)-len(want), k.length)
				}
				if got := known.Text("key=" + told); strings.Contains(got, secret[2:]) || tells(got, secret) {
					t.Fatalf("%s: a part of %d is left", name, k.length)
				}
				if line := known.Line("key="+told+" here", 4000); tells(line, secret) {
					t.Fatalf("%s: a part of %d is left in a line", name, k.length)
				}
			}
		}
	}
}

// tells reports whether a text says a part of a secret once it is read.
func tells(text, secret string) bool {
	for range 4 {
		for part := range windows(secret) {
			if strings.Contains(string(letters(text)), part) {
				return true
			}
		}
		if plain, err := url.PathUnescape(text); err == nil {
			text = plain
		}
		text = html.UnescapeString(text)
		var plain string
		if json.Unmarshal([]byte(`"`+strings.ReplaceAll(text, `"`, ``)+`"`), &plain) == nil {
			text = plain
		}
	}
	return false
}

// TestEscapes_Base64: a secret is found though it stands in base64, wherever the groups
// of that begin.
func TestEscapes_Base64(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	step := 1
	if testing.Short() {
		step = 5
	}
	for length := 8; length <= 64; length += step + length/16 {
		for range resttest.Rounds(3) {
			secret := random(r, "abcdefghijklmnopqrstuvwxyz0123456789", length)
			known := Redactor{}.With("x", "te2").With(secret)
			for before := range 4 {
				for after := range 4 {
					plain := "\xff\xfe\xfb"[:min(before, 3)] + strings.Repeat(":", max(0, before-2)) + secret + "?>~"[:after]
					for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
						told := e.EncodeToString([]byte(plain))
						lines := told[:len(told)/2] + "\r\n" + told[len(told)/2:]
						for _, told := range []string{told, lines, quoted(lines), url.QueryEscape(told), strings.ReplaceAll(told, "/", `\/`), each(told, `\u%04x`, 3)} {
							got := known.Text("Authorization: Basic " + told + " is wrong")
							if !strings.Contains(got, Mask) || !strings.HasPrefix(got, "Authorization: Basic ") || !strings.HasSuffix(got, " is wrong") || len(got) > len("Authorization: Basic  is wrong")+3*len(Mask)+16 {
								t.Fatalf("%d characters behind %d: %q, %q of %q", length, before, got, told, secret)
							}
						}
					}
				}
			}
		}
	}
}

// TestEscapes_ReadableEscapes: what is no secret stays as it was written.
func TestEscapes_ReadableEscapes(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, k := range kinds {
		known := Redactor{}.With(random(r, k.alphabet, k.length), "te2", "x", "secr3t")
		for _, text := range []string{
			`\u041c\u0435\u0442\u043e\u0434 \u043d\u0435 \u043d\u0430\u0439\u0434\u0435\u043d`, `it said \"no\"\nand went`, `C:\users\new\test`, `\`, `\u`, `\u00`, `\u{}`, `\u{41`, `\x4`, `\18`,
			"%D0%9C%D0%B5%D1%82%D0%BE%D0%B4 100% of 5%", "%", "%4", "%u00", "a&b&lt;c&gt;&#1055;&#x43f;&;&#;&amp;amp;", "https://portal.bitrix24.com/rest/1/?a=b&auth=c+d%20e",
			"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "/oauth/token/authorization/callback/of/the/application", "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4",
		} {
			if got := known.Text(text); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

// TestEscapes_ManyEscapes: what can be read in many ways is read in a few, and a long
// text costs what its length costs.
func TestEscapes_ManyEscapes(t *testing.T) {
	known := Redactor{}.With("s3cr3ttokens3cr3t")
	for _, piece := range []string{`\\`, `\\u005c`, "%25", "%", "&amp;", "&", "&#x", "&#38;", "QUFB", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "QUFBQUFBQUFBQUFB ", "25"} {
		check := func(long int) {
			text := "%" + strings.Repeat(piece, long/len(piece)) // before 25, escaped as often as it is repeated
			if got := known.Text(text + " s3cr3ttokens3cr3t"); got != text+" "+Mask && got != text+Mask {
				t.Errorf("%q: %d bytes became %d", piece, len(text), len(got))
			}
		}
		check(1000)
		if n := grows(check, 1000); n > 16 {
			t.Errorf("%q: for eight times the text %.1f times as many bytes are allocated", piece, n)
		}
		if resttest.Thorough {
			check(400_000) // work that is not linear, and allocates nothing, takes minutes
		}
		// What an escape is read from has a bound, however long the text is.
		text := signsIn(strings.Repeat(piece, 400/len(piece)))
		for i := range text {
			r, n := escape(text[i:])
			if bounded, size := escape(text[i:min(i+maxEntity+1, len(text))]); bounded != r || size != n {
				t.Errorf("%q: an escape of %d signs is another one of the first %d", piece, n, maxEntity+1)
				break
			}
		}
	}
}
