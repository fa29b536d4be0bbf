package enum

import (
	"strings"
	"testing"
)

type color uint8

func TestEnum(t *testing.T) {
	names := []string{"red", "light blue"}
	for c, want := range []string{"red", "light blue", "color(2)"} {
		if got := Name(names, color(c)); got != want {
			t.Errorf("%d is %q, want %q", c, got, want)
		}
	}
	c := color(7)
	if err := Parse(names, []byte("light blue"), &c); err != nil || c != 1 {
		t.Errorf("%v %v", c, err)
	}
	if err := Parse(names, []byte("green"), &c); err == nil || c != 1 || !strings.Contains(err.Error(), "red, light blue") {
		t.Errorf("%v %v", c, err)
	}
}
