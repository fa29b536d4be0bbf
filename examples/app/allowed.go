package main

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// zones are those in which Bitrix24 has portals. There are other hosts named
// bitrix24, in zones that anybody can register, and what users publish is in
// others again, like site.
var zones = []string{"by", "cn", "co", "com", "com.br", "com.tr", "de", "es", "eu", "fr", "id", "in", "it", "jp", "kz", "mx", "pl", "ru", "uk", "vn"}

// portalName is the first part of the name of a portal in the cloud.
var portalName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// cloudPortal reports whether a host is one of the Bitrix24 cloud: a name, and
// a zone.
func cloudPortal(host string) bool {
	name, domain, _ := strings.Cut(host, ".")
	zone, ok := strings.CutPrefix(domain, "bitrix24.")
	return ok && len(name) <= 63 && portalName.MatchString(name) && slices.Contains(zones, zone)
}

const unknownPortalPage = "This application does not know this portal. Install the application on the portal first, " +
	"or have whoever runs the application name the portal's host in B24PULL_PORTALS.\n"

// checkPortal refuses to send a browser to a host that is no portal: the one
// who has made the link may be anybody.
func (a *app) checkPortal(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return refusal{error: err, status: http.StatusBadRequest}
	}
	if cloudPortal(u.Host) || a.names(u.Host) || a.knows(u.Host) {
		return nil
	}
	return refusal{fmt.Errorf("%q is no portal that is known or allowed", u.Host), http.StatusForbidden, unknownPortalPage}
}

// names reports whether the environment names a host, by itself or as *.DOMAIN.
func (a *app) names(host string) bool {
	_, domain, _ := strings.Cut(host, ".")
	for _, allowed := range a.hosts {
		if allowed == host || domain != "" && allowed == "*."+domain {
			return true
		}
	}
	return false
}

// knows reports whether a portal at the host has installed the application.
func (a *app) knows(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.portals {
		if p.client.Portal() == "https://"+host {
			return true
		}
	}
	return false
}
