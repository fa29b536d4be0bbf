package realtime

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// secrets collects what a portal's configs hold that must not be told.
type secrets struct {
	mu    sync.Mutex
	parts map[string]bool
}

// add takes a secret and the parts it is made of. The head of a token is no
// secret: it is that of all tokens.
func (s *secrets) add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, part := range strings.FieldsFunc(secret, func(r rune) bool { return r == ':' || r == '.' }) {
		if len(part) >= 16 && !strings.HasPrefix(part, "eyJhbGci") {
			s.parts[part[:16]] = true
			s.parts[part[len(part)-16:]] = true
		}
	}
}

// of takes the secrets of the portal's present config.
func (s *secrets) of(t *testing.T, p *pulltest.Portal) {
	t.Helper()
	var config struct {
		Channels map[string]struct {
			ID       string
			PublicID string `json:"public_id"`
		}
		JWT            string
		PublicChannels json.RawMessage
	}
	if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
		t.Fatal(err)
	}
	for _, c := range config.Channels {
		s.add(c.ID)
		s.add(c.PublicID)
	}
	s.add(config.JWT)
	var public map[string]struct {
		PublicID  string `json:"public_id"`
		Signature string
	}
	if json.Unmarshal(config.PublicChannels, &public) == nil { // false below version 4
		for _, c := range public {
			s.add(c.PublicID)
			s.add(c.Signature)
		}
	}
	s.add(p.AccessToken())
}

// told is all that a subscription tells of itself.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// observe writes an event in every way, and the errors in it as well, down to
// the last.
func (o *told) observe(e Event) {
	fmt.Fprintf(o, "%v %+v %#v\n", e, e, e)
	for err := errorOf(e); err != nil; {
		fmt.Fprintf(o, "%v %+v %#v %q\n", err, err, err, err)
		next, ok := err.(interface{ Unwrap() error })
		if !ok {
			return
		}
		err = next.Unwrap()
	}
}

func errorOf(e Event) error {
	switch e := e.(type) {
	case StateChange:
		return e.Cause
	case ReplayEnded:
		return e.Err
	case Undecodable:
		return e.Err
	case Renewal:
		return e.Err
	case Gap:
		return e.Err
	}
	return nil
}

// echoing repeats in its refusal what it was asked, in the ways that servers
// and proxies do.
func echoing(mode *atomic.Int32) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rest := strings.HasPrefix(r.URL.Path, "/rest/")
			asked := r.URL.RequestURI()
			switch mode.Load() {
			case 1:
				http.Error(w, "404 not found: "+asked, http.StatusNotFound)
			case 2:
				http.Error(w, "400 bad channel: "+strings.NewReplacer(":", " ", ".", " ", "/", " ", "%", " ").Replace(asked), http.StatusBadRequest)
			case 3:
				w.Header().Set("Location", asked+"%")
				w.WriteHeader(http.StatusFound)
			case 4:
				if rest || !websocket.IsWebSocketUpgrade(r) {
					w.Header().Set("Content-Length", "100000")
					_, _ = w.Write([]byte(asked)) // and no more
					return
				}
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", asked)
					_ = conn.Close()
				}
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
}

// TestSecrets_NoSecretIsToldInALife: through everything that can happen to a
// connection, neither log nor events nor errors name a channel, a signature or
// a token.
func TestSecrets_NoSecretIsToldInALife(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { tellEverything(t, l, s.portal, transport) })
			})
		}
	}
}

func tellEverything(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
	var out told
	var mode atomic.Int32
	all := secrets{parts: make(map[string]bool)}
	l.open(append([]pulltest.Option{echoing(&mode)}, portal...)...)
	source := changed{client(t, l.portal), func(cfg *b24pull.Config) { all.add(string(cfg.JWT)) }} // each has another
	l.subscribe(source, WithTransport(transport), WithLogger(newTestLogger(&out)), WithObserver(out.observe))
	l.run(nil)
	<-l.sub.Ready()
	all.of(t, l.portal)
	private, shared := channel(t, l.portal, "private")["id"].(string), channel(t, l.portal, "shared")["id"].(string)

	l.portal.Emit(pulltest.Message{Command: "twice", To: pulltest.Both})
	for _, body := range []string{
		`{"module_id":"pull","command":"channel_expire","params":{"channel":{"id":"` + private + `"`,
		`{"module_id":7,"command":"` + shared + `"}`,
		private,
	} {
		l.portal.Emit(pulltest.Message{Body: body})
	}
	l.portal.Control("channel_expire", map[string]any{"action": private, "channel": private, "new_channel": shared}, pulltest.Private)
	l.portal.Control("config_expire", map[string]any{"channel": shared}, pulltest.Shared)
	time.Sleep(3 * time.Minute)
	for _, action := range []string{"reconnect", "get_config"} {
		for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
			l.portal.ExpireChannel(to, action)
			time.Sleep(time.Minute)
			all.of(t, l.portal)
		}
	}
	l.portal.RestartServer(time.Minute)
	time.Sleep(5 * time.Minute)
	for _, code := range []int{1008, 4010, 4029} {
		l.portal.CloseWebSockets(code, "wrong: "+private[:min(len(private), 90)])
		time.Sleep(3 * time.Minute)
	}
	for how := range int32(5) {
		mode.Store(how)
		l.portal.Cut()
		time.Sleep(8 * time.Minute)
	}
	mode.Store(0)
	for _, fault := range []pulltest.Fault{pulltest.BadGateway, pulltest.Garble, pulltest.GarbleFrame, pulltest.Stall} {
		l.portal.Misbehave(pulltest.REST|pulltest.WebSockets|pulltest.Polls, fault)
		l.portal.ExpireConfig()
		l.tickFor(3*time.Minute, 20*time.Second)
		l.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
		time.Sleep(3 * time.Minute)
	}
	all.of(t, l.portal)
	all.add(l.portal.ExpireToken()) // the source has the old one
	l.portal.ExpireConfig()
	time.Sleep(5 * time.Minute)
	l.portal.HTTPClient().CloseIdleConnections()
	l.portal.Close()
	time.Sleep(5 * time.Minute)
	l.sub.Close()
	<-l.done
	synctest.Wait()
	fmt.Fprintf(&out, "%v %+v %#v", l.err, l.sub, l.sub)

	text := out.text.String()
	for _, want := range []string{"Renewal", "Undecodable", "StateChange", "ReplayEnded", "level=DEBUG", "control"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing was told of %s", want)
		}
	}
	for part := range all.parts {
		if at := strings.Index(text, part); at >= 0 {
			t.Errorf("told: %s", text[max(0, at-200):min(len(text), at+60)])
		}
	}
	if len(all.parts) < 10 {
		t.Errorf("only %d secrets", len(all.parts))
	}
}
