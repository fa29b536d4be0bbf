package redact

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// Redirect tells in words where a redirect leads that is not followed: the
// address that has been moved to for good, or else the page, without query.
// from is the address that was asked for. Of the path it shows words only.
func (r Redactor) Redirect(status int, from *url.URL, location string) string {
	if location == "" {
		return "a redirect that does not say where to"
	}
	to, err := from.Parse(location)
	if err != nil || to.Hostname() == "" || to.Opaque != "" {
		return "a redirect to what is no address"
	}
	host, page := r.origin(to), r.page(to.Path)
	same := strings.EqualFold(to.Host, from.Host)
	switch {
	case status == http.StatusMovedPermanently || status == http.StatusPermanentRedirect:
		if same && to.Scheme == from.Scheme {
			host += page
		}
		return "a redirect: it has moved for good to " + host + "; use that address"
	case same:
		return "a redirect to its page " + page + ": a login page stands there, or that of an expired licence"
	}
	return "a redirect to " + page + " of " + host + ": a login page stands there, or that of an expired licence"
}

const (
	maxHost     = 100
	maxSegments = 6
)

// origin is the scheme and host of an address.
func (r Redactor) origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	odd := func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(".-:[]", c)
	}
	if len(host) > maxHost || strings.ContainsFunc(host, odd) {
		return "another host"
	}
	return r.Text(u.Scheme + "://" + host)
}

// pageWord is a piece of a path that is no secret: a word, a file, a number
// that is short. Capitals and digits in between make it look like one.
var pageWord = regexp.MustCompile(`^([A-Za-z_.-][a-z_.-]{0,23}[0-9]{0,2}(\.[a-z]{1,5})?|[A-Z_.-]{1,12}|[0-9]{1,6})$`)

// page is a path of which anything that may be a secret is masked.
func (r Redactor) page(p string) string {
	clean := strings.Trim(path.Clean("/"+p), "/")
	if clean == "" {
		return "/"
	}
	segments, end := strings.Split(clean, "/"), ""
	switch {
	case len(segments) > maxSegments:
		segments, end = segments[:maxSegments], "/…"
	case strings.HasSuffix(p, "/"):
		end = "/"
	}
	for i, s := range segments {
		if !pageWord.MatchString(s) || r.Text(s) != s {
			segments[i] = Mask
		}
	}
	return "/" + strings.Join(segments, "/") + end
}
