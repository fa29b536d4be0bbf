package pulltest

// Stats counts what a portal did since it started.
type Stats struct {
	Configs         int // answered calls of pull.application.config.get and pull.config.get
	WebSockets      int // websockets accepted
	Polls           int // long polls with a valid channel id
	PollsWithMid    int // of these, those with a valid mid, or a time in versions 1 and 2
	Connections     int // websockets and polls open now
	Published       int // messages that got an id
	ClientMessages  int // of these, those of clients, by EmitAsClient too
	Stored          int // of these, those kept for the history
	Sent            int // messages sent, live or from the history, counted for each connection
	Replayed        int // of these, those from the history
	Unheard         int // messages a silenced process did not send, counted for each connection
	DroppedByPing   int // messages not sent because a ping was under way
	Pings           int // pings sent
	PingTimeouts    int // websockets dropped because a pong was missing
	ClientPings     int // pings received
	IdleCuts        int // connections ended by the middle box of WithIdleTimeout
	TextPings       int // bare text pings sent (version 5)
	Pongs           int // bare text pongs received
	Acknowledged    int // acknowledgements of messages received (version 5)
	RefusedRequests int // requests of clients refused: by 40NN, as too large, or by an error of JSON-RPC
	StatusChanges   int // changes of users' status told, counted for each connection (version 5)
	Refused         int // websockets and polls refused for their channel id, token or client id
	Evicted         int // connections thrown out by a newer one (4029)
	TokenRequests   int // requests at the authorization server's /oauth/token/, refused ones too
	Exchanges       int // of these, authorization codes exchanged
	Refreshes       int // of these, refresh tokens taken
	Calls           int // calls of REST, refused ones too, but no faults and redirects
	QueryLimited    int // of these, those answered QUERY_LIMIT_EXCEEDED
	TimeLimited     int // of these, those answered OPERATION_TIME_LIMIT
	Redirects       int // requests answered 302 at an address the portal has left
	DroppedEvents   int // events answered true and not published: for nobody, too large, or with invalid UTF-8
	Insecure        int // requests over plain http
}

// Stats returns the counters as they are now.
func (p *Portal) Stats() Stats {
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Connections = len(h.sockets) + len(h.polls)
	return s
}
