package pulltest_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// Faults of calls: an error, no answer at all, or a cut behind the call.
func TestRPCFaults_Calls(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws, publish := connectUser(t, p, 1), params{"userList": []int{2}, "body": tick("x")}
		p.Misbehave(pulltest.Publishing, pulltest.RPCError(-32603, "Internal error").Times(1))
		if got := rpcAsk(t, ws, "publish", publish); got != `"error":{"code":-32603,"message":"Internal error"}` {
			t.Errorf("answer %s", got)
		}
		if got := rpcAsk(t, ws, "publish", publish); got != rpcTrue {
			t.Errorf("after one error: %s", got)
		}
		p.Misbehave(pulltest.Publishing, pulltest.Stall)
		stalledWS := connectUser(t, p, 1)
		stalledWS.WriteMessage(websocket.TextMessage, rpcCall("publish", 1, publish))
		silent(t, "a stalled call", stalledWS)
		if n := p.Stats().ClientMessages; n != 1 {
			t.Errorf("%d published", n)
		}
		p.Misbehave(pulltest.Publishing, pulltest.LoseAnswer)
		ws.WriteMessage(websocket.TextMessage, rpcCall("publish", 1, publish))
		if _, _, err := ws.ReadMessage(); err == nil || websocket.IsCloseError(err, 1000) {
			t.Errorf("read %v", err)
		}
		if n := p.Stats().ClientMessages; n != 2 {
			t.Errorf("%d published", n)
		}
		target := p.PushURL() + "/rest/?token=" + configOf(t, p, 1).JWT
		if resp, err := p.HTTPClient().Post(target, "", strings.NewReader(string(rpcCall("publish", 1, publish)))); err == nil {
			t.Errorf("a POST is answered %d", resp.StatusCode)
		}
		if n := p.Stats().ClientMessages; n != 3 {
			t.Errorf("%d published", n)
		}
		p.Misbehave(pulltest.Publishing, pulltest.WebPage)
		if r := post(t, p, target, rpcCall("publish", 1, publish)); r.status != 200 || !strings.Contains(string(r.body), "<html>") {
			t.Errorf("a POST: %d %s", r.status, r.body)
		}
		p.Misbehave(pulltest.Publishing, pulltest.RPCError(-32603, "Internal error"))
		if r := post(t, p, target, rpcCall("publish", 1, publish)); !strings.Contains(string(r.body), "-32603") {
			t.Errorf("a POST: %d %s", r.status, r.body)
		}
		p.Behave(pulltest.Publishing)
		if r := post(t, p, target, rpcCall("publish", 1, publish)); !strings.Contains(string(r.body), rpcTrue) {
			t.Errorf("a POST: %d %s", r.status, r.body)
		}
	})
}

// Version 4 meets the faults of what clients send, too, and serves subscribers.
func TestRPCFaults_RequestBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		target := p.PushURL() + "/rest/?CHANNEL_ID=" + url.QueryEscape(channelParam(t, p))
		id, signature, _ := strings.Cut(channels(t, p).Channels["private"].PublicID, ".")
		batch := publishRequest(incomingMessage(`{}`, 60, publicReceiver(unhex(t, id), unhex(t, signature))))
		p.Misbehave(pulltest.Publishing, pulltest.Refuse(429).WithRetryAfter("7"))
		if r := post(t, p, target, batch); r.status != 429 || r.header.Get("Retry-After") != "7" {
			t.Errorf("%d %v", r.status, r.header)
		}
		p.Misbehave(pulltest.Publishing, pulltest.LoseAnswer)
		if resp, err := p.HTTPClient().Post(target, "", strings.NewReader(string(batch))); err == nil {
			t.Errorf("answered %d", resp.StatusCode)
		}
		synctest.Wait()
		if s := p.Stats(); s.ClientMessages != 1 || s.RefusedRequests != 0 {
			t.Errorf("stats %+v", s)
		}
		if r := pollMid(t, p, zeros); r.status != 200 {
			t.Errorf("a poll: %d", r.status)
		}
	})
}
