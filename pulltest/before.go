package pulltest

import (
	"encoding/json"
	"fmt"
	"time"
)

// longBefore is how long before its beginning the portal has published what
// [WithHistory] has it hold: longer than any publish takes until it is kept.
const longBefore = time.Minute

// historyOwn is what channels hold that WithHistory gives no message.
var historyOwn = Message{Module: "pulltest", Command: "before"}

// maxBefore is how many messages there may be from before.
const maxBefore = 10_000

// WithHistory has the push server hold messages from before the portal began,
// one minute old by its clock and kept as Emit keeps them, so that a
// subscription is ready at once. By default channels begin empty, as those of a
// new application do: the push server then leaves whoever asks for the history
// without an answer, and package realtime waits two seconds to make sure that
// there is none.
//
// Each message is in the channel where Emit would send it, and in every other
// channel that the portal begins with, shared or a user's, is one of the
// portal's own: module "pulltest", command "before". So without messages all
// channels hold that one. Who starts now is given none of them; who asks for the
// history, with a cursor from before, is. They are in no [Stats], and no
// observer is told of them.
//
// [Portal.Reset] brings them back; [Portal.Forget] loses them as all else. A
// channel that replaces another begins empty. [Start] returns an error for a
// message that Emit panics at, and for one that is not kept.
func WithHistory(messages ...Message) Option {
	return func(o *options) { o.before = append([]Message{}, messages...) }
}

func (o *options) checkHistory() error {
	if len(o.before) > maxBefore {
		return fmt.Errorf("pulltest: WithHistory: %d messages; give at most %d", len(o.before), maxBefore)
	}
	for i, m := range o.before {
		user := m.target().user()
		_, known := o.user(user)
		switch {
		case m.Expiry < 0 || m.Expiry > 0 && m.keep() <= longBefore:
			return fmt.Errorf("pulltest: WithHistory: message %d is kept for %v, and would be gone by now; give it an Expiry above %v, or 0 for a day", i, m.Expiry, longBefore)
		case user != 0 && !known:
			return fmt.Errorf("pulltest: WithHistory: message %d is for user %d; WithUsers says who is there", i, user)
		}
		for _, part := range []any{m.Params, m.UserParams, m.Dictionary} {
			if _, err := json.Marshal(part); err != nil {
				return fmt.Errorf("pulltest: WithHistory: message %d is no JSON: %w", i, err)
			}
		}
	}
	return nil
}

// held is a message from before, for one audience.
type held struct {
	message   Message
	body      string
	receivers []channelKey
}

// history is what there is from before, and when it was published.
func (p *Portal) history() (messages []held, then time.Time) {
	then = p.opts.clock.now().Add(-longBefore)
	if p.opts.before == nil {
		return nil, then
	}
	filled := make(map[channelKey]bool)
	hold := func(m Message, receivers []channelKey) {
		for _, keys := range p.audiences(receivers) {
			messages = append(messages, held{m, p.messageBody(m, keys, then), keys})
			for _, key := range keys {
				filled[key] = true
			}
		}
	}
	for _, m := range p.opts.before {
		hold(m, p.receivers(m.target()))
	}
	for _, c := range p.config.present() {
		if key := c.keys()[0]; !filled[key] {
			hold(historyOwn, []channelKey{key})
		}
	}
	return messages, then
}

// hold stores messages that were published then, before anything else is. The
// caller holds h.mu.
func (h *hub) hold(messages []held, then time.Time) {
	if len(messages) > 0 {
		h.epoch = max(then.Unix(), h.pastEpoch+1)
	}
	for _, was := range messages {
		h.seq++
		m := newMessage(h.epoch, h.seq, was.body, min(was.message.keep(), maxExpiry), then, backend.sender())
		m.extras = was.message.extras()
		for _, c := range h.address(m, was.receivers, then) {
			h.store(c, then)
		}
	}
}
