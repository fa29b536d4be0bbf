package pulltest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// serveNGINX is nginx with its push-stream module, of versions 1 and 2.
func (s *pushServer) serveNGINX(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(path, "/sub/"):
		s.serveNGINXPoll(w, r)
	case strings.HasPrefix(path, "/subws/"):
		s.serveNGINXSocket(w, r)
	case strings.HasPrefix(path, "/pub/"):
		s.serveNGINXPub(w, r)
	default:
		nginxPage(w, http.StatusNotFound)
	}
}

// nginxPage is nginx's own page for a status.
func nginxPage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	fmt.Fprintf(w, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n", title)
}

// nginxRefusal is a refusal of the module, with its reason.
func nginxRefusal(w http.ResponseWriter, status int, reason string) {
	h := w.Header()
	nginxHead(h)
	if reason != "" {
		h.Set("X-Nginx-Pushstream-Explain", reason)
	}
	h["Content-Type"] = nil
	h.Set("Content-Length", "0")
	w.WriteHeader(status)
}

const (
	nginxNoChannel = "No channel id provided."
	nginxNoSuch    = "Subscriber could not create channels."
)

func (s *pushServer) serveNGINXPoll(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET")
	h.Set("Access-Control-Allow-Headers", "If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id")
	switch {
	case s.opts.noPolls:
		nginxPage(w, http.StatusNotFound)
		return
	case r.Method == http.MethodOptions:
		h["Content-Type"] = nil
		h.Set("Content-Length", "0")
		return
	case r.Method != http.MethodGet:
		h.Set("Allow", "GET")
		nginxRefusal(w, http.StatusMethodNotAllowed, "")
		return
	}
	sub, err := s.subscribe(r, true)
	if err != nil {
		s.hub.count(func(st *Stats) { st.Refused++ })
		if err == errLost {
			nginxRefusal(w, http.StatusForbidden, nginxNoSuch)
			return
		}
		nginxRefusal(w, http.StatusBadRequest, nginxNoChannel)
		return
	}
	s.impatient(s.opts.idleTimeout, func(w http.ResponseWriter, r *http.Request) { s.servePoll(w, r, sub) })(w, r)
}

// serveNGINXSocket upgrades also who names no channel, and hears nothing.
func (s *pushServer) serveNGINXSocket(w http.ResponseWriter, r *http.Request) {
	if s.opts.noSockets || !upgrades(r) || !wellFormed(r) {
		w.Header().Set("Connection", "close")
		nginxRefusal(w, http.StatusBadRequest, "Don't have at least one of the mandatory headers: Connection, Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Version")
		return
	}
	sub, err := s.subscribe(r, false)
	if err == errLost {
		s.hub.count(func(st *Stats) { st.Refused++ })
		nginxRefusal(w, http.StatusForbidden, nginxNoSuch)
		return
	}
	s.serveSocket(w, r, sub)
}

// serveNGINXPub publishes to the channels, or tells of them.
func (s *pushServer) serveNGINXPub(w http.ResponseWriter, r *http.Request) {
	publishes := r.Method == http.MethodPost || r.Method == http.MethodPut
	if !publishes && r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET, POST, PUT")
		nginxRefusal(w, http.StatusMethodNotAllowed, "")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return
	}
	if len(body) > maxRequest {
		w.Header().Set("Connection", "close")
		nginxPage(w, http.StatusRequestEntityTooLarge)
		return
	}
	channels, err := nginxChannels(only(r.URL.Query(), "CHANNEL_ID"))
	switch {
	case err != nil:
		nginxRefusal(w, http.StatusBadRequest, nginxNoChannel)
		return
	case publishes && len(body) == 0:
		nginxRefusal(w, http.StatusBadRequest, "Empty post requests are not allowed.")
		return
	case publishes:
		var keys []channelKey
		for _, c := range channels {
			keys = append(keys, c.keys()...)
		}
		// Message-Expiry says nothing to nginx
		s.hub.publish(keys, string(body), maxExpiry, backend.sender())
	}
	s.tellNGINX(w, channels)
}

// tellNGINX tells of those channels that there are.
func (s *pushServer) tellNGINX(w http.ResponseWriter, channels []channelID) {
	h := s.hub
	h.mu.Lock()
	now := h.clock.now()
	var infos []string
	for _, c := range channels {
		key := channelKey{c.private, true}
		published, online, kept := h.tagger.numbers[key], h.online(key), 0
		if i := h.index(key, now); i != nil {
			kept = len(i.messages)
		}
		if published > 0 || online > 0 {
			infos = append(infos, fmt.Sprintf(`{"channel": "%s", "published_messages": %d, "stored_messages": %d, "subscribers": %d}`, c.private, published, kept, online))
		}
	}
	all, up := len(h.tagger.numbers), time.Since(h.began)
	h.mu.Unlock()
	if len(infos) == 0 {
		nginxRefusal(w, http.StatusNotFound, "")
		return
	}
	nginxHead(w.Header())
	w.Header().Set("Content-Type", "application/json")
	if len(infos) == 1 {
		io.WriteString(w, infos[0]+"\r\n")
		return
	}
	fmt.Fprintf(w, `{"hostname": "pulltest", "time": "%s", "channels": %d, "wildcard_channels": 0, "uptime": %d, "infos": [`+"\r\n%s\r\n]}\r\n",
		now.UTC().Format("2006-01-02T15:04:05"), all, int(up.Seconds()), strings.Join(infos, ",\r\n"))
}
