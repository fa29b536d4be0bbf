package pulltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// pageSize is how many items a list method answers at once.
const pageSize = 50

// List is a result for [Portal.Answer] that comes in pages, as that of a list
// method: 50 items from the parameter START on, with the total beside the
// result, and next, where to go on, while there are more. With a START of -1
// nothing is counted, and there is neither: who reads so asks for what is above
// the last ID by a FILTER like {">ID": 50}, the only one that is looked at. It
// wants items in the order of that field.
type List struct {
	Items []any
	Field string // of the result, that holds the items, as crm.item.list has it in "items"; empty: the result is the list itself
}

// page is a part of a list, with what is told beside it.
type page struct {
	result      any
	next, total int // below 0: not told
}

// tell calls f for what is told beside the result.
func (p page) tell(f func(name string, n int)) {
	if p.next >= 0 {
		f("next", p.next)
	}
	if p.total >= 0 {
		f("total", p.total)
	}
}

// canned are answers of methods that are given, by their names in lower case.
type canned struct {
	mu   sync.Mutex
	list map[string]any // json.RawMessage or List
}

// Answer gives a REST method an answer, alone and within a batch: one that the
// portal does not have, or in place of its own. The result is marshalled to
// JSON, a json.RawMessage stands as it is, and a [List] comes in pages. Whoever
// may call REST at all may call it, with whatever parameters. With nil the
// method is again as it was. It panics if the result cannot be marshalled.
func (p *Portal) Answer(method string, result any) {
	name := strings.ToLower(method)
	a := &p.answers
	if result == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.list, name)
		return
	}
	answer, err := answerFrom(result)
	if err != nil {
		panic(fmt.Sprintf("pulltest: the answer of %q is no JSON: %v", method, err))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = make(map[string]any)
	}
	a.list[name] = answer
}

// answerFrom is a result as JSON has it, a json.RawMessage or a List.
func answerFrom(result any) (any, error) {
	list, paged := result.(List)
	if paged {
		result = append([]any{}, list.Items...)
	}
	data, err := json.Marshal(result)
	if err != nil || !paged {
		return json.RawMessage(data), err
	}
	list.Items, _ = generic(json.RawMessage(data)).([]any)
	return list, nil
}

// answerTo is what of such a result a call is answered.
func answerTo(result any, call restCall) any {
	if list, paged := result.(List); paged {
		return list.page(call.params)
	}
	return result
}

func (a *canned) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.list))
}

func (a *canned) method(name string) (method, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, given := a.list[name]
	return method{scopeBase, func(_ *Portal, call restCall) (any, *restError) {
		return answerTo(answer, call), nil
	}}, given
}

func (l List) page(params map[string]any) page {
	start, _ := integer(params["START"])
	found := above(l.Items, params["FILTER"])
	p := page{next: -1, total: len(found)}
	if start < 0 {
		start, p.total = 0, -1
	}
	first := min(start, len(found))
	last := min(first+pageSize, len(found))
	if p.total > last {
		p.next = last
	}
	items := append([]any{}, found[first:last]...)
	p.result = items
	if l.Field != "" {
		p.result = map[string]any{l.Field: items}
	}
	return p
}

// above are the items that a filter leaves whose conditions are like {">ID": 50}:
// those with a field ID above 50, in whatever letter case.
func above(items []any, filter any) []any {
	conditions, _ := filter.(map[string]any)
	for condition, value := range conditions {
		field, greater := strings.CutPrefix(condition, ">")
		limit, ok := integer(value)
		if !greater || !ok || strings.HasPrefix(field, "=") {
			continue
		}
		items = slices.DeleteFunc(slices.Clone(items), func(item any) bool {
			object, _ := item.(map[string]any)
			for name, v := range object {
				if strings.EqualFold(name, field) {
					n, ok := integer(v)
					return !ok || n <= limit
				}
			}
			return true
		})
	}
	return items
}
