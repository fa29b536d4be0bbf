package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
)

// TestCursor runs the program with nothing set until it has started for the
// third time: the sums are those of all payments, each once.
func TestCursor(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &demo.Output{Enough: func(text string) bool {
		_, third, _ := strings.Cut(text, "started\n")
		_, third, _ = strings.Cut(third, "started\n")
		_, third, _ = strings.Cut(third, "started\n")
		return strings.Contains(third, "paid")
	}, End: cancel}
	if err := run(ctx, out); err != nil {
		t.Fatal(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("had to be stopped, and has printed %q", out)
	}
	n, sum := 0, 0
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "Ada") {
			n++
			sum += n
			if line != says(n, sum) {
				t.Errorf("printed %q, want %q", line, says(n, sum))
			}
		}
	}
	if n == 0 {
		t.Errorf("printed %q", out)
	}
}

// errKilled is the end of a process.
var errKilled = errors.New("killed")

// mortal is a database whose process is killed at some updates, before or after
// they are stored.
type mortal struct {
	database
	updates int
	ended   func() // called when all is stored
}

func (m *mortal) update(change func(*data)) error {
	m.updates++
	if m.updates%7 == 3 {
		return errKilled
	}
	var sum int
	err := m.database.update(func(d *data) { change(d); sum = d.Paid["the end"] })
	if m.updates%5 == 4 && err == nil {
		err = errKilled
	}
	if sum > 0 {
		m.ended()
	}
	return err
}

// TestCursorKilled: however often the program is killed, each payment is
// counted once.
func TestCursorKilled(t *testing.T) {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	client, err := demo.Client(portal)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := &mortal{database: &file{path: filepath.Join(t.TempDir(), "payments.json")}, ended: cancel}

	want := map[string]int{"Ada": 0, "Bob": 0, "the end": 1}
	pay := func(customer string, cents int) {
		portal.Emit(pulltest.Message{Command: "order.paid", Params: payment{customer, cents}})
	}
	for n := range 60 {
		customer := []string{"Ada", "Bob"}[n%2]
		pay(customer, n)
		want[customer] += n
		if n%10 == 0 {
			portal.Emit(pulltest.Message{Command: "order.paid", Params: []string{"no payment"}})
			portal.EmitAsClient(pulltest.Message{Command: "order.paid", Params: payment{customer, 1_000_000}})
		}
	}
	pay("the end", 1)

	kills := 0
	for ctx.Err() == nil {
		err := count(ctx, client, db, new(strings.Builder))
		switch {
		case errors.Is(err, errKilled):
			kills++
		case err != nil:
			t.Fatal(err)
		}
	}
	got, err := db.load()
	if err != nil {
		t.Fatal(err)
	}
	for customer, sum := range want {
		if got.Paid[customer] != sum {
			t.Errorf("%s has paid %d, want %d", customer, got.Paid[customer], sum)
		}
	}
	if kills < 10 {
		t.Errorf("killed %d times", kills)
	}
}

// TestFile: what cannot be read is an error, and is left as it is.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "payments.json")
	const broken = `{"paid":`
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	db := &file{path: path}
	if err := db.update(func(*data) {}); err == nil {
		t.Error("a broken file was taken for an empty one")
	}
	if text, err := os.ReadFile(path); string(text) != broken {
		t.Errorf("the file is %q, %v", text, err)
	}
	gone := &file{path: filepath.Join(t.TempDir(), "no", "such", "folder")}
	if err := gone.update(func(*data) {}); err == nil {
		t.Error("there is no folder, and all went well")
	}
}

// says is the line of Ada's payment.
func says(cents, sum int) string {
	return fmt.Sprintf("Ada has paid %d cents, %d in all\n", cents, sum)
}
