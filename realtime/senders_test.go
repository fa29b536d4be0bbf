package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// senders are those of what has been handled, in order.
func (l *life) senders() (all []Sender) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		all = append(all, m.Sender)
	}
	return all
}

// publishing are the versions whose clients can publish, by each transport.
func publishing(t *testing.T, scenario func(t *testing.T, l *life, version int, transport Transport)) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		for _, transport := range both {
			t.Run(fmt.Sprintf("version %d %v", version, transport), func(t *testing.T) {
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) { scenario(t, l, version, transport) })
			})
		}
	}
}

// alsoPublic is a source whose configs have the public channel of one more user.
type alsoPublic struct {
	ConfigSource
	portal *pulltest.Portal
	user   int64
}

func (s alsoPublic) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	cfg, err := s.ConfigSource.GetApplicationConfig(ctx, cache)
	if err != nil {
		return nil, err
	}
	c, err := b24pull.New(b24pull.Webhook(s.portal.Webhook()), b24pull.WithHTTPClient(s.portal.HTTPClient()))
	if err != nil {
		return nil, err
	}
	channels, err := c.ListPublicChannels(ctx, []int64{s.user}, b24pull.PortalChannels)
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(cfg.Raw(), &raw); err != nil {
		return nil, err
	}
	raw["publicChannels"].(map[string]any)[strconv.FormatInt(s.user, 10)] = map[string]any{
		"user_id": s.user, "public_id": string(channels[s.user].PublicID), "signature": string(channels[s.user].Signature),
		"start": channels[s.user].Start.Format(time.RFC3339), "end": channels[s.user].End.Format(time.RFC3339),
	}
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	more := new(b24pull.Config)
	return more, more.UnmarshalJSON(data)
}

// TestSenders_OfTheConfig: a config names users' public channels.
func TestSenders_OfTheConfig(t *testing.T) {
	publishing(t, func(t *testing.T, l *life, version int, transport Transport) {
		l.open(pulltest.WithVersion(version))
		c, err := b24pull.New(b24pull.Webhook(l.portal.Webhook()), b24pull.WithHTTPClient(l.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		l.subscribe(alsoPublic{PortalConfig(c), l.portal, 2}, WithTransport(transport), WithHTTPClient(l.portal.HTTPClient()))
		l.run(nil)
		<-l.sub.Ready()
		l.portal.EmitAsClient(pulltest.Message{Command: "typing", To: pulltest.UserPrivate})
		l.portal.Emit(pulltest.Message{Command: "order", To: pulltest.UserPrivate})
		time.Sleep(time.Minute)
		got := l.senders()
		if len(got) != 2 || got[0].Type != SenderClient || got[0].UserID != 2 || got[1] != (Sender{Type: SenderBackend}) {
			t.Errorf("senders %v", got)
		}
	})
}

// TestSenders_Added: of an application's channels whoever looks them up tells
// the subscription.
func TestSenders_Added(t *testing.T) {
	publishing(t, func(t *testing.T, l *life, version int, transport Transport) {
		l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithTransport(transport))
		channels, err := client(t, l.portal).ListPublicChannels(t.Context(), []int64{1, 2}, b24pull.ApplicationChannels)
		if err != nil {
			t.Fatal(err)
		}
		l.sub.AddSenders(map[int64]b24pull.PublicChannel{77: channels[2]})
		l.portal.EmitAsClient(pulltest.Message{Command: "typing"})
		time.Sleep(time.Minute)
		l.sub.AddSenders(channels)
		l.portal.EmitAsClient(pulltest.Message{Command: "typing"})
		time.Sleep(time.Minute)
		got := l.senders()
		if len(got) != 2 || got[0].UserID != 77 || got[1].UserID != 2 || got[1].Type != SenderClient {
			t.Errorf("senders %v", got)
		}
	})
}

// TestSenders_BodyClaims: what a client's body says of its sender is believed
// nowhere, not where it is a control command either.
func TestSenders_BodyClaims(t *testing.T) {
	publishing(t, func(t *testing.T, l *life, version int, transport Transport) {
		l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithTransport(transport))
		const body = `{"module_id":"pull","command":"config_expire","params":{"sender":{"type":2,"id":""}},"sender":{"type":2,"id":""},"extra":{"sender":{"type":2,"id":""}}}`
		l.portal.EmitAsClient(pulltest.Message{Body: body})
		l.portal.EmitAsClient(pulltest.Message{Body: body, UserParams: map[string]any{"sender": map[string]any{"type": 2}}, Dictionary: map[string]any{"type": 2}})
		time.Sleep(5 * time.Minute)
		got := l.senders()
		for _, s := range got {
			if s.Type != SenderClient || s.ID == "" {
				t.Errorf("sender %v", s)
			}
		}
		if n := l.portal.Stats().Configs; n != 1 || len(got) != 2 {
			t.Errorf("%d configs fetched, %d messages delivered", n, len(got))
		}
	})
}
