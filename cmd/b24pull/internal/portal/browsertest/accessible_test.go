package browsertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// unnamed are the controls that a screen reader has no name for.
const unnamed = `[...document.querySelectorAll("button, input, select, textarea, summary, a, dialog, nav, section")].filter((e) => {
	if (e.closest("dialog:not([open])")) return false;
	const by = (e.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
	return !(e.getAttribute("aria-label") || by || [...(e.labels ?? [])].map((l) => l.textContent).join("") ||
		(/^(BUTTON|SUMMARY|A)$/.test(e.tagName) && e.textContent.trim()));
}).map((e) => e.outerHTML.slice(0, 120))`

// faint are texts that stand out too little from what is behind them: below
// 4.5 to 1, as WCAG has it for text of this size.
const faint = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const paint = (colour, on) => {
		canvas.fillStyle = on; canvas.fillRect(0, 0, 1, 1);
		canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
	};
	const css = (c) => "rgb(" + c.join() + ")";
	const light = (c) => c.map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => e ? paint(getComputedStyle(e).backgroundColor, css(behind(e.parentElement))) : [255, 255, 255];
	const found = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.data.trim() || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || e.closest("script, noscript")) continue;
		const under = behind(e);
		const [a, b] = [light(under), light(paint(getComputedStyle(e).color, css(under)))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + e.className + ": " + walk.currentNode.data.trim().slice(0, 40));
	}
	return found;
})()`

// TestPage_Accessible: everything has a name, can be read in both themes, fits
// on a narrow screen, and can be done without a mouse.
func TestPage_Accessible(t *testing.T) {
	chromium(t)
	box := start(t)
	sockets := box.subscribe(t, 1)
	box.subscribe(t, 2, realtime.WithTransport(realtime.TransportLongPolling))
	p := open(t, box.Control, "en-US", 1280, 900)

	// something of each kind is to be seen
	box.post(t, "emit", map[string]any{"command": "order.changed", "to": "shared", "params": map[string]any{"id": 7}})
	p.until("it has come", chip("order.changed", "live", "user 1"))
	box.post(t, "misbehave", map[string]any{"services": []string{"websockets", "polls"}, "fault": "refuse", "status": 503})
	box.post(t, "cut", map[string]any{})
	box.post(t, "emit", map[string]any{"command": "order.cancelled", "to": "shared", "expiry_seconds": 0})
	p.until("it has not", chip("order.cancelled", "none", "user 1"))
	box.post(t, "emit", map[string]any{"command": "order.paid", "to": "shared"})
	p.until("they are gone", subscriber("away", "cut"))
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach((d) => { d.open = true; })`))
	look := func(what string) {
		t.Helper()
		p.do(chromedp.Sleep(200 * time.Millisecond))
		for _, e := range eval[[]string](p, faint) {
			t.Errorf("%s: too faint: %s", what, e)
		}
		for _, e := range eval[[]string](p, unnamed) {
			t.Errorf("%s: has no name: %s", what, e)
		}
	}
	for _, language := range []string{"en", "ru"} {
		p.press(`[data-language=` + language + `]`)
		p.until("it speaks "+language, `document.documentElement.lang === "`+language+`"`)
		for _, theme := range []string{"light", "dark"} {
			if eval[bool](p, `document.querySelector("#theme").getAttribute("aria-pressed") === "true"`) != (theme == "dark") {
				p.press(`#theme`)
			}
			look(language + ", " + theme)
		}
		box.post(t, "behave", map[string]any{}) // the second time there is the history, too
		p.until("the history has brought it", `document.querySelector("#stream .chip.history")`)
	}
	expect(t, sockets, "order.changed", "order.paid")
	p.press(`#portal-new`)
	p.until("a dialog is open", `document.querySelector("#portal-dialog").open`)
	look("the dialog")
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until("Escape has closed it", `!document.querySelector("#portal-dialog").open`)

	for _, width := range []int64{1280, 768, 360} {
		p.do(chromedp.EmulateViewport(width, 780), chromedp.Sleep(200*time.Millisecond))
		if wide := eval[int64](p, `document.documentElement.scrollWidth`); wide > width {
			t.Errorf("on a screen %d wide the page is %d wide", width, wide)
		}
		p.shot(fmt.Sprintf("wide-%d", width))
	}

	// without a mouse: from the beginning of the page to the button, and press it
	p.do(chromedp.EmulateViewport(1280, 900), chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	var way []string
	for range 200 {
		p.do(chromedp.KeyEvent(kb.Tab))
		at := eval[string](p, `document.activeElement.dataset.action ?? document.activeElement.id ?? ""`)
		if way = append(way, at); at == "ping" {
			break
		}
	}
	p.do(chromedp.KeyEvent(" "))
	p.until("Tab and Space have pinged by way of "+strings.Join(way, " "), `document.querySelector("#toasts").textContent.includes("Пинг")`)
	p.until("the focus has stayed", `document.activeElement.dataset.action === "ping"`)
	p.clean()
}
