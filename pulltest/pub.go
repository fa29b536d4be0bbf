package pulltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// servePub takes what the portal publishes: a RequestBatch, or a body that is
// the message itself, for the channels of CHANNEL_ID.
func (s *pushServer) servePub(w http.ResponseWriter, r *http.Request) {
	body, ok := s.readBody(w, r, func() {})
	if !ok {
		return
	}
	query := r.URL.Query()
	if s.dialect.publicIDs && only(query, "binaryMode") == "true" {
		s.serveBatch(w, body, backend)
		return
	}
	channels, err := s.dialect.parsePub(s.signer, only(query, "CHANNEL_ID"))
	switch {
	case s.dialect.publicIDs:
		// it accepts whatever comes
		if accept(w); err != nil || len(body) == 0 {
			return
		}
	case err != nil:
		writeText(w, http.StatusBadRequest, err.Error())
		return
	case len(body) == 0:
		writeText(w, http.StatusBadRequest, "Empty post requests are not allowed.")
		return
	default:
		accept(w)
	}
	var keys []channelKey
	for _, c := range channels {
		keys = append(keys, c.keys()...)
	}
	s.hub.publish(keys, text(body), s.dialect.expiry(r.Header.Get("Message-Expiry")), backend.sender())
}

// text makes UTF-8 of what is none, as JavaScript does.
func text(b []byte) string { return string([]rune(string(b))) }

// only is the value of a parameter that is given once; JavaScript makes a list
// of several, which is no text.
func only(query url.Values, name string) string {
	if values := query[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// expirySeconds reads the number that a Message-Expiry begins with; 0 if it
// begins with none.
func expirySeconds(value string) time.Duration {
	value = strings.TrimSpace(value)
	end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(value)
	}
	// of digits that are too many Atoi makes the largest number
	n, _ := strconv.Atoi(value[:end])
	return time.Duration(min(n, int(maxExpiry/time.Second))) * time.Second
}

// keptAnyhow is the expiry of a server that keeps a message for a day if it is
// not told for how long.
func keptAnyhow(value string) time.Duration {
	if d := expirySeconds(value); d > 0 {
		return d
	}
	return maxExpiry
}

type channelInfo struct {
	Channel     string `json:"channel"`
	Subscribers int    `json:"subscribers"`
}

// serveInfos names the channels of CHANNEL_ID that are online: with one
// subscriber, however many there are.
func (s *pushServer) serveInfos(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	channels, err := s.dialect.parsePub(s.signer, only(query, "CHANNEL_ID"))
	switch {
	case err != nil && s.dialect.publicIDs:
		refuse(w, errNoChannels)
		return
	case err != nil:
		writeText(w, http.StatusBadRequest, err.Error())
		return
	case len(channels) > maxReceivers && s.dialect.publicIDs:
		refuse(w, errTooManyChannels)
		return
	case s.dialect.publicIDs && only(query, "binaryMode") == "true":
		list := make([]receiver, len(channels))
		for i, c := range channels {
			list[i] = receiver{id: idBytes(c.private), private: true}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(s.presence(list))
		return
	}
	infos := []channelInfo{}
	s.hub.mu.Lock()
	for _, c := range channels {
		if s.hub.isOnline(channelKey{c.private, true}) {
			infos = append(infos, channelInfo{c.private, 1})
		}
	}
	s.hub.mu.Unlock()
	list, err := json.Marshal(infos)
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	writeText(w, http.StatusOK, s.dialect.infosHead+string(list)+"}")
}

// readBody answers 413 to a body that is too large and cuts the connection. It
// calls refused before anybody can know of it.
func (s *pushServer) readBody(w http.ResponseWriter, r *http.Request, refused func()) ([]byte, bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, s.dialect.maxBody+1<<16))
	switch {
	case err != nil:
		refused()
		return nil, false
	case int64(len(body)) > s.dialect.maxBody, s.dialect.maxChars > 0 && len(utf16.Encode([]rune(string(body)))) > s.dialect.maxChars:
		refused()
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Content-Length", "0")
		w.Header().Set("Connection", "close")
		writeText(w, http.StatusRequestEntityTooLarge, "")
		http.NewResponseController(w).Flush()
		rawConn(r).hangUp()
		return nil, false
	}
	return body, true
}
