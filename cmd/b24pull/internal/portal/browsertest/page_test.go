package browsertest

import (
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPage_Person does what a person would who sees the page first: looks who
// listens, emits a message, cuts the connections, and sees what the history
// brings when they come back, with push servers of all kinds.
func TestPage_Person(t *testing.T) {
	chromium(t)
	for _, version := range []string{"1", "3", "4", "5"} {
		t.Run("version "+version, func(t *testing.T) { person(t, version) })
	}
}

func person(t *testing.T, version string) {
	box := start(t, "-version", version)
	sockets := box.subscribe(t, 1)
	polls := box.subscribe(t, 2, realtime.WithTransport(realtime.TransportLongPolling))
	p := open(t, box.Control, "en-US", 1440, 1000)

	p.until("both subscribers are shown", subscriber("open", "WebSocket", "1")+" && "+subscriber("open", "Long poll", "2"))

	// a message to everybody, with the form
	p.write(`#emit [name=command]`, "order.changed")
	p.write(`#emit [name=params]`, `{"id": 7, "sum": "1290.00"}`)
	p.do(chromedp.SetValue(chromedp.CSS(`#emit [name=to]`), "shared"))
	p.press(`#emit [type=submit]`)
	expect(t, sockets, "order.changed")
	expect(t, polls, "order.changed")
	p.until("user 1 got it live", chip("order.changed", "live", "user 1 · WebSocket"))
	p.until("user 2 got it live", chip("order.changed", "live", "user 2 · Long poll"))

	// a message to one of them, in which the other has no part
	box.post(t, "emit", map[string]any{"command": "note", "user": 1})
	expect(t, sockets, "note")
	p.until("user 1 got it", chip("note", "live", "user 1"))
	if said := eval[string](p, message("note")+`.innerText`); strings.Contains(said, "user 2") {
		t.Errorf("a message to user 1 tells of user 2: %s", said)
	}

	// a ping, seen in the table and in the stream
	p.press(`#filters [data-filter=pings]`)
	p.press(`[data-action=ping]`)
	p.until("the pong is in the stream", `[...document.querySelectorAll("#stream .beat")].some((l) => l.textContent.includes("Pong from"))`)
	p.press(`#filters [data-filter=pings]`)
	p.until("the ping's time is in the table", `[...document.querySelectorAll("#subscribers tr")].some((r) => /WebSocket[^]*\d\d:\d\d:\d\d\.\d{3}[^]*\d\d:\d\d:\d\d/.test(r.innerText) && !r.innerText.includes("no pong"))`)

	// away: every answer a page, the connections cut, and a message meanwhile
	p.press(`[data-action=page]`)
	p.press(`[data-action=cut-all]`)
	p.until("it is seen that the fault goes on", `document.querySelector("[data-action=page]").getAttribute("aria-pressed") === "true"`)
	p.until("both are gone", subscriber("away", "WebSocket", "cut")+" && "+subscriber("away", "cut", "2"))
	p.write(`#emit [name=command]`, "order.cancelled")
	p.do(chromedp.SendKeys(chromedp.CSS(`#emit [name=command]`), kb.Enter)) // by the keyboard
	p.until("nobody has received it", chip("order.cancelled", "none", "user 1")+" && "+chip("order.cancelled", "none", "user 2"))
	p.shot("away-light")

	// back to normal: the history brings it
	p.press(`[data-action=behave]`)
	expect(t, sockets, "order.cancelled")
	expect(t, polls, "order.cancelled")
	p.until("user 1 got it by the history", chip("order.cancelled", "history", "user 1"))
	p.until("user 2 got it by the history", chip("order.cancelled", "history", "user 2"))
	p.until("who is back is told, and what the history brought",
		`[...document.querySelectorAll("#stream .back")].some((l) => l.innerText.includes("user 1") && l.innerText.includes("history brought 1") && l.innerText.includes("order.cancelled"))`)
	p.until("they are no longer gone", `!`+subscriber("away"))

	// statistics and credentials: what is secret is shown when asked for
	p.press(`#statistics-box > summary`)
	p.until("published and kept are told one after another", `/Messages published\s+3\s+by clients\s+0\s+kept for the history\s+3/.test(document.querySelector("#statistics").innerText)`)
	p.press(`#addresses-box > summary`)
	secret := quote(box.Portals[0].AccessToken)
	if eval[bool](p, `document.body.textContent.includes(`+secret+`)`) {
		t.Error("the access token is in the page before anybody has asked for it")
	}
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("#addresses button[aria-pressed]").forEach((b) => b.click())`))
	p.until("the credentials are shown", `document.querySelector("#addresses").innerText.includes(`+secret+`)`)
	p.press(`#statistics-box > summary`)
	p.press(`#addresses-box > summary`)

	// what is behind a message
	p.do(chromedp.Evaluate[chromedp.Void](message("order.cancelled")+`.querySelector("summary").focus()`), chromedp.KeyEvent(kb.Enter))
	p.until("its body is shown", message("order.cancelled")+`.querySelector("pre")?.textContent.includes('"command": "order.cancelled"')`)
	p.shot("person-light")
	p.press(`#theme`)
	p.shot("person-dark")
	p.press(`[data-language=ru]`)
	p.shot("person-dark-ru")
	p.clean()
}

// TestPage_LanguageAndTheme: the page takes both from the browser, and what was
// chosen is kept.
func TestPage_LanguageAndTheme(t *testing.T) {
	chromium(t)
	box := start(t)
	box.post(t, "emit", map[string]any{"command": "order.changed"})
	p := open(t, box.Control, "ru-RU", 1280, 900)
	heading := `document.querySelector("#subscribers-title").textContent`
	background := `getComputedStyle(document.body).backgroundColor`
	p.until("it speaks the browser's language", heading+` === "Подписчики"`)
	p.until("nobody listened, in Russian", chip("order.changed", "nobody", "никто не слушал"))
	p.press(`[data-language=en]`)
	p.until("it speaks English", heading+` === "Subscribers" && document.documentElement.lang === "en"`)
	p.until("what stands there already does, too", chip("order.changed", "nobody", "nobody listened"))

	scheme := func(value string) {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}
		if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			t.Fatal(err)
		}
	}
	scheme("light")
	light := eval[string](p, background)
	scheme("dark")
	p.until("it is dark where the system is", background+` !== `+quote(light)+` && document.querySelector("#theme").getAttribute("aria-pressed") === "true"`)
	dark := eval[string](p, background)
	scheme("light")
	p.press(`#theme`)
	p.until("it is dark when told to", background+` === `+quote(dark))
	p.do(chromedp.Reload())
	p.until("both choices are kept", `document.querySelector("#link.live") !== null && `+heading+` === "Subscribers" && `+background+` === `+quote(dark))
	p.press(`#theme`)
	p.until("it is light again", background+` === `+quote(light))
	p.clean()
}

