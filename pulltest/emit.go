package pulltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Target says to which channels a [Message] goes. Private ones are the first
// user's, 1 unless [WithUsers] says otherwise; see [Target.Of].
type Target int64

const (
	Private     Target = iota // the application's private channel
	Shared                    // the application's shared channel
	Both                      // the private id and, where there is one, the public id of Private: it arrives twice, with one mid
	UserPrivate               // the private channel that pull.config.get names
	UserShared                // the shared channel that pull.config.get names

	Colleague = Private + 2*ofUser // the application's private channel of user 2
)

// ofUser is what a user's id is multiplied by in a Target.
const ofUser = 8

// Of is the target with the private channel of another user in place of the
// first one's. [NewPortal]'s users are meant: what is sent to any other panics.
func (t Target) Of(user int) Target { return t.kind() + Target(user)*ofUser }

func (t Target) kind() Target { return t % ofUser }
func (t Target) user() int    { return int(t / ofUser) }

// defaultExpiry is what a portal's own events get: 86,400 s.
const defaultExpiry = 24 * time.Hour

// Message is what [Portal.Emit] publishes.
type Message struct {
	Module  string        // module_id; "application" if empty
	Command string        // names the event
	Params  any           // marshalled to JSON; nil is PHP's empty array, []
	Expiry  time.Duration // how long it is kept, rounded up to seconds, at most 24 h; 0 is 24 h, negative: not kept
	Body    string        // if set, the body as it is, instead of Module, Command and Params
	To      Target        // the channel; Private, the application's own, by default
	User    int           // whose private channel that is, as [Target.Of] has it; 0: the first user's, or To's
	From    int           // which user's client publishes, of [Portal.EmitAsClient] alone; 0: the second user's

	// Extras that version 5 sends beside the body to those who speak JSON-RPC,
	// and no other version does; nil: none. They are marshalled to JSON.
	UserParams, Dictionary any
}

// Emit publishes a message as the portal itself does, with the extra object of
// a portal's events, and returns its mid. The message is stored and handed to
// the open connections when Emit returns, without [WithDisorder]. Versions 1
// and 2 send no mid to anyone. It panics if there is no such user, or if Params, UserParams or Dictionary
// cannot be marshalled.
func (p *Portal) Emit(m Message) (mid string) {
	return p.emit(m, p.receivers(m.target()))
}

// emit returns the last mid where several channels need several messages.
func (p *Portal) emit(m Message, receivers []channelKey) (mid string) {
	for _, keys := range p.audiences(receivers) {
		mid = p.push.hub.publishWith(m.extras(), keys, p.messageBody(m, keys, p.opts.clock.now()), m.keep(), backend.sender(), true)
	}
	return mid
}

func (p *Portal) messageBody(m Message, receivers []channelKey, now time.Time) string {
	if m.Body != "" {
		return m.Body
	}
	params := m.Params
	if params == nil {
		params = []any{}
	}
	body, err := p.eventBody(m.Module, m.Command, params, receivers, now)
	if err != nil {
		panic(fmt.Sprintf("pulltest: the params of %q are no JSON: %v", m.Command, err))
	}
	return body
}

// extras are what stands beside the body; nil stays nil.
func (m Message) extras() extras {
	return extras{userParams: m.marshal(m.UserParams), dictionary: m.marshal(m.Dictionary)}
}

func (m Message) marshal(extra any) json.RawMessage {
	if extra == nil {
		return nil
	}
	data, err := json.Marshal(extra)
	if err != nil {
		panic(fmt.Sprintf("pulltest: the extras of %q are no JSON: %v", m.Command, err))
	}
	return data
}

// keep is how long the message is kept, in whole seconds.
func (m Message) keep() time.Duration {
	if m.Expiry == 0 {
		return defaultExpiry
	}
	return wholeSeconds(m.Expiry)
}

// wholeSeconds is what the protocol can say; a positive expiry stays one.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

func (m Message) target() Target {
	if m.User != 0 {
		return m.To.Of(m.User)
	}
	return m.To
}

func (p *Portal) receivers(to Target) []channelKey {
	return to.keys(p.config.channel(p.opts.name(to)))
}

type eventExtra struct {
	ServerTime     string  `json:"server_time"`
	ServerTimeUnix float64 `json:"server_time_unix"`
	ServerName     string  `json:"server_name"`
	RevisionWeb    int     `json:"revision_web"`
	RevisionMobile int     `json:"revision_mobile"`
	Channel        string  `json:"channel,omitempty"`
}

// eventBody is the JSON of an event that a portal publishes now.
func (p *Portal) eventBody(module, command string, params any, receivers []channelKey, now time.Time) (string, error) {
	if module == "" {
		module = "application"
	}
	channel := ""
	if p.opts.dialect.extraChannel && len(receivers) > 0 {
		channel = receivers[0].id
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		Module  string     `json:"module_id"`
		Command string     `json:"command"`
		Params  any        `json:"params"`
		Extra   eventExtra `json:"extra"`
	}{module, command, params, eventExtra{
		ServerTime:     now.In(portalZone).Format(atomTime),
		ServerTimeUnix: float64(now.UnixMicro()) / 1e6,
		ServerName:     p.hostname(),
		RevisionWeb:    revisionWeb,
		RevisionMobile: revisionMobile,
		Channel:        channel,
	}})
	return string(bytes.TrimRight(b.Bytes(), "\n")), err
}
