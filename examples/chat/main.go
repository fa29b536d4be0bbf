// Command chat lets users of an application type to each other, past the
// portal, and shows who of them is online and who is typing.
//
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… go run ./examples/chat -to 2,3
//
// Each of the users runs it with an access token of his own, of the same
// application. Without a portal users 1 and 2 of one in memory talk to each
// other in this terminal: the lines that are typed are theirs in turn.
//
// An empty line tells the others that one is typing: a terminal hands over
// whole lines. Ctrl-C ends the program, and so does the end of the input, when
// what was said is shown. With -version 5 the push server in memory is of the
// version that tells who comes and goes; the one of version 4 is asked.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

func main() {
	to := flag.String("to", "", "talk to these `users`: ids with commas between")
	version := flag.Int("version", 4, "of the push server in memory: 4 or 5")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *to, *version, os.Stdin, os.Stdout); err != nil {
		log.Fatal("chat: ", err)
	}
}

func run(ctx context.Context, to string, version int, in io.Reader, out io.Writer) error {
	address, token := os.Getenv("B24PULL_PORTAL"), os.Getenv("B24PULL_ACCESS_TOKEN")
	switch {
	case (address == "") != (token == ""):
		return errors.New("B24PULL_PORTAL and B24PULL_ACCESS_TOKEN go together")
	case address == "" && to != "":
		return errors.New("-to is for a real portal: set B24PULL_PORTAL and B24PULL_ACCESS_TOKEN")
	case address != "" && version != 4:
		return errors.New("-version is for the portal in memory: unset B24PULL_PORTAL and B24PULL_ACCESS_TOKEN")
	case version != 4 && version != 5:
		return fmt.Errorf("-version: %d: want 4 or 5; below, clients cannot send", version)
	case address == "":
		portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithHistory())
		defer portal.Close()
		return onPortal(ctx, portal, in, out)
	}
	users, err := parseUsers(to)
	if err != nil {
		return err
	}
	client, err := login(address, token)
	if err != nil {
		return err
	}
	c, err := newChat(client, users, func(line string) { fmt.Fprintln(out, line) })
	if err != nil {
		return err
	}
	return talk(ctx, in, c)
}

// onPortal has users 1 and 2 of a portal in memory talk to each other.
func onPortal(ctx context.Context, portal *pulltest.Portal, in io.Reader, out io.Writer) error {
	defer portal.HTTPClient().CloseIdleConnections()
	var printing sync.Mutex
	var chats []*chat
	for _, user := range []int{1, 2} {
		other := int64(3 - user)
		client, err := login(portal.URL(), portal.Token(user).AccessToken, b24pull.WithHTTPClient(portal.HTTPClient()))
		if err != nil {
			return err
		}
		c, err := newChat(client, []int64{other}, func(line string) {
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintf(out, "[user %d] %s\n", user, line)
		})
		if err != nil {
			return err
		}
		chats = append(chats, c)
	}
	return talk(ctx, in, chats...)
}

func login(address, token string, opts ...b24pull.Option) (*b24pull.Client, error) {
	// An access token lives an hour: a service takes the token source of
	// oauth.Tokens, which refreshes it.
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
	return b24pull.New(b24pull.OAuth(address, tokens), opts...)
}

func parseUsers(list string) (users []int64, err error) {
	for id := range strings.SplitSeq(list, ",") {
		user, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
		if err != nil || user <= 0 {
			return nil, fmt.Errorf("-to: %q: want ids of users with commas between, like 2,3", list)
		}
		users = append(users, user)
	}
	return users, nil
}

// talk has the lines of in said by the chats in turn, until in or ctx ends, or
// trying again cannot help one of them.
func talk(ctx context.Context, in io.Reader, chats ...*chat) error {
	ctx, end := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	begun := make(chan struct{})
	for _, c := range chats {
		c.print("connecting")
		running.Go(func() {
			if err := c.run(ctx, begun); err != nil {
				end(err)
			}
		})
	}
	var err error
	if ready(ctx, chats) {
		close(begun)
		err = converse(ctx, in, chats)
		settle(ctx, chats)
	}
	end(errEnd)
	running.Wait()
	if cause := context.Cause(ctx); cause != errEnd && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// errEnd ends a conversation that has come to its end.
var errEnd = errors.New("the end")

// ready waits until all chats are connected. It reports false if ctx ends.
func ready(ctx context.Context, chats []*chat) bool {
	for _, c := range chats {
		if c.sub.WaitReady(ctx) != nil {
			return false // why ends ctx
		}
		c.print("connected")
	}
	return true
}

// A push server gathers what it sends, and may have to be asked again for what
// it has lost. So the end waits for what was said.
const (
	moment  = time.Second      // where others show it, for what they say
	longest = 10 * time.Second // where the chats of this program do
)

// settle waits until what was said is shown.
func settle(ctx context.Context, chats []*chat) {
	if len(chats) == 1 {
		pause(ctx, moment)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for {
		var missing int64
		for _, c := range chats {
			missing += c.sent.Load() - c.heard.Load()
		}
		if missing <= 0 || !pause(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// maxLine is the longest line that is said, in bytes.
const maxLine = 64 << 10

// read returns the lines of in, those that are too long cut off after maxLine,
// and why it has ended.
func read(ctx context.Context, in io.Reader) (<-chan string, <-chan error) {
	lines, ended := make(chan string), make(chan error, 1)
	go func() { // a read of a terminal cannot be broken off
		reader := bufio.NewReaderSize(in, maxLine+len("\r\n"))
		for {
			line, more, err := reader.ReadLine()
			text := string(line)
			for more && err == nil {
				_, more, err = reader.ReadLine()
			}
			switch {
			case err == io.EOF && text == "":
				ended <- nil
				return
			case err != nil && err != io.EOF:
				ended <- err
				return
			}
			select {
			case lines <- text:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines, ended
}

func converse(ctx context.Context, in io.Reader, chats []*chat) error {
	lines, ended := read(ctx, in)
	chats[0].print("type a line and Enter; an empty line tells the others that you are typing")
	for turn := 0; ; {
		c := chats[turn%len(chats)]
		select {
		case line := <-lines:
			switch text := strings.TrimSpace(line); {
			case len(line) > maxLine:
				c.print(fmt.Sprintf("not sent: the line is longer than %d bytes", maxLine))
			case text == "":
				c.send(ctx, typing, "")
			default:
				c.send(ctx, say, text)
				if turn++; len(chats) > 1 {
					chats[turn%len(chats)].print("it is your turn")
				}
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
