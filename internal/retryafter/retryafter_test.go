package retryafter

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryafter_Wait(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"120", "", 2 * time.Minute},
		{" 120\t", "", 2 * time.Minute},
		{"007", "", 7 * time.Second},
		{"0", "", 0},
		{"-120", "", 0},
		{"+120", "", 0},
		{"1.5", "", 0},
		{"1e3", "", 0},
		{"soon", "", 0},
		{"120 s", "", 0},
		{"١٢٠", "", 0},
		{"900", "", Max},
		{"901", "", Max},
		{"9223372037", "", Max}, // seconds that overflow a Duration
		{strings.Repeat("9", 1000), "", Max},
		{at(time.Minute), "", time.Minute},
		{at(time.Minute), at(time.Hour), 0},
		{at(time.Hour + time.Minute), at(time.Hour), time.Minute},
		{at(-time.Hour + time.Minute), at(-time.Hour), time.Minute},
		{at(time.Minute), "yesterday", time.Minute},
		{at(-time.Minute), "", 0},
		{at(0), "", 0},
		{at(9000 * time.Hour), "", Max},
		{now.Add(time.Minute).Format(time.RFC850), "", time.Minute},
		{now.Add(time.Minute).Format(time.ANSIC), "", time.Minute},
		{now.Add(time.Minute).Format(time.RFC3339), "", 0},
		{"Mon, 23 Nov 9999 10:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", Max},
	}
	for _, tt := range tests {
		head := http.Header{}
		head.Set("Retry-After", tt.value)
		if tt.date != "" {
			head.Set("Date", tt.date)
		}
		if got := Wait(head, now); got != tt.want {
			t.Errorf("%.40q at %q: %v, want %v", tt.value, tt.date, got, tt.want)
		}
	}
}
