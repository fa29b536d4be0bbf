package pulltest

import (
	"fmt"
	"time"
)

// maxProcesses is how many there may be of each kind: a connection of each
// channel is looked for in all of them.
const maxProcesses = 1000

// check is what is wrong with the options. It is all that refuses: an option
// only takes down what it is given.
func (o *options) check() error {
	for _, check := range []func() error{o.checkNumbers, o.checkTimes, o.checkAddresses, o.checkUsers, o.checkHistory, o.checkMethods} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) checkNumbers() error {
	l := o.limits
	few := func(n int) bool { return n >= 1 && n <= maxProcesses }
	switch {
	case o.version < 1 || o.version > 5:
		return fmt.Errorf("pulltest: WithVersion(%d): there is no push server of version %[1]d, only 1 to 5", o.version)
	case !few(o.subscribers) || !few(o.publishers):
		return fmt.Errorf("pulltest: WithProcesses(%d, %d): a push server has at least one of each, and no more than %d here", o.subscribers, o.publishers, maxProcesses)
	case o.traffic < 0:
		return fmt.Errorf("pulltest: WithTraffic(%d): want a number of ids, 0 or more", o.traffic)
	case l.burst < 0 || !(l.perSecond >= 0):
		return fmt.Errorf("pulltest: WithQueryLimit(%d, %v): want numbers of 0 or more; a burst of 0 is no limit", l.burst, l.perSecond)
	case l.operating < 0 || l.perCall < 0:
		return fmt.Errorf("pulltest: WithOperatingLimit(%v, %v): want times of 0 or longer; a limit of 0 is none", l.operating, l.perCall)
	}
	return nil
}

func (o *options) checkTimes() error {
	for _, t := range []struct {
		option string
		d      time.Duration
	}{
		{"WithPingInterval", o.pingInterval},
		{"WithTextPing", o.textPing},
		{"WithGather", o.gather},
		{"WithHandover", o.handover},
		{"WithDisorder", o.disorder},
		{"WithLongPollHold", o.hold},
		{"WithIdleTimeout", o.idleTimeout},
		{"WithTokenLife", o.tokenLife},
		{"WithAccessTokenLife", o.accessLife},
		{"WithRefreshTokenLife", o.refreshLife},
	} {
		if t.d < 0 && t.d != unset {
			return fmt.Errorf("pulltest: %s(%v): want a time of 0 or longer", t.option, t.d)
		}
	}
	if o.channelLife <= 0 {
		return fmt.Errorf("pulltest: WithChannelLife(%v): want a time longer than 0", o.channelLife)
	}
	return nil
}
