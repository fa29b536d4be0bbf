package listen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/b24pull/b24pull/realtime"
)

// printEvent prints one event on a line.
func printEvent(w io.Writer, m realtime.Message, asJSON bool) error {
	if asJSON {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", line)
		return err
	}
	mark := ""
	if m.Replayed {
		mark = "  (from the history)"
	}
	_, err := fmt.Fprintf(w, "%s  %-7s  %-12s %-16s %s%s\n", m.Time.Local().Format(time.DateTime), m.Sender.Type, printable(m.Module), printable(m.Command), oneLine(m.Params), mark)
	return err
}

// oneLine is JSON on one line.
func oneLine(params json.RawMessage) string {
	var compact bytes.Buffer
	if json.Compact(&compact, params) != nil {
		return ""
	}
	return escaped(compact.String())
}

// escaped is JSON with everything escaped that would play tricks on a terminal.
func escaped(compact string) string {
	var line strings.Builder
	for _, r := range compact {
		if unicode.IsPrint(r) {
			line.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&line, "\\u%04x", u)
		}
	}
	return line.String()
}

// printable keeps a name from playing tricks on the terminal.
func printable(name string) string {
	quoted := strconv.Quote(name)
	if quoted[1:len(quoted)-1] == name {
		return name
	}
	return quoted
}

// notes tells beside the events what happens to the connection.
type notes struct {
	mu   sync.Mutex
	out  io.Writer
	lost bool
}

func (n *notes) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, "# "+format+"\n", args...)
}

func (n *notes) observe(e realtime.Event) {
	switch e := e.(type) {
	case realtime.StateChange:
		switch e.To {
		case realtime.StateWaiting:
			n.lost = true
			n.say("not connected: %v; trying again in %v", e.Cause, e.Delay.Round(100*time.Millisecond))
		case realtime.StateDegraded:
			n.lost = true
			n.say("the history cannot be read, something may be missing: %v", e.Cause)
		case realtime.StateLive:
			if n.lost {
				n.say("connected again by %v; reading what was missed", e.Transport)
			} else {
				n.say("connected by %v", e.Transport)
			}
		}
	case realtime.Renewal:
		switch {
		case e.Err != nil:
			n.say("no new config: %v; trying again in %v", e.Err, e.Delay.Round(100*time.Millisecond))
		case e.Changed:
			n.say("new channels: %v", e.Reason)
		}
	case realtime.Gap:
		n.say("something may be lost: %v", e.Reason)
	case realtime.Undecodable:
		n.say("%v", e.Err)
		if e.Count > 1 {
			n.say("%d messages could not be decoded", e.Count)
		}
	}
}
