package oauth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/internal/addr"
)

// Hosts are those of portals that an application trusts to be portals: those of
// the Bitrix24 cloud, and those that are named beside them. An application of
// many portals asks it where a stranger, or a portal, names an address for it
// to send a user or a token to. The zero Hosts has the cloud alone.
type Hosts struct{ named []string }

// ParseHosts names hosts beside those of the cloud: a name as in portal.example
// or *.company.example, which stands for one part of a name, and a port if it
// is not that of https.
func ParseHosts(hosts ...string) (Hosts, error) {
	var h Hosts
	for _, host := range hosts {
		name := strings.ToLower(addr.Trim(host))
		u, err := addr.REST(strings.TrimPrefix(name, "*."))
		if err != nil || strings.ContainsAny(name, "/@?#") || name == "" {
			return Hosts{}, fmt.Errorf("b24pull: hosts: %w", errHost)
		}
		star := ""
		if strings.HasPrefix(name, "*.") {
			star = "*."
		}
		h.named = append(h.named, star+addr.Host(u))
	}
	return h, nil
}

var errHost = errors.New("one is no host; want a name like portal.example, *.company.example or portal.example:8443")

// zones are those in which Bitrix24 has portals. There are other hosts named
// bitrix24, in zones that anybody can register, and what users publish is in
// others again, like site.
var zones = []string{"by", "cn", "co", "com", "com.br", "com.tr", "de", "es", "eu", "fr", "id", "in", "it", "jp", "kz", "mx", "pl", "ru", "uk", "vn"}

// cloudName is the first part of the name of a portal in the cloud.
var cloudName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Allow reports whether a host, or the https address of one, is one of them.
func (h Hosts) Allow(host string) bool {
	u, err := addr.REST(host)
	if err != nil {
		return false
	}
	host = addr.Host(u)
	name, domain, _ := strings.Cut(host, ".")
	zone, cloud := strings.CutPrefix(domain, "bitrix24.")
	return cloud && cloudName.MatchString(name) && slices.Contains(zones, zone) ||
		slices.Contains(h.named, host) || domain != "" && slices.Contains(h.named, "*."+domain)
}