// TestPage_HostileText: what comes in messages is shown as it is, and is never
// HTML.
func TestPage_HostileText(t *testing.T) {
	chromium(t)
	box := start(t)
	p := open(t, box.Control, "en-US", 1280, 900)
	const evil = `<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"><a href="javascript:hacked=3">x</a>`
	box.post(t, "emit", map[string]any{"command": evil, "module": evil, "params": map[string]any{evil: evil}})
	box.post(t, "emit", map[string]any{"body": evil})
	box.post(t, "emit", map[string]any{"body": `{"module_id":7,"command":{"a":["` + `b"]}}`})
	box.post(t, "emit", map[string]any{"command": "last"})
	p.until("all have come", message("last"))
	p.until("the command is shown as it is", message(evil))
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("#stream details").forEach((d) => { d.open = true; })`))
	p.until("so is the body", `document.querySelectorAll("#stream pre").length === 4 && [...document.querySelectorAll("#stream pre")].some((e) => e.textContent === `+quote(evil)+`)`)
	if eval[bool](p, `document.querySelector("main script, main img, main a, main [onerror]") !== null || "hacked" in window`) {
		t.Error("text of a message has become HTML")
	}
	p.clean()
}

// TestPage_Portals: another portal is started, looked at, controlled by an
// action out of the API's description, and stopped.
func TestPage_Portals(t *testing.T) {
	chromium(t)
	box := start(t)
	p := open(t, box.Control, "en-US", 1280, 900)
	p.press(`#portal-new`)
	p.until("the dialog is open", `document.querySelector("#portal-dialog").open && document.querySelector("#portal-fields [name=name]")`)
	p.press(`#portal-form [type=submit]`)
	p.until("a name is asked for", `document.activeElement.name === "name" && !document.querySelector("#portal-problem").hidden`)
	p.write(`#portal-fields [name=name]`, "shop")
	p.write(`#portal-fields [name=version]`, "9")
	p.press(`#portal-form [type=submit]`)
	p.until("the API's own words are shown", `document.querySelector("#portal-problem").textContent.includes("version")`)
	p.write(`#portal-fields [name=version]`, "3")
	p.press(`#portal-form [type=submit]`)
	p.until("the new portal is looked at", `document.querySelector("#portal-title").textContent === "shop" && document.querySelector("#portal-meta").textContent.includes("3")`)
	p.until("it is live", `document.querySelector("#link.live")`)

	p.press(`#more-actions > summary`)
	p.until("the actions are there", `document.querySelectorAll("#more-actions option").length > 20`)
	p.do(chromedp.SetValue(chromedp.CSS(`#more-actions select`), "control"), chromedp.Evaluate[chromedp.Void](`document.querySelector("#more-actions select").dispatchEvent(new Event("change"))`))
	p.write(`#more-actions [name=command]`, "config_expire")
	p.press(`#more-actions [type=submit]`)
	p.until("the command is in the stream", message("config_expire"))

	p.press(`[data-portal=portal]`)
	p.until("the first one is looked at again, which has none of it", `document.querySelector("#portal-title").textContent === "portal" && document.querySelector("#stream").children.length === 0`)
	p.press(`[data-portal=shop]`)
	p.until("the past of the other is there", message("config_expire"))
	p.press(`#portal-meta button`)
	p.until("it is asked first", `document.querySelector("#confirm").open`)
	p.press(`#confirm-yes`)
	p.until("it is gone", `document.querySelector("#portals").children.length === 1 && document.querySelector("#portal-title").textContent === "portal"`)
	p.clean()
}

