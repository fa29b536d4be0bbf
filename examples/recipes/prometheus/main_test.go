package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMetrics runs the program with nothing set and reads what it serves, until
// it has handled something. Each name that the alerts and docs/metrics.md have
// is there.
func TestMetrics(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	t.Setenv("METRICS_ADDRESS", "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, printed)
		printed.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	address := lines.Text()
	for lines.Scan() && !strings.HasSuffix(lines.Text(), " paid") {
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	handled := regexp.MustCompile(`(?m)^messaging_process_duration_seconds_count\{.* [1-9]`)
	text := served(t, address)
	for !handled.MatchString(text) && ctx.Err() == nil { // it is printed before it is measured
		text = served(t, address)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^b24pull_state\{b24pull_state="live",messaging_destination_subscription_name="https://127\.0\.0\.1:\d+",messaging_system="bitrix24"\} 1$`,
		`(?m)^b24pull_cursor_saves_total\{.*\} [1-9]`,
		`(?m)^b24pull_gaps_total\{.*\} 0$`,
		`(?m)^messaging_client_consumed_messages_total\{.*\} [1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}

	metric := regexp.MustCompile(`\b(?:b24pull|messaging_client|messaging_process)_[a-z_]+`)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "../../../docs/metrics.md"} {
		said, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := metric.FindAllString(string(said), -1)
		for _, name := range names {
			if !strings.Contains(text, "# TYPE "+name+" ") && !strings.Contains(text, name+`="`) {
				t.Errorf("%s has %s, which is not served", file, name)
			}
		}
		if len(names) < 10 {
			t.Errorf("%s has %d names of metrics", file, len(names))
		}
		for _, label := range regexp.MustCompile(`b24pull_(?:state|cause)="[a-z]+"`).FindAllString(string(said), -1) {
			if !strings.Contains(text, label) {
				t.Errorf("%s has %s, which is not served", file, label)
			}
		}
	}
}

func served(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return string(body)
}

// TestAlerts: each alert fires when it should, and no other, as Prometheus's
// own tool finds.
func TestAlerts(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	switch {
	case err != nil && os.Getenv("B24PULL_PROMTOOL") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip("there is no promtool here")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", "alerts_test.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
