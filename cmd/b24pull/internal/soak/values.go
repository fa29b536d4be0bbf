package soak

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// span is a flag: a time, or a range of times to choose from. 0 is never.
type span struct{ min, max time.Duration }

func (s *span) String() string {
	if s.min == s.max {
		return s.min.String()
	}
	return s.min.String() + "-" + s.max.String()
}

func (s *span) Set(text string) error {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	shortest, err := time.ParseDuration(low)
	if err != nil {
		return err
	}
	longest, err := time.ParseDuration(high)
	if err != nil {
		return err
	}
	if shortest < 0 || longest < shortest || longest > 0 && shortest == 0 {
		return fmt.Errorf("want a range such as 100ms-600ms, or 0 for never")
	}
	s.min, s.max = shortest, longest
	return nil
}

// random is a time within the span.
func (s *span) random() time.Duration {
	return s.min + rand.N(s.max-s.min+1)
}

// size is a flag: a number of bytes.
type size int64

var units = []struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

func (s *size) Set(text string) error {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n*unit.bytes < 1e12) {
			break
		}
		*s = size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("want a size such as 200MB")
}

// list is a flag: words with commas between them.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = strings.Split(text, ",")
	return nil
}
