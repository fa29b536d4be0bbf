package php

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

func ExampleMap() {
	var order struct {
		ID      Int              `json:"id"`
		Paid    Bool             `json:"paid"`
		Prices  Map[string, Int] `json:"prices"`
		Options Map[string, Int] `json:"options"`
		Lines   List[Int]        `json:"lines"`
	}
	params := `{"id":"5","paid":"Y","prices":{"net":"100"},"options":[],"lines":{"0":"7","2":"9"}}`
	if err := json.Unmarshal([]byte(params), &order); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(order.ID, order.Paid, order.Prices["net"], len(order.Options), order.Lines)
	// Output: 5 true 100 0 [7 9]
}

func TestPHP_Int(t *testing.T) {
	for text, want := range map[string]Int{`5`: 5, `"5"`: 5, `-7`: -7, `"-7"`: -7, `null`: 0, `""`: 0, `9223372036854775807`: 1<<63 - 1} {
		got := Int(99)
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{`1.5`, `"1.5"`, `1e3`, `"5 "`, `" 5"`, `true`, `[]`, `{}`, `[5]`, `9223372036854775808`, `"` + resttest.Mark + `"`} {
		got := Int(99)
		if err := json.Unmarshal([]byte(text), &got); err == nil || got != 99 || strings.Contains(err.Error(), resttest.Mark) {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
}

func TestPHP_Bool(t *testing.T) {
	for text, want := range map[string]Bool{`true`: true, `"Y"`: true, `"y"`: true, `1`: true, `"1"`: true, `"true"`: true,
		`false`: false, `"N"`: false, `"n"`: false, `0`: false, `"0"`: false, `"false"`: false, `""`: false, `null`: false} {
		got := !want
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: got %t, %v", text, got, err)
		}
	}
	for _, text := range []string{`2`, `"yes"`, `[]`, `{}`, `-1`, `"` + resttest.Mark + `"`} {
		got := Bool(true)
		if err := json.Unmarshal([]byte(text), &got); err == nil || bool(!got) || strings.Contains(err.Error(), resttest.Mark) {
			t.Errorf("%s: got %t, %v", text, got, err)
		}
	}
}

func TestPHP_Map(t *testing.T) {
	for text, want := range map[string]Map[int64, string]{`[]`: {}, `{}`: {}, `null`: {}, `false`: {}, `""`: {}, ` [ ] `: {},
		`{"577":"a","1":"b"}`: {577: "a", 1: "b"}, `["a","b"]`: {0: "a", 1: "b"}} {
		got := Map[int64, string]{9: "old"}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`{"a":"b"}`, `[1]`, `5`, `"a"`, `true`, `{"1":2}`} {
		got := Map[int64, string]{9: "old"}
		if err := json.Unmarshal([]byte(text), &got); err == nil || len(got) != 1 {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	if data, err := json.Marshal(Map[int64, Bool]{5: true}); err != nil || string(data) != `{"5":true}` {
		t.Errorf("%s, %v", data, err)
	}
	var nested Map[string, Map[string, Int]]
	if err := json.Unmarshal([]byte(`{"a":[],"b":{"c":"3"}}`), &nested); err != nil || nested["b"]["c"] != 3 || nested["a"] == nil {
		t.Errorf("got %v, %v", nested, err)
	}
}

func TestPHP_List(t *testing.T) {
	for text, want := range map[string]List[Int]{`[]`: {}, `{}`: {}, `null`: {}, `false`: {}, `""`: {}, `[1,"2"]`: {1, 2}, `{"7":"1","3":2}`: {1, 2}} {
		got := List[Int]{9}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`["a"]`, `{"a":"b"}`, `5`, `true`, `"a"`} {
		got := List[Int]{9}
		if err := json.Unmarshal([]byte(text), &got); err == nil || len(got) != 1 {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

// FuzzPHP: what is taken marshals, and is then taken for the same.
func FuzzPHP(f *testing.F) {
	for _, seed := range []string{`{"I":"5","B":"Y","M":[],"L":{"1":"2"}}`, `{"I":5,"B":1,"M":[1,2],"L":[3]}`, `{"M":{"a":{}}}`, `{"L":false,"M":""}`} {
		f.Add([]byte(seed))
	}
	type all struct {
		I Int
		B Bool
		M Map[string, Int]
		L List[Map[int, Bool]]
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again all
		if json.Unmarshal(data, &first) != nil {
			return
		}
		text, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, v := range []*all{&first, &again} {
			if len(v.M) == 0 {
				v.M = nil
			}
			if len(v.L) == 0 {
				v.L = nil
			}
		}
		if !reflect.DeepEqual(first, again) {
			t.Errorf("%s was taken for %s", data, text)
		}
	})
}
