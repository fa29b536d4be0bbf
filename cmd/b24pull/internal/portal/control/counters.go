package control

import (
	"reflect"
	"strings"
	"unicode"

	"github.com/b24pull/b24pull/pulltest"
)

// counters are the fields of Stats by their names as in all JSON here:
// DroppedByPing is dropped_by_ping.
func counters(s pulltest.Stats) statistics {
	all := make(statistics)
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		all[snake(v.Type().Field(i).Name)] = int(v.Field(i).Int())
	}
	return all
}

func snake(name string) string {
	name = strings.ReplaceAll(name, "WebSockets", "Websockets")
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
