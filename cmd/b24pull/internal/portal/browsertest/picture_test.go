package browsertest

import (
	"os"
	"testing"

	"github.com/b24pull/b24pull/realtime"
	"github.com/chromedp/chromedp"
)

// TestPage_Picture takes the pictures of the documentation: messages that were
// received live, by the history and not at all.
func TestPage_Picture(t *testing.T) {
	chromium(t)
	if os.Getenv("B24PULL_SHOTS") == "" {
		t.Skip("set B24PULL_SHOTS to the folder that pictures are to go to")
	}
	box := start(t, "-portal", "main:4", "-portal", "shop:5")
	sockets := box.subscribe(t, 1)
	polls := box.subscribe(t, 2, realtime.WithTransport(realtime.TransportLongPolling))
	p := open(t, box.Control, "en-US", 1360, 850)
	emit := func(command, to string, more ...any) {
		t.Helper()
		message := map[string]any{"command": command, "to": to, "params": map[string]any{"id": 7}}
		for i := 0; i < len(more); i += 2 {
			message[more[i].(string)] = more[i+1]
		}
		box.post(t, "emit", message)
	}
	emit("order.changed", "shared")
	emit("chat.message", "private", "module", "im", "user", 1)
	expect(t, sockets, "order.changed", "chat.message")
	expect(t, polls, "order.changed")
	p.until("they got it live", chip("chat.message", "live", "user 1")+" && "+subscriber("open", "Long poll"))
	box.post(t, "ping", map[string]any{})
	box.post(t, "misbehave", map[string]any{"services": []string{"websockets", "polls"}, "fault": "bad_gateway"})
	p.press(`[data-action=cut-all]`)
	p.until("both are gone", subscriber("away", "1", "cut")+" && "+subscriber("away", "2", "cut"))
	emit("typing", "shared", "expiry_seconds", 0)
	emit("order.paid", "shared")
	p.until("nobody has it", chip("order.paid", "none", "user 1"))
	p.press(`[data-action=behave]`)
	expect(t, sockets, "order.paid")
	expect(t, polls, "order.paid")
	p.until("all is told", chip("order.paid", "history", "user 1")+" && "+chip("order.paid", "history", "user 2")+" && "+subscriber("open", "WebSocket")+" && "+subscriber("open", "Long poll"))
	emit("stock.low", "shared", "params", map[string]any{"product": "A-113", "left": 2})
	expect(t, sockets, "stock.low")
	expect(t, polls, "stock.low")
	p.until("it is live again", chip("stock.low", "live", "user 1")+" && "+subscriber("open", "Long poll"))
	p.until("nothing is said any more", `document.querySelector("#toasts").children.length === 0`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur(); scrollTo(0, 0)`))
	p.shot("picture-light")
	p.press(`#theme`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	p.shot("picture-dark")
	p.press(`[data-language=ru]`)
	p.do(chromedp.EmulateViewport(400, 850), chromedp.Evaluate[chromedp.Void](`document.querySelector("#stream-title").scrollIntoView(); document.activeElement.blur()`))
	p.shot("picture-narrow")
}
