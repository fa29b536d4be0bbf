// Package browsertest opens the page of b24pull portal in Chromium and does
// what a person would. It is a module of its own, so that who uses b24pull does
// not get a browser driver with it.
package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
	"github.com/chromedp/cdproto/log"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"
)

// patience is how long a person would wait, and much longer: no test fails for
// being slow.
const patience = 2 * time.Minute

// chromium is the browser, or the test is skipped.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("B24PULL_CHROMIUM") == "1" {
		t.Fatal("there is no Chromium here, and B24PULL_CHROMIUM=1 says that there is to be one")
	}
	t.Skip("there is no Chromium here: install it (Debian's package is chromium) to run this test")
	return ""
}

// built is the folder of the program, once it is there.
var built string

// program is b24pull, built once.
var program = sync.OnceValues(func() (_ string, err error) {
	built, err = os.MkdirTemp("", "b24pull-browsertest-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(built, "b24pull")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-o", path, "./cmd/b24pull")
	build.Dir = filepath.Join("..", "..", "..", "..", "..")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(built)
	os.Exit(code)
}

// box is a b24pull portal at work.
type box struct {
	Control string `json:"control"`
	CAFile  string `json:"ca_file"`
	Portals []struct {
		Name        string `json:"name"`
		URL         string `json:"url"`
		AccessToken string `json:"access_token"`
	} `json:"portals"`

	command *exec.Cmd
}

// start starts b24pull portal with flags, and reads its ready line.
func start(t *testing.T, flags ...string) *box {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{command: exec.Command(path, append([]string{"portal"}, flags...)...)}
	out, err := b.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	b.command.Stderr = &said
	if err := b.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, b)
	}
	if err != nil {
		b.stop()
		t.Fatalf("no ready line: %v\n%s", err, &said)
	}
	return b
}

func (b *box) stop() {
	if b.command.ProcessState == nil {
		b.command.Process.Kill()
		b.command.Wait()
	}
}

// post asks the control API for something of the first portal.
func (b *box) post(t *testing.T, action string, body any) (answer map[string]any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(b.Control+"/v1/portals/"+b.Portals[0].Name+"/"+action, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	err = json.NewDecoder(res.Body).Decode(&answer)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %s, %v", action, res.Status, err)
	}
	return answer
}

// subscribe listens to the first portal as a user, with the SDK, until the test
// ends. The channel has the commands of the messages that arrive.
func (b *box) subscribe(t *testing.T, user int, opts ...realtime.Option) <-chan string {
	t.Helper()
	pem, err := os.ReadFile(b.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the file of the authority")
	}
	token, _ := b.post(t, "token", map[string]any{"user": user})["access_token"].(string)
	client, err := b24pull.New(
		b24pull.OAuth(b.Portals[0].URL, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})),
		b24pull.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := realtime.Subscribe(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		sub.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			got <- m.Command
			return nil
		}))
	}()
	t.Cleanup(func() { cancel(); <-done })
	limited, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := sub.WaitReady(limited); err != nil {
		t.Fatal(err)
	}
	return got
}

// expect waits for messages, in this order.
func expect(t *testing.T, got <-chan string, commands ...string) {
	t.Helper()
	for _, want := range commands {
		select {
		case command := <-got:
			if command != want {
				t.Fatalf("the subscription got %q, want %q", command, want)
			}
		case <-time.After(patience):
			t.Fatalf("the subscription does not get %q", want)
		}
	}
}

// page is a tab of Chromium.
type page struct {
	*testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // errors of scripts, and what the browser refused
}

// open opens an address in a new Chromium with a language, such as "en-US",
// and a window of a size.
func open(t *testing.T, address, language string, width, height int) *page {
	t.Helper()
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium(t)), chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.DisableGPU,
		chromedp.WindowSize(width, height), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // it does not start as root otherwise
	}
	ctx, cancelBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { chromedp.Cancel(ctx); cancelTab(); cancelBrowser() })
	p := &page{T: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.listen); err != nil { // starts the browser
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(address))
	p.until("the page is live", `document.querySelector("#link.live") !== null`)
	return p
}

func (p *page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *cdpruntime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.faults = append(p.faults, text)
	case *log.EventEntryAdded:
		refused := e.Entry.Source == log.EntrySourceNetwork && strings.Contains(e.Entry.URL, "/v1/") // by the API, as tests want it
		if e.Entry.Level == log.EntryLevelError && !refused {
			p.faults = append(p.faults, e.Entry.Text)
		}
	}
}

// clean fails if the browser has found fault with the page.
func (p *page) clean() {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range p.faults {
		p.Errorf("the browser says: %s", fault)
	}
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.Fatal(err)
	}
}

// run is do for an action that has a value.
func run[T any](p *page, action chromedp.Action[T]) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.Fatal(err)
	}
	return value
}

// eval is the value of an expression.
func eval[T any](p *page, expression string) T {
	p.Helper()
	return run(p, chromedp.Evaluate[T](expression))
}

// until waits until an expression is true.
func (p *page) until(what, expression string) {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if eval[bool](p, "Boolean("+expression+")") {
			return
		}
	}
	p.shot("failed")
	p.Fatalf("in vain: %s\nthe page says:\n%s", what, eval[string](p, `document.querySelector(".wide").innerText`))
}

// press clicks on what is seen of an element, as a person with a mouse.
func (p *page) press(selector string) {
	p.Helper()
	p.do(chromedp.ScrollIntoView(chromedp.CSS(selector)), chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// write puts a text into a field, in place of what it has.
func (p *page) write(selector, text string) {
	p.Helper()
	p.press(selector)
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.select()`), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// shot takes a picture of the page, if B24PULL_SHOTS names a folder.
func (p *page) shot(name string) {
	p.Helper()
	dir := os.Getenv("B24PULL_SHOTS")
	if dir == "" {
		return
	}
	p.do(chromedp.Sleep(300 * time.Millisecond)) // what moves comes to rest
	picture := run(p, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		p.Fatal(err)
	}
}

// message is the line of the stream whose command is the text, as an
// expression.
func message(command string) string {
	return `[...document.querySelectorAll("#stream .message")].find((m) => m.querySelector(".command").textContent === ` + quote(command) + `)`
}

// chip is a chip of a message's line, by its kind and a part of its text.
func chip(command, kind, text string) string {
	return `[...(` + message(command) + `?.querySelectorAll(".chip.` + kind + `") ?? [])].some((c) => c.textContent.includes(` + quote(text) + `))`
}

// subscriber is a row of the table of subscribers, by a part of its text.
func subscriber(class string, texts ...string) string {
	var has strings.Builder
	for _, text := range texts {
		has.WriteString(` && r.innerText.includes(` + quote(text) + `)`)
	}
	return `[...document.querySelectorAll("#subscribers tr")].some((r) => r.classList.contains("away") === ` +
		fmt.Sprint(class == "away") + has.String() + `)`
}

func quote(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}