// TestPage_Reconnect: the page finds a program again that was ended and started
// anew, and shows nothing of before.
func TestPage_Reconnect(t *testing.T) {
	chromium(t)
	box := start(t)
	for range 5 {
		box.post(t, "emit", map[string]any{"command": "before"})
	}
	p := open(t, box.Control, "en-US", 1280, 900)
	p.until("the past is there", message("before"))
	box.stop()
	p.until("it says that it reconnects", `document.querySelector("#link.broken")`)
	again := start(t, "-control", strings.TrimPrefix(box.Control, "http://"))
	again.post(t, "emit", map[string]any{"command": "after"})
	p.until("it is live again, with the new past only", `document.querySelector("#link.live") && `+message("after")+` && !`+message("before"))
}

// TestPage_Bounded: lists stay short, whatever happens.
func TestPage_Bounded(t *testing.T) {
	chromium(t)
	box := start(t)
	p := open(t, box.Control, "en-US", 1280, 900)
	for range 350 {
		box.post(t, "emit", map[string]any{"command": "many"})
	}
	box.post(t, "emit", map[string]any{"command": "last"})
	p.until("the newest is there", message("last"))
	if n := eval[int](p, `document.querySelector("#stream").children.length`); n != 300 {
		t.Errorf("the stream has %d lines, want 300", n)
	}
	p.until("it says how many are not shown", `document.querySelector("#stream-older").textContent.includes("51")`)
	p.clean()
}

// TestPage_Buttons: each button does what it says, and the API takes it.
func TestPage_Buttons(t *testing.T) {
	chromium(t)
	box := start(t)
	box.post(t, "emit", map[string]any{"command": "first"}) // what is forgotten and set back
	p := open(t, box.Control, "en-US", 1280, 900)
	p.until("the past is there", message("first"))
	keys := eval[[]string](p, `[...document.querySelectorAll("#actions [data-action]")].map((b) => b.dataset.action)`)
	if len(keys) < 16 || keys[len(keys)-1] != "reset" {
		t.Fatalf("the buttons are %v", keys)
	}
	// what is seen of them in the stream; reset empties it in the end
	seen := map[string]string{"expire-channel": "channel_expire", "expire-config": "config_expire", "restart": "server_restart"}
	for _, key := range keys {
		p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#toasts").replaceChildren()`))
		p.press(`[data-action=` + key + `]`)
		if eval[bool](p, `document.querySelector("#confirm").open`) {
			p.press(`#confirm-yes`)
		}
		p.until(key+" is done", `document.querySelector("#toasts").children.length > 0`)
		if said := eval[string](p, `document.querySelector("#toasts .problem")?.textContent ?? ""`); said != "" {
			t.Errorf("%s: %s", key, said)
		}
		if strings.Contains(eval[string](p, `document.querySelector("#toasts").textContent`), pulltest.SecretMark) {
			t.Errorf("%s: a secret is shown", key)
		}
		if command := seen[key]; command != "" {
			p.until("the stream has "+command, message(command))
		}
	}
	p.until("the stream is empty", `document.querySelector("#stream").children.length === 0 && document.querySelector("#link.live")`)
	box.post(t, "emit", map[string]any{"command": "anew"})
	p.until("it goes on", message("anew"))
	p.clean()
}
