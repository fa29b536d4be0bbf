package realtime

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// at builds a status; each test row names only what matters to it.
func at(state State, change ...func(*status)) status {
	s := status{state: state}
	switch state {
	case StateConnecting, StateLive, StateWaiting, StatePaused:
		s.configured = true
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func anchoredStatus(s *status) { s.anchored, s.sure, s.ready = true, true, true }
func sureStatus(s *status)     { s.anchored, s.sure = true, true }
func goesOn(s *status)         { s.anchored = true }
func replaying(s *status)      { s.replay = replayRunning }
func replayBroke(s *status)    { s.replay = replayWaiting }
func wholePending(s *status)   { s.pending = replayWhole }
func shortPending(s *status)   { s.pending = replayShort }
func noConfig(s *status)       { s.configured = false }
func staleConfig(s *status)    { s.configured, s.stale = false, true }
func suspectConfig(s *status)  { s.configured, s.stale, s.configSuspect = false, true, true }
func pinged(n int) func(*status) {
	return func(s *status) { s.pings, s.fence = n, n }
}
func unanswered(pings, fence int) func(*status) {
	return func(s *status) { s.pings, s.fence = pings, fence }
}
func polling(s *status)        { s.polling = true }
func auto(s *status)           { s.auto = true }
func prefersPolling(s *status) { s.preferPolling = true }
func probing(s *status)        { s.upgradeProbe = true }
func replaced(s *status)       { s.replaced = true }
func needed(s *status)         { s.needed = true }
func leaving(s *status)        { s.leaving = true }
func refused(s *status)        { s.replayRefused = true }
func tried(n int) func(*status) {
	return func(s *status) { s.attempt = n }
}
func replayTried(n int) func(*status) {
	return func(s *status) { s.replayAttempt = n }
}

// TestMachine_Decide names every transition of a subscription's life.
func TestMachine_Decide(t *testing.T) {
	tests := []struct {
		name    string
		in      status
		event   event
		want    status
		actions []action
	}{
		// configuring
		{"start", at(StateIdle), event{kind: evStart}, at(StateConfiguring), []action{doFetch(false, false)}},
		{
			"the first replay waits for the websocket",
			at(StateConfiguring), event{kind: evConfig},
			at(StateConnecting), []action{doDial},
		},
		{
			"and is the one that follows the connect",
			at(StateConnecting), event{kind: evOpened},
			at(StateLive, replaying), []action{doHold, doReplay},
		},
		{
			"with a cursor there is no first replay",
			at(StateConfiguring, anchoredStatus), event{kind: evConfig},
			at(StateConnecting, anchoredStatus), []action{doDial},
		},
		{
			"a new config ends its staleness, and a replay that goes on is not begun again",
			at(StateConfiguring, staleConfig, anchoredStatus, replaying), event{kind: evConfig},
			at(StateConnecting, anchoredStatus, replaying), []action{doDial},
		},
		{
			"a config that comes while paused is kept",
			at(StatePaused, noConfig, anchoredStatus), event{kind: evConfig},
			at(StatePaused, anchoredStatus), nil,
		},
		{
			"a config that does not come while paused is asked for later",
			at(StatePaused, noConfig, anchoredStatus), event{kind: evConfigFailed},
			at(StatePaused, noConfig, anchoredStatus), nil,
		},
		{
			"a config that cannot come ends it in any state",
			at(StatePaused, noConfig), event{kind: evConfigFailed, failure: failFatal},
			at(StateClosed), nil,
		},
		{
			"no config: wait",
			at(StateConfiguring), event{kind: evConfigFailed},
			at(StateWaiting, noConfig, tried(1)), []action{doWait(1, false)},
		},
		{
			"no config ever: over",
			at(StateConfiguring), event{kind: evConfigFailed, failure: failFatal},
			at(StateClosed), nil,
		},

		// connecting
		{
			"connected before the first replay is done: not ready, and another replay is due",
			at(StateConnecting, replaying), event{kind: evOpened},
			at(StateLive, replaying, wholePending), []action{doHold},
		},
		{
			"connected after the first replay: ready",
			at(StateConnecting, sureStatus), event{kind: evOpened},
			at(StateLive, anchoredStatus, replaying), []action{doHold, doReplay, doReady},
		},
		{
			"a cursor to go on from does not make it ready: the history is to answer",
			at(StateConnecting, goesOn), event{kind: evOpened},
			at(StateLive, goesOn, replaying), []action{doHold, doReplay},
		},
		{
			"it has answered",
			at(StateLive, goesOn, replaying), event{kind: evReplayEnded},
			at(StateLive, anchoredStatus), []action{doReady},
		},
		{
			"nothing answers, nor does something else",
			at(StateLive, goesOn, replaying), event{kind: evReplayBroken, silent: true},
			at(StateLive, anchoredStatus, replayBroke, replayTried(1)), []action{doReplayWait(1), doReady},
		},
		{
			"something else has answered",
			at(StateLive, goesOn, replaying), event{kind: evReplayBroken},
			at(StateLive, goesOn, replayBroke, replayTried(1)), []action{doReplayWait(1)},
		},
		{
			"connected again: a replay",
			at(StateConnecting, anchoredStatus, tried(2)), event{kind: evOpened},
			at(StateLive, anchoredStatus, tried(2), replaying), []action{doHold, doReplay},
		},
		{
			"connected again while a replay goes on: another is due",
			at(StateConnecting, anchoredStatus, replaying), event{kind: evOpened},
			at(StateLive, anchoredStatus, replaying, wholePending), []action{doHold},
		},
		{
			"connected again while a replay is broken off: it goes on at once, and another is due",
			at(StateConnecting, anchoredStatus, replayBroke), event{kind: evOpened},
			at(StateLive, anchoredStatus, replaying, wholePending), []action{doHold, doReplay},
		},
		{
			"could not connect",
			at(StateConnecting, anchoredStatus, tried(1)), event{kind: evLost},
			at(StateWaiting, anchoredStatus, tried(2)), []action{doWait(2, true)},
		},
		{
			"could not connect: the first replay waits no longer",
			at(StateConnecting), event{kind: evLost},
			at(StateWaiting, tried(1), replaying), []action{doWait(1, true), doReplay},
		},
		{
			"could not connect while the first replay runs, or waits",
			at(StateConnecting, tried(1), replayBroke), event{kind: evLost},
			at(StateWaiting, tried(2), replayBroke), []action{doWait(2, true)},
		},
		{
			"refused for its channels: a new config first",
			at(StateConnecting), event{kind: evLost, failure: failConfig},
			at(StateWaiting, staleConfig, tried(1)), []action{doWait(1, false)},
		},
		{
			"refused for the crowd: wait long",
			at(StateConnecting, anchoredStatus), event{kind: evLost, failure: failCrowded},
			at(StateWaiting, anchoredStatus, tried(1)), []action{doWaitLong},
		},

		// long polling
		{
			"a poll waits for the first replay",
			at(StateConfiguring, polling), event{kind: evConfig},
			at(StateConnecting, polling, replaying), []action{doReplay},
		},
		{
			"the first replay is refused: a new config first",
			at(StateConnecting, polling, replaying), event{kind: evReplayBroken, failure: failConfig},
			at(StateWaiting, polling, staleConfig, tried(1)), []action{doWait(1, false)},
		},
		{
			"try the first replay again",
			at(StateWaiting, polling, tried(1)), event{kind: evRetry},
			at(StateConnecting, polling, tried(1), replaying), []action{doReplay},
		},
		{
			"the first replay breaks off: perhaps websockets work",
			at(StateConnecting, auto, polling, replaying, tried(5)), event{kind: evReplayBroken},
			at(StateWaiting, auto, tried(6)), []action{doWait(6, true)},
		},
		{
			"the first replay is done: the first poll",
			at(StateConnecting, polling, replaying), event{kind: evReplayEnded},
			at(StateConnecting, polling, sureStatus), []action{doDial},
		},
		{
			"another replay is done before the first poll is with the server",
			at(StateConnecting, polling, anchoredStatus, replaying), event{kind: evReplayEnded},
			at(StateConnecting, polling, anchoredStatus), nil,
		},
		{
			"a poll is over: the next one",
			at(StateLive, polling, anchoredStatus), event{kind: evPolled},
			at(StateLive, polling, anchoredStatus), []action{doDial},
		},
		{
			"a poll brought one message: the next one, and a short replay beside it",
			at(StateLive, polling, anchoredStatus), event{kind: evPolled, again: true},
			at(StateLive, polling, anchoredStatus, replaying), []action{doDial, doShortReplay},
		},
		{
			"a poll has been hanging for a moment: a short replay",
			at(StateLive, polling, anchoredStatus), event{kind: evHanging},
			at(StateLive, polling, anchoredStatus, replaying), []action{doShortReplay},
		},
		{
			"one message during a replay: a short replay is due",
			at(StateLive, polling, anchoredStatus, replaying), event{kind: evPolled, again: true},
			at(StateLive, polling, anchoredStatus, replaying, shortPending), []action{doDial},
		},
		{
			"a whole replay that is due shows as much",
			at(StateLive, polling, anchoredStatus, replaying, wholePending), event{kind: evPolled, again: true},
			at(StateLive, polling, anchoredStatus, replaying, wholePending), []action{doDial},
		},
		{
			"the short replay's turn",
			at(StateLive, polling, anchoredStatus, replaying, shortPending), event{kind: evReplayEnded},
			at(StateLive, polling, anchoredStatus, replaying), []action{doShortReplay},
		},
		{
			"a short replay's answer calls for a whole one",
			at(StateLive, polling, anchoredStatus, replaying, shortPending), event{kind: evReplayEnded, again: true},
			at(StateLive, polling, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"no replay for long: one",
			at(StateLive, polling, anchoredStatus), event{kind: evIdle},
			at(StateLive, polling, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"a poll is not answered",
			at(StateLive, polling, anchoredStatus), event{kind: evStuck},
			at(StateWaiting, polling, anchoredStatus, tried(1)), []action{doDrop, doWait(1, true)},
		},

		// from one transport to the other
		{
			"the fifth failure: long polling, and perhaps another config",
			at(StateConnecting, auto, tried(4)), event{kind: evLost},
			at(StateWaiting, auto, polling, prefersPolling, tried(5), suspectConfig), []action{doWait(5, false)},
		},
		{
			"the fourth: not yet",
			at(StateConnecting, anchoredStatus, auto, tried(3)), event{kind: evLost},
			at(StateWaiting, anchoredStatus, auto, tried(4)), []action{doWait(4, true)},
		},
		{
			"a choice of the user's stays",
			at(StateConnecting, anchoredStatus, tried(7)), event{kind: evLost},
			at(StateWaiting, anchoredStatus, tried(8)), []action{doWait(8, true)},
		},
		{
			"polls fail as well: it was not the websocket's fault",
			at(StateConnecting, auto, polling, tried(5)), event{kind: evLost},
			at(StateWaiting, auto, tried(6)), []action{doWait(6, true)},
		},
		{
			"long polling that has not lasted either: websockets again",
			at(StateLive, auto, polling, anchoredStatus, tried(5)), event{kind: evLost},
			at(StateWaiting, auto, anchoredStatus, tried(6)), []action{doWait(6, true)},
		},
		{
			"long polling has failed, and the websocket that was tried again: long polling",
			at(StateConnecting, anchoredStatus, auto, prefersPolling, tried(1)), event{kind: evLost},
			at(StateWaiting, anchoredStatus, auto, prefersPolling, polling, tried(2)), []action{doWait(2, true)},
		},
		{
			"a websocket lasts: five may fail again",
			at(StateLive, auto, prefersPolling, anchoredStatus, tried(6)), event{kind: evStable},
			at(StateLive, auto, anchoredStatus), nil,
		},
		{
			"polls last: that says nothing of websockets",
			at(StateLive, auto, polling, prefersPolling, anchoredStatus, tried(6)), event{kind: evStable},
			at(StateLive, auto, polling, prefersPolling, anchoredStatus), nil,
		},
		{
			"polls that have worked go on",
			at(StateLive, auto, polling, anchoredStatus), event{kind: evLost},
			at(StateWaiting, auto, polling, anchoredStatus, tried(1)), []action{doWait(1, true)},
		},
		{
			"a config that cannot be fetched says nothing of the transport",
			at(StateConfiguring, auto, tried(6)), event{kind: evConfigFailed},
			at(StateWaiting, noConfig, auto, tried(7)), []action{doWait(7, false)},
		},
		{
			"an upgrade probe is connected: it has to last",
			at(StateConnecting, probing, sureStatus), event{kind: evOpened},
			at(StateLive, probing, sureStatus, replaying), []action{doHold, doReplay},
		},
		{
			"it has lasted",
			at(StateLive, probing, sureStatus), event{kind: evStable},
			at(StateLive, anchoredStatus), []action{doReady},
		},
		{
			"an upgrade probe that fails is over",
			at(StateConnecting, probing, anchoredStatus), event{kind: evLost},
			at(StateClosed, probing, anchoredStatus, func(s *status) { s.configured = true }), nil,
		},

		// another config, where nothing answers
		{
			"it is asked for past the cache",
			at(StateWaiting, suspectConfig, tried(5)), event{kind: evRetry},
			at(StateConfiguring, suspectConfig, tried(5)), []action{doFetch(true, true)},
		},
		{
			"it comes",
			at(StateConfiguring, suspectConfig, anchoredStatus, tried(5)), event{kind: evConfig},
			at(StateConnecting, anchoredStatus, tried(5)), []action{doDial},
		},
		{
			"it does not: the present one is tried again",
			at(StateConfiguring, suspectConfig, anchoredStatus, tried(5)), event{kind: evConfigFailed},
			at(StateConnecting, anchoredStatus, tried(5)), []action{doDial},
		},
		{
			"the portal wants us no more: the present one is used to its end",
			at(StateConfiguring, suspectConfig, anchoredStatus, tried(5)), event{kind: evConfigFailed, failure: failFatal},
			at(StateConnecting, anchoredStatus, tried(5)), []action{doDial},
		},
		{
			"five more failures: again",
			at(StateConnecting, anchoredStatus, tried(9)), event{kind: evLost},
			at(StateWaiting, suspectConfig, anchoredStatus, tried(10)), []action{doWait(10, false)},
		},
		{
			"a config that the server refuses is of no use",
			at(StateConnecting, anchoredStatus, tried(9)), event{kind: evLost, failure: failConfig},
			at(StateWaiting, staleConfig, anchoredStatus, tried(10)), []action{doWait(10, false)},
		},

		// replaced channels
		{
			"replaced: it stays connected",
			at(StateLive, anchoredStatus), event{kind: evReplaced},
			at(StateLive, anchoredStatus, replaced), nil,
		},
		{
			"replaced while connecting: no more of that",
			at(StateConnecting, anchoredStatus), event{kind: evReplaced},
			at(StateWaiting, anchoredStatus, replaced), []action{doHangUp},
		},
		{
			"replaced by what lacks a channel, while connecting: it goes on",
			at(StateConnecting, anchoredStatus, needed), event{kind: evReplaced},
			at(StateConnecting, anchoredStatus, needed, replaced), nil,
		},
		{
			"the same while another config was waited for: it makes do with its own",
			at(StateConfiguring, anchoredStatus, needed, suspectConfig), event{kind: evReplaced},
			at(StateConnecting, anchoredStatus, needed, replaced), []action{doDial},
		},
		{
			"the same and lost: connected again, and no other config is asked for",
			at(StateLive, anchoredStatus, needed, replaced, tried(4)), event{kind: evLost, failure: failConfig},
			at(StateWaiting, anchoredStatus, needed, replaced, tried(5)), []action{doWait(5, true)},
		},
		{
			"the same after the delay",
			at(StateWaiting, anchoredStatus, needed, replaced), event{kind: evRetry},
			at(StateConnecting, anchoredStatus, needed, replaced), []action{doDial},
		},
		{
			"replaced and lost: not connected again",
			at(StateLive, anchoredStatus, replaced), event{kind: evLost},
			at(StateWaiting, anchoredStatus, replaced), nil,
		},
		{
			"replaced, and what was missed in a pause is read: not connected again",
			at(StatePaused, anchoredStatus, replaced, replaying), event{kind: evReplayEnded},
			at(StateWaiting, anchoredStatus, replaced), nil,
		},
		{
			"replaced, and refused: what comes is for the last replay",
			at(StateLive, anchoredStatus, replaced, replaying), event{kind: evReplayBroken, failure: failConfig},
			at(StateLive, anchoredStatus, replaced, replayBroke, replayTried(1), refused), []action{doReplayWait(1)},
		},
		{
			"leave: a last replay",
			at(StateWaiting, anchoredStatus, replaced), event{kind: evLeave},
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying), []action{doReplay},
		},
		{
			"leave during a replay: a last one is due",
			at(StateLive, anchoredStatus, replaced, replaying), event{kind: evLeave},
			at(StateLive, anchoredStatus, replaced, leaving, replaying, wholePending), nil,
		},
		{
			"leave in a pause: when there is room",
			at(StatePaused, anchoredStatus, replaced), event{kind: evLeave},
			at(StatePaused, anchoredStatus, replaced, leaving), nil,
		},
		{
			"the last replay's turn",
			at(StateLive, anchoredStatus, replaced, leaving, replaying, wholePending), event{kind: evReplayEnded},
			at(StateLive, anchoredStatus, replaced, leaving, replaying), []action{doReplay},
		},
		{
			"the last replay is done: over",
			at(StateLive, anchoredStatus, replaced, leaving, replaying), event{kind: evReplayEnded},
			at(StateClosed, anchoredStatus, replaced, leaving, func(s *status) { s.configured = true }), []action{doHangUp},
		},
		{
			"the last replay is refused twice: over",
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying, replayTried(1), refused), event{kind: evReplayBroken, failure: failConfig},
			at(StateClosed, anchoredStatus, replaced, leaving, replayBroke, replayTried(2), refused, func(s *status) { s.configured = true }), []action{doHangUp, doRelease},
		},
		{
			"it is refused once: that can be a proxy's",
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying), event{kind: evReplayBroken, failure: failConfig},
			at(StateWaiting, anchoredStatus, replaced, leaving, replayBroke, replayTried(1), refused), []action{doReplayWait(1)},
		},
		{
			"it is refused, and then breaks off",
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying, replayTried(1), refused), event{kind: evReplayBroken},
			at(StateWaiting, anchoredStatus, replaced, leaving, replayBroke, replayTried(2)), []action{doReplayWait(2)},
		},
		{
			"the last replay breaks off: it goes on",
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying), event{kind: evReplayBroken},
			at(StateWaiting, anchoredStatus, replaced, leaving, replayBroke, replayTried(1)), []action{doReplayWait(1)},
		},
		{
			"the last replay breaks off again and again: over",
			at(StateWaiting, anchoredStatus, replaced, leaving, replaying, replayTried(lastPatience-1)), event{kind: evReplayBroken},
			at(StateClosed, anchoredStatus, replaced, leaving, replayBroke, replayTried(lastPatience), func(s *status) { s.configured = true }), []action{doHangUp, doRelease},
		},

		// waiting
		{"try again", at(StateWaiting, tried(1)), event{kind: evRetry}, at(StateConnecting, tried(1)), []action{doDial}},
		{
			"try again, with a new config first",
			at(StateWaiting, staleConfig), event{kind: evRetry},
			at(StateConfiguring, staleConfig), []action{doFetch(true, false)},
		},

		{"a delay that ends while paused", at(StatePaused, anchoredStatus), event{kind: evRetry}, at(StatePaused, anchoredStatus), nil},

		// live
		{
			"lost: a replay goes on without the connection it was begun for",
			at(StateLive, anchoredStatus, replaying, wholePending, pinged(1)), event{kind: evLost},
			at(StateWaiting, anchoredStatus, replaying, wholePending, tried(1)), []action{doWait(1, true)},
		},
		{"lasted", at(StateLive, tried(3)), event{kind: evStable}, at(StateLive), nil},
		{
			"server ping: hold, and ask with a ping of our own",
			at(StateLive, anchoredStatus), event{kind: evPing},
			at(StateLive, anchoredStatus, pinged(1)), []action{doHold, doPing},
		},
		{
			"our pong: a replay",
			at(StateLive, anchoredStatus, pinged(1)), event{kind: evPong},
			at(StateLive, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"the pong before the last: not yet",
			at(StateLive, anchoredStatus, pinged(2)), event{kind: evPong},
			at(StateLive, anchoredStatus, pinged(1)), nil,
		},
		{
			"a pong during a replay: another is due",
			at(StateLive, anchoredStatus, replaying, pinged(1)), event{kind: evPong},
			at(StateLive, anchoredStatus, replaying, wholePending), nil,
		},
		{
			"silence is to be kept short: a ping that no replay waits for",
			at(StateLive, anchoredStatus), event{kind: evKeepAlive},
			at(StateLive, anchoredStatus, unanswered(1, 0)), []action{doKeepAlive},
		},
		{"polls have no pings", at(StateLive, anchoredStatus, polling), event{kind: evKeepAlive}, at(StateLive, anchoredStatus, polling), nil},
		{"its pong: no replay", at(StateLive, anchoredStatus, unanswered(1, 0)), event{kind: evPong}, at(StateLive, anchoredStatus), nil},
		{
			"the server's ping while one of those is under way: the replay waits for the second pong",
			at(StateLive, anchoredStatus, unanswered(1, 0)), event{kind: evPing},
			at(StateLive, anchoredStatus, unanswered(2, 2)), []action{doHold, doPing},
		},
		{
			"the first of the two pongs",
			at(StateLive, anchoredStatus, unanswered(2, 2)), event{kind: evPong},
			at(StateLive, anchoredStatus, unanswered(1, 1)), nil,
		},
		{
			"a later ping of that kind keeps no replay waiting",
			at(StateLive, anchoredStatus, unanswered(2, 1)), event{kind: evPong},
			at(StateLive, anchoredStatus, unanswered(1, 0), replaying), []action{doReplay},
		},
		{"a pong nobody asked for", at(StateLive, anchoredStatus), event{kind: evPong}, at(StateLive, anchoredStatus), nil},
		{
			"no server ping for long: our own",
			at(StateLive, anchoredStatus), event{kind: evIdle},
			at(StateLive, anchoredStatus, pinged(1)), []action{doPing},
		},
		{
			"no pong: the connection is dropped",
			at(StateLive, anchoredStatus, pinged(1)), event{kind: evStuck},
			at(StateWaiting, anchoredStatus, tried(1)), []action{doDrop, doWait(1, true)},
		},
		{
			"many messages: a replay, without holding",
			at(StateLive, anchoredStatus), event{kind: evMany},
			at(StateLive, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"a garbled frame: a replay brings what was in it",
			at(StateLive, anchoredStatus), event{kind: evGarbled},
			at(StateLive, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"a poll was answered by the history: a replay looks through it",
			at(StateLive, anchoredStatus), event{kind: evPast},
			at(StateLive, anchoredStatus, replaying), []action{doReplay},
		},

		// reads
		{
			"the first replay is done while connected: ready",
			at(StateLive, replaying), event{kind: evReplayEnded},
			at(StateLive, anchoredStatus), []action{doReady},
		},
		{
			"the first replay has had no answer: ready, and another one waits for the server's word",
			at(StateLive, replaying), event{kind: evReplayEnded, silent: true},
			at(StateLive, anchoredStatus, replaying), []action{doReplay, doReady},
		},
		{
			"another one without an answer, not the first: none follows",
			at(StateLive, anchoredStatus, replaying), event{kind: evReplayEnded, silent: true},
			at(StateLive, anchoredStatus), nil,
		},
		{
			"the first replay is done and another is due",
			at(StateLive, replaying, wholePending), event{kind: evReplayEnded},
			at(StateLive, anchoredStatus, replaying), []action{doReplay, doReady},
		},
		{
			"the first replay is done before connected: not ready",
			at(StateConnecting, replaying), event{kind: evReplayEnded},
			at(StateConnecting, sureStatus), nil,
		},
		{
			"a replay's answer calls for another",
			at(StateLive, anchoredStatus, replaying), event{kind: evReplayEnded, again: true},
			at(StateLive, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"a replay is done after failures",
			at(StateLive, anchoredStatus, replaying, replayTried(2)), event{kind: evReplayEnded},
			at(StateLive, anchoredStatus), nil,
		},
		{
			"a replay breaks off",
			at(StateLive, anchoredStatus, replaying), event{kind: evReplayBroken},
			at(StateLive, anchoredStatus, replayBroke, replayTried(1)), []action{doReplayWait(1)},
		},
		{
			"a replay breaks off without a connection: it is not given up",
			at(StateWaiting, anchoredStatus, replaying), event{kind: evReplayBroken},
			at(StateWaiting, anchoredStatus, replayBroke, replayTried(1)), []action{doReplayWait(1)},
		},
		{
			"a replay breaks off again and again: nobody waits for it any longer",
			at(StateLive, anchoredStatus, replaying, replayTried(2)), event{kind: evReplayBroken},
			at(StateLive, anchoredStatus, replayBroke, replayTried(3)), []action{doReplayWait(3), doRelease},
		},
		{
			"a replay is refused for its channels: a new config",
			at(StateLive, anchoredStatus, replaying), event{kind: evReplayBroken, failure: failConfig},
			at(StateWaiting, staleConfig, anchoredStatus, replayBroke, replayTried(1), refused, tried(1)), []action{doReplayWait(1), doHangUp, doWait(1, false)},
		},
		{
			"a broken replay goes on",
			at(StateLive, anchoredStatus, replayBroke, replayTried(1)), event{kind: evReplayRetry},
			at(StateLive, anchoredStatus, replaying, replayTried(1)), []action{doReplay},
		},

		// the queue
		{
			"full: pause",
			at(StateLive, anchoredStatus, pinged(1)), event{kind: evFull},
			at(StatePaused, anchoredStatus), []action{doHangUp, doAbortReplay, doGiveBack},
		},
		{
			"full during a replay",
			at(StateLive, anchoredStatus, replaying, wholePending), event{kind: evFull},
			at(StatePaused, anchoredStatus), []action{doHangUp, doAbortReplay, doGiveBack},
		},
		{
			"room: first what was missed",
			at(StatePaused, anchoredStatus), event{kind: evRoom},
			at(StatePaused, anchoredStatus, replaying), []action{doReplay},
		},
		{"room while that goes on", at(StatePaused, anchoredStatus, replaying), event{kind: evRoom}, at(StatePaused, anchoredStatus, replaying), nil},
		{
			"full again",
			at(StatePaused, anchoredStatus, replaying), event{kind: evFull},
			at(StatePaused, anchoredStatus), []action{doAbortReplay, doGiveBack},
		},
		{
			"what was missed is read: connect",
			at(StatePaused, anchoredStatus, replaying), event{kind: evReplayEnded},
			at(StateConnecting, anchoredStatus), []action{doDial},
		},
		{
			"of what was missed there may be more",
			at(StatePaused, anchoredStatus, replaying), event{kind: evReplayEnded, again: true},
			at(StatePaused, anchoredStatus, replaying), []action{doReplay},
		},
		{
			"what was missed is read, but the config is gone",
			at(StatePaused, anchoredStatus, staleConfig, replaying), event{kind: evReplayEnded},
			at(StateConfiguring, anchoredStatus, staleConfig), []action{doFetch(true, false)},
		},
		{
			"what was missed cannot be read yet",
			at(StatePaused, anchoredStatus, replaying), event{kind: evReplayBroken},
			at(StatePaused, anchoredStatus, replayBroke, replayTried(1)), []action{doReplayWait(1)},
		},
		{
			"what was missed cannot be read for long: connect",
			at(StatePaused, anchoredStatus, replaying, replayTried(patience-1)), event{kind: evReplayBroken},
			at(StateConnecting, anchoredStatus, replayBroke, replayTried(patience)), []action{doReplayWait(patience), doRelease, doDial},
		},
		{
			"what was missed cannot be read with this config",
			at(StatePaused, anchoredStatus, replaying), event{kind: evReplayBroken, failure: failConfig},
			at(StateWaiting, staleConfig, anchoredStatus, replayBroke, replayTried(1), refused, tried(1)), []action{doReplayWait(1), doHangUp, doWait(1, false)},
		},
		{"room while not paused", at(StateLive, anchoredStatus), event{kind: evRoom}, at(StateLive, anchoredStatus), nil},

		// the end
		{"stop", at(StateLive, anchoredStatus, replaying), event{kind: evStop}, at(StateClosed, anchoredStatus, replaying, func(s *status) { s.configured = true }), nil},
		{"nothing after the end", at(StateClosed), event{kind: evConfig}, at(StateClosed), nil},
	}
	seen := map[eventKind]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, actions := decide(tt.in, tt.event)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(status{})); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.actions, actions, cmp.AllowUnexported(action{})); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
		seen[tt.event.kind] = true
	}
	for k := evStart; k <= evStop; k++ {
		if !seen[k] {
			t.Errorf("event %d has no row", k)
		}
	}
}

func TestMachine_StateString(t *testing.T) {
	for s := StateIdle; s <= StateClosed; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
}
